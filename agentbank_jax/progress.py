"""How far some work is: bars with rate and remaining time on a terminal, a line every few seconds elsewhere."""

import contextlib
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

LINE_EVERY_S = 5.0

_REDRAW_EVERY_S = 0.1


class Extent:
    """How much of several files has been read, by their sizes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        sizes = [_size(path) for path in paths]
        self._before = [0, *itertools.accumulate(sizes)]

    def fraction(self, file: int, part: float) -> float:
        """Returns the part, 0 to 1, that has been read once `part` of the file at this index has."""
        begin, end = self._before[file : file + 2]
        return (begin + part * (end - begin)) / self._before[-1]


def _size(path: Path) -> int:
    # What cannot be read is reported when it is read; until then it counts as small.
    with contextlib.suppress(OSError):
        return max(1, path.stat().st_size)
    return 1


@dataclass
class _Piece:
    """A piece of work: when and where it began, when it was last shown, its bar, and whether its end was told."""

    started: float
    fraction: float
    count: int
    shown_at: float
    task: "TaskID | None" = None
    ended: bool = False


class Progress:
    """Shows how far one or several pieces of work are; a context manager.

    `with Progress("trajectories") as progress: progress(0.25, 1000)`
    """

    def __init__(self, unit: str, console: "Console | None" = None) -> None:
        """A display that counts in `unit`, a plural; it writes to standard error unless told otherwise."""
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._unit = unit
        self._console = console or Console(file=sys.stderr)
        self._pieces: dict[str, _Piece] = {}
        self._bars: Bars | None = None
        if self._console.is_terminal:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[text]}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
            )

    def __enter__(self) -> "Progress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, fraction: float, count: int, label: str = "") -> None:
        """Tells how far a piece of work is; the first call says how far it was when it began.

        Args:
          fraction: the part that is done, 0 to 1.
          count: how many units that is.
          label: names the work where there are several pieces; each has a bar, or a line at its end.
        """
        now = time.monotonic()
        piece = self._pieces.get(label)
        if piece is None:
            piece = self._pieces[label] = _Piece(started=now, fraction=fraction, count=count, shown_at=now)
            if self._bars:
                piece.task = self._bars.add_task(label, total=1.0, text="")
                self._bars.update(piece.task, completed=fraction)
        ends = bool(label) and fraction >= 1 and not piece.ended
        # Without a bar quick work needs no line.
        if now - piece.shown_at < (_REDRAW_EVERY_S if self._bars else LINE_EVERY_S) and not ends:
            return
        piece.shown_at = now
        piece.ended = ends or piece.ended
        seconds = now - piece.started
        rate = (count - piece.count) / seconds if seconds else 0.0
        shown = f"{count:,} {self._unit}, {rate:,.{0 if rate >= 10 else 1}f}/s"
        name = f"{label}: " if label else ""
        if self._bars and piece.task is not None:
            self._bars.update(piece.task, completed=fraction, text=shown)
        elif ends:
            self._say(f"{name}{count:,} {self._unit} in {seconds:.1f} s")
        else:
            done = fraction - piece.fraction
            left = f", {seconds * (1 - fraction) / done:.0f} s left" if done > 0 else ""
            self._say(f"{name}{fraction:.0%}, {shown}{left}")

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
