"""How far a lint is: a live bar on a terminal, a line every few seconds elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 5.0


class LintProgress:
    """A `linter.ProgressCallback` that writes to standard error; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._started = self._shown_at = time.monotonic()
        self._live: Progress | None = None
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("trajectories"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._live.add_task("trajectories", total=None)

    def __enter__(self) -> "LintProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, rows: int, total: int | None) -> None:
        if self._live:
            self._live.update(self._task, completed=rows, total=total)
            return
        now = time.monotonic()
        if now - self._shown_at < _LINE_EVERY_S:
            return
        self._shown_at = now
        rate = rows / (now - self._started)
        remaining = f" of {total:,}, {max(0, total - rows) / rate:.0f} s left" if total else ""
        self._console.print(f"{rows:,} trajectories{remaining}, {rate:,.0f}/s", highlight=False)
