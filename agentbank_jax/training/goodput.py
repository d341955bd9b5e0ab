"""Where the seconds of a run went."""

import contextlib
import time
from collections.abc import Iterator, Mapping

KINDS = ("compilation", "data", "checkpoint", "evaluation", "profile", "repeated")


class Goodput:
    """Counts the seconds of the loop's own thread over all starts of a run, by what they were spent on.

    What is none of `KINDS` are steps: the time in which the loop waits for the devices, or gives them work. `data` is
    the time in which it waits for a batch or hands it over; the devices may be busy then with the step before.
    `checkpoint` is the time until a copy of the state is taken, not that of writing it. `repeated` are steps that a
    rollback, or a start from an earlier checkpoint, has thrown away. Start-up before the first step counts as
    `start_up`. The time between two starts is none of a run's.
    """

    def __init__(self, began: float | None = None):
        """Begins to count; `began` is when the program did (`time.perf_counter`), now by default."""
        self._began = time.perf_counter() if began is None else began
        self._start_up: float | None = None
        self._seconds = dict.fromkeys(KINDS, 0.0)
        self._earlier: dict[str, float] = {}

    def go_on(self, earlier: Mapping[str, float]) -> None:
        """Adds what earlier starts of the run have spent, as `seconds` gives it."""
        self._earlier = dict(earlier)

    def steps_begin(self) -> None:
        """Ends the start-up; only the first call counts."""
        if self._start_up is None:
            self._start_up = self._others()

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
        others = self._others()
        start_up = others if self._start_up is None else self._start_up
        total = others + sum(self._seconds.values())
        here = {"start_up": start_up, **self._seconds, "steps": max(0.0, others - start_up), "total": total}
        return {kind: seconds + self._earlier.get(kind, 0.0) for kind, seconds in here.items()}

    def share(self) -> float:
        """The share of the time so far that was spent on steps that count."""
        seconds = self.seconds()
        return seconds["steps"] / max(seconds["total"], 1e-9)

    def _others(self) -> float:
        """Seconds of this start that are none of `KINDS`."""
        return time.perf_counter() - self._began - sum(self._seconds.values())
