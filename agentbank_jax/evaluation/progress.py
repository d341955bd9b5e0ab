"""How far a sweep is: live bars on a terminal, a line per finished policy elsewhere."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class SweepProgress:
    """A `sweep.Progress`; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._started: dict[tuple[str, str], float] = {}
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("episodes, ETA"),
                TimeRemainingColumn(),
                console=console,
            )

    def __enter__(self) -> "SweepProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, sweep: str, model: str, done: int, total: int) -> None:
        key = (sweep, model)
        begun = self._started.setdefault(key, time.perf_counter())
        if self._live:
            if key not in self._tasks:
                self._tasks[key] = self._live.add_task(f"{sweep}: {model}", total=total)
            self._live.update(self._tasks[key], completed=done)
        elif done == total:
            seconds = time.perf_counter() - begun
            self._console.print(f"{sweep}: {model}: {total} episodes in {seconds:.1f} s", highlight=False)
