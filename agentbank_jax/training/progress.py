"""How a run tells what it does: a live bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """A progress display; a context manager."""

    def __init__(self, total_steps: int, start_step: int, console: Console | None = None):
        """A display of `total_steps` steps of which `start_step` are done."""
        self._console = console or Console(file=sys.stderr)
        self._total = total_steps
        self._live: Progress | None = None
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("training"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=4,
            )
            self._task = self._live.add_task("training", total=total_steps, completed=start_step, figures="")

    def __enter__(self) -> "TrainingProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """One line of text, above the bar where there is one."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def advance(self, step: int) -> None:
        """Moves the bar; prints nothing without a terminal."""
        if self._live:
            self._live.update(self._task, completed=step)

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the figures of an interval that ended after `step` steps."""
        figures = (
            f"loss {values['loss']:.4f}  {values['tokens_per_second']:,.0f} tokens/s  "
            f"MFU {values['mfu']:.1%}  fill {values['packing_fill']:.0%}"
        )
        if self._live:
            self._live.update(self._task, completed=step, figures=figures)
        else:
            self.say(f"step {step}/{self._total}  {figures}  ETA {duration(values['eta_seconds'])}")


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
