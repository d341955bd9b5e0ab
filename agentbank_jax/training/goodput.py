"""Where the seconds of a run went."""

import contextlib
import time
from collections.abc import Iterator

KINDS = ("compilation", "data", "checkpoint", "evaluation", "repeated")


class Goodput:
    """Counts the seconds of the loop's own thread since the run was started, by what they were spent on.

    What is none of `KINDS` are steps: the time in which the loop waits for the devices, or gives them work. `data` is
    the time in which it waits for a batch or hands it over; the devices may be busy then with the step before.
    `checkpoint` is the time until a copy of the state is taken, not that of writing it. `repeated` are steps that a
    rollback has thrown away. Start-up before the first step counts as `start_up`.
    """

    def __init__(self, began: float | None = None):
        """Begins to count; `began` is when the program did (`time.perf_counter`), now by default."""
        self._began = time.perf_counter() if began is None else began
        self._first_step: float | None = None
        self._seconds = dict.fromkeys(KINDS, 0.0)

    def steps_begin(self) -> None:
        """Ends the start-up; only the first call counts."""
        if self._first_step is None:
            self._first_step = time.perf_counter()

    @contextlib.contextmanager
    def spent_on(self, kind: str) -> Iterator[None]:
        """Counts what runs in it as time spent on one of `KINDS`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(kind, time.perf_counter() - started)

    def add(self, kind: str, seconds: float) -> None:
        """Counts seconds that are part of the steps' time, unless they are counted here."""
        self._seconds[kind] += seconds

    def seconds(self) -> dict[str, float]:
        """Seconds so far by kind, `start_up`, `steps` and `total` included."""
        now = time.perf_counter()
        start_up = (self._first_step or now) - self._began
        steps = max(0.0, now - self._began - start_up - sum(self._seconds.values()))
        return {"start_up": start_up, **self._seconds, "steps": steps, "total": now - self._began}

    def share(self) -> float:
        """The share of the time so far that was spent on steps that count."""
        seconds = self.seconds()
        return seconds["steps"] / max(seconds["total"], 1e-9)
