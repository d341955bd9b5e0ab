"""`python scripts/build_bank.py`: flags, progress, and the table at the end."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags

if TYPE_CHECKING:
    from agentbank_jax.bank.build import BuildResult

_DESCRIPTION = """\
Builds the bank: trajectories in the released layout, as parquet shards.
Without --task: the five starter families. A finished bank with the same parameters is left as it
is; a build that was cut short goes on from its complete shards."""
_EXAMPLES = """\
examples:
  python scripts/build_bank.py
  python scripts/build_bank.py --trajectories=50000 --seed=1
  python scripts/build_bank.py --task=starter_math --trajectories=500
  python scripts/build_bank.py --task=gsm8k --input=train.jsonl.gz"""
_LINE_EVERY_S = 5.0


class _Shown(Protocol):
    def __enter__(self) -> "_Shown": ...
    def __exit__(self, *error: object) -> None: ...
    def __call__(self, task: str, rows: int, wanted: int) -> None: ...


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    options = _parse(arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.bank import build, recipe
    from agentbank_jax.places import DATA_DIR_VARIABLE, data_place, local_path

    recipes = recipe.plan(options.task, trajectories=options.trajectories, seed=options.seed, input_path=options.input)
    output = str(local_path(data_place(options.output), "--output" if options.output else DATA_DIR_VARIABLE))
    names = [each.task for each in recipes]
    with _Bars(names) if sys.stderr.isatty() else _Lines() as shown:
        results = build.build(recipes, output, workers=options.workers, progress=shown)
    _print_table(results, output)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser("build_bank.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--task", action="append", default=[], metavar="NAME", help="a task to build; may be repeated")
    add("--trajectories", type=int, metavar="N", help="in total, split evenly over the starter families "
        "(default: 25000); with --task=gsm8k alone: at most so many")  # fmt: skip
    add("--input", metavar="FILE", help="the published data that a task reformats, such as GSM8K's train.jsonl.gz")
    add("--output", metavar="FOLDER", help="the bank (default: $AGENTBANK_DATA_DIR, else ./data)")
    add("--seed", type=int, default=0, metavar="N", help="chooses instances and wording (default: 0)")
    add("--workers", type=int, default=2, metavar="N", help="processes (default: 2); the result is the same for any")
    return parse_flags(parser, arguments)


class _Bars:
    """Progress bars with rate and remaining time, one per task."""

    def __init__(self, tasks: Sequence[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bars = {task: self._progress.add_task(task, total=None, start=False, rate="") for task in tasks}
        self._started: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, task: str, rows: int, wanted: int) -> None:
        if task not in self._started:
            self._started[task] = (time.monotonic(), rows)
            self._progress.start_task(self._bars[task])
        rate = _rate(self._started[task], rows)
        self._progress.update(self._bars[task], completed=rows, total=wanted, rate=f"{rate:,.0f}/s" if rate else "")


class _Lines:
    """Progress where there is no terminal: a line every few seconds."""

    def __init__(self) -> None:
        self._started: dict[str, tuple[float, int]] = {}
        self._shown_at = time.monotonic()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, task: str, rows: int, wanted: int) -> None:
        started = self._started.setdefault(task, (time.monotonic(), rows))
        now = time.monotonic()
        if now - self._shown_at < _LINE_EVERY_S:
            return
        self._shown_at = now
        rate = _rate(started, rows)
        remaining = f", {(wanted - rows) / rate:.0f} s left" if rate else ""
        print(f"{task}: {rows:,} of {wanted:,} trajectories, {rate:,.0f}/s{remaining}", file=sys.stderr, flush=True)


def _rate(started: tuple[float, int], rows: int) -> float:
    seconds = time.monotonic() - started[0]
    return (rows - started[1]) / seconds if seconds > 0.2 else 0.0


def _print_table(results: Sequence["BuildResult"], output: str) -> None:
    from rich.console import Console
    from rich.table import Table

    # Turns are the assistant's, on average.
    table = Table("task", "trajectories", "turns", "dropped", "seconds", title=f"in {output}", title_justify="left")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        mean = result.assistant_turns / result.rows if result.rows else 0.0
        state = "as it was" if result.reused else f"{result.seconds:.1f}"
        dropped = sum(result.drops.values())
        table.add_row(result.task, f"{result.rows:,}", f"{mean:.2f}", f"{dropped:,}", state)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    reasons = Table("task", "dropped because", "candidates", "share")
    for result in results:
        candidates = result.rows + sum(result.drops.values())
        for reason, count in sorted(result.drops.items(), key=lambda pair: (-pair[1], pair[0])):
            reasons.add_row(result.task, reason, f"{count:,}", f"{100 * count / candidates:.2f} %")
    if reasons.row_count:
        console.print(reasons)
        console.print("Each is listed in the drops.jsonl beside the shards.")
    else:
        console.print("Nothing was dropped.")
