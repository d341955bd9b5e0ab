"""Measures which problems each searcher solves, and at what cost: `python scripts/bench_search.py`.

By environment and searcher: problems solved within the budget (every solution is replayed in a fresh episode), and per
problem nodes expanded, steps of the environment, seconds, and the actions of a solution. Where one environment holds
several games, each has its own rows.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors

# What guides A* and Monte-Carlo tree search.
HEURISTICS = {"starter_embodied": "household", "textworld_express": "progress", "textworld": "progress"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--environment", action="append", default=[], metavar="NAME",
        help="may be repeated (default: starter_embodied, and textworld_express where it can run)",
    )  # fmt: skip
    parser.add_argument("--problems", type=int, default=8, metavar="N", help="of each environment (default: 8)")
    parser.add_argument("--split", default="train", metavar="NAME", help="train or test (default: train)")
    parser.add_argument("--budget", default="standard", metavar="NAME", help="a preset (default: standard)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each search at most (default: no limit)")
    options = parser.parse_args()

    import dataclasses

    from rich.console import Console
    from rich.table import Table

    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.bank.replay import replay
    from agentbank_jax.bank.search.best_first import AStar, BreadthFirst
    from agentbank_jax.bank.search.budget import budget_called
    from agentbank_jax.bank.search.expert import Expert
    from agentbank_jax.bank.search.iterative_deepening import IterativeDeepening
    from agentbank_jax.bank.search.monte_carlo import MonteCarlo
    from agentbank_jax.bank.search.searcher import Nothing, Search, Searcher, search
    from agentbank_jax.environments import registry
    from agentbank_jax.errors import AgentBankError

    if options.problems < 1:
        raise AgentBankError(f"--problems={options.problems}: expected at least 1.")
    budget = dataclasses.replace(budget_called(options.budget), seconds=options.seconds)
    specs = [registry.get(name) for name in options.environment or ("starter_embodied", "textworld_express")]
    columns = ("environment", "searcher", "solved", "nodes", "steps", "seconds", "actions", "not solved because")
    table = Table(
        *columns,
        title=f"medians of a search; budget of {budget.steps:,} steps"
        + (f" and {budget.seconds:g} seconds" if budget.seconds else ""),
    )
    for column in table.columns[2:7]:
        column.justify = "right"
    for spec in specs:
        if reason := spec.available():
            if options.environment:
                raise AgentBankError(f"--environment={spec.name} cannot run: {reason}.")
            print(f"{spec.name} is left out: {reason}.", file=sys.stderr)
            continue
        heuristic = HEURISTICS.get(spec.name, "zero")
        searchers: list[Searcher] = [
            BreadthFirst(),
            IterativeDeepening(),
            AStar(heuristic=heuristic),
            AStar(heuristic=heuristic, path_weight=0.0),
            MonteCarlo(heuristic=None if heuristic == "progress" else heuristic),  # it looks at the rewards anyway
            Expert(),
        ]
        environment = spec.make()
        groups: dict[str, dict[str, list[tuple[Search, float]]]] = {}
        for index in range(options.problems):
            instance = spec.instance(options.split, index)
            game = getattr(instance.payload, "name", "")
            rows = groups.setdefault(f"{spec.name} {game}".strip(), {})
            for searcher in searchers:
                started = time.perf_counter()
                result = search(searcher, spec, instance, environment, budget=budget)
                rows.setdefault(searcher.name, []).append((result, time.perf_counter() - started))
                if result.actions is not None:
                    replayed = replay(spec, instance, result.actions, environment=environment)
                    if isinstance(replayed, Drop):
                        raise AgentBankError(f"{instance.id}: what {searcher.name} found does not replay: {replayed}.")
        environment.close()
        for group, rows in groups.items():
            for name, results in rows.items():
                solved = [len(result.actions) for result, _ in results if result.actions is not None]
                reasons = Counter(result.found.reason for result, _ in results if isinstance(result.found, Nothing))
                table.add_row(
                    group,
                    name,
                    f"{len(solved)}/{len(results)}",
                    f"{statistics.median(result.nodes for result, _ in results):,.0f}",
                    f"{statistics.median(result.steps for result, _ in results):,.0f}",
                    f"{statistics.median(seconds for _, seconds in results):.2f}",
                    f"{statistics.median(solved):g}" if solved else "-",
                    ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "-",
                )
            table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
