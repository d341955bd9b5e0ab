"""Measures how many starter trajectories one core makes per second: `python scripts/bench_bank.py`.

Per family, in this process alone: instances, worlds, expert, Thoughts, and the replay in a fresh
environment; the first world included, Python's start not.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help="a family; may be repeated")
    parser.add_argument("--trajectories", type=int, default=2000, metavar="N", help="per family (default: 2000)")
    options = parser.parse_args()

    from rich.console import Console
    from rich.table import Table

    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.configuration.bank_configuration import BankRequest, read_bank
    from agentbank_jax.configuration.command_line import CommandLine

    _, recipes = read_bank(CommandLine(gin_files=()), BankRequest(tasks=tuple(options.task)), Path())
    columns = ("family", "trajectories/s", "kept", "distinct", "assistant turns", "words", "longest", "dropped because")
    table = Table(*columns, title=f"one core, {options.trajectories:,} instances each")
    for column in table.columns[1:7]:
        column.justify = "right"
    for recipe in recipes:
        started = time.perf_counter()
        outcomes = recipe.make(0, options.trajectories)
        seconds = time.perf_counter() - started
        kept = [outcome.item for outcome in outcomes if not isinstance(outcome.item, Drop)]
        reasons = Counter(outcome.item.reason for outcome in outcomes if isinstance(outcome.item, Drop))
        words = [sum(len(turn.content.split()) for turn in trajectory.turns) for trajectory in kept]
        turns = sum(trajectory.assistant_turns for trajectory in kept)
        table.add_row(
            recipe.task,
            f"{len(outcomes) / seconds:,.0f}",
            f"{len(kept):,}",
            f"{len({outcome.fingerprint for outcome in outcomes}):,}",
            f"{turns / max(1, len(kept)):.2f}",
            f"{sum(words) / max(1, len(kept)):.0f}",
            f"{max(words, default=0):,}",
            ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "-",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
