"""How a run tells what it does: a live bar on a terminal, plain lines elsewhere."""

import math
import sys
from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text


class TrainingProgress:
    """A progress display; a context manager.

    On a terminal a bar and the latest figures stay at the bottom. Elsewhere each interval is one line, without
    anything but text.
    """

    def __init__(self, total_steps: int, start_step: int, console: Console | None = None):
        """A display of `total_steps` steps of which `start_step` are done; on standard error by default."""
        self._console = console or make_console()
        self._total, self._checkpoint = total_steps, start_step
        self._figures = _Figures()
        self._live: Live | None = None
        if self._console.is_interactive:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[eta]}"),
                console=self._console,
                expand=True,
            )
            self._task = self._bar.add_task("training", total=total_steps, completed=start_step, eta="")
            self._live = Live(Group(self._bar, self._figures), console=self._console, refresh_per_second=4)

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
            self._bar.update(self._task, completed=step)

    def saved(self, step: int) -> None:
        """Notes that the state after a step is saved, or on its way to the disk."""
        self._checkpoint = step

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the figures of an interval that ended after `step` steps."""
        figures = [*_figures(values), f"checkpoint {self._checkpoint or 'none'}"]
        eta = f"ETA {duration(values['eta_seconds'])}"
        if self._live:
            self._figures.parts = figures
            self._bar.update(self._task, completed=step, eta=eta)
        else:
            self.say("  ".join([f"step {step}/{self._total}", *figures, eta]))


class _Figures:
    """Figures beside each other, in as many lines as it takes to cut none."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = ""
        for part in self.parts:
            if line and len(line) + 2 + len(part) > options.max_width:
                yield Text(line)
                line = ""
            line = f"{line}  {part}" if line else part
        yield Text(line)


def make_console() -> Console:
    """Standard error; what is no terminal gets no control codes, even where FORCE_COLOR and the like ask for them."""
    forced = None if sys.stderr.isatty() else False
    return Console(file=sys.stderr, force_terminal=forced, force_interactive=forced)


def _figures(values: Mapping[str, float]) -> list[str]:
    loss = values["loss"]
    figures = [
        f"epoch {values['epoch']:.2f}",
        f"loss {loss:.4f}" if math.isfinite(loss) else "loss not finite",
        f"{values['tokens_per_second']:,.0f} tokens/s",
        f"MFU {values['mfu']:.1%}",
        f"fill {values['packing_fill']:.0%}",
    ]
    for name in ("device_memory_peak_bytes", "process_memory_bytes"):
        if name in values:
            figures.append(f"memory {values[name] / 1e9:.1f} GB")
    if "device_memory_peak_fraction" in values:
        figures[-1] += f" ({values['device_memory_peak_fraction']:.0%})"
    figures.append(f"goodput {values['goodput']:.1%}")
    figures += [f"{name.replace('_', ' ')} {values[name]:.0f}" for name in ("bad_steps", "rollbacks") if values[name]]
    return figures


def duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
