"""`python scripts/replay_bank.py`: whether the trajectories of a bank, played again, end as it says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError, did_you_mean

if TYPE_CHECKING:
    from agentbank_jax.bank.filters.replays import ReplayFilter
    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig
    from agentbank_jax.trajectories.schema import Trajectory

_DESCRIPTION = """\
Plays the actions of a built bank's trajectories again, in environments that are set up anew, and compares observations
and rewards with those that the bank records. The exit status is 1 where any differs; nothing is changed."""
_EXAMPLES = """\
examples:
  python scripts/replay_bank.py
  python scripts/replay_bank.py --bank=bank --task=starter_web --every=10
  python scripts/replay_bank.py --bank=bank --data_dir=benchmarks --workers=4"""

_AT_A_TIME = 50


def main(arguments: Sequence[str]) -> int:
    """Replays, and prints a table; returns the exit status.

    Raises:
      AgentBankError: a folder that holds no built bank, or an unknown task.
      SystemExit: after `--help`.
    """
    parser = make_parser("replay_bank.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--bank", metavar="FOLDER", help="the bank (default: $AGENTBANK_DATA_DIR, else ./data)")
    add("--task", action="append", default=[], metavar="NAME", help="one of its tasks; may be repeated (default: all)")
    add("--every", type=int, default=1, metavar="N", help="each Nth trajectory alone (default: 1)")
    add("--data_dir", metavar="FOLDER", help="published benchmarks (default: $AGENTBANK_BENCHMARKS)")
    add("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    options = parse_flags(parser, arguments)
    if options.every < 1:
        raise AgentBankError(f"--every={options.every}; expected at least 1.")
    # Imported only now: --help need not wait for them.
    from agentbank_jax.bank.filters.replays import ReplayFilter
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig
    from agentbank_jax.places import DATA_DIR_VARIABLE, data_place, local_path
    from agentbank_jax.presentation.table import Table
    from agentbank_jax.progress import Progress
    from agentbank_jax.worker_pool import map_in_order

    bank = local_path(data_place(options.bank), "--bank" if options.bank else DATA_DIR_VARIABLE)
    rows, failed = [], 0
    with Progress("trajectories") as progress:
        for folder, manifest in _tasks(bank, options.task):
            judge = ReplayFilter(max_steps=manifest["parameters"]["max_steps"])
            total, seen = -(-manifest["rows"] // options.every), 0
            reasons: Counter[str] = Counter()
            state = (judge, BenchmarkConfig(data_dir=options.data_dir), tuple(manifest["parameters"]["imports"]))
            progress(0.0, 0, folder.name)
            for verdicts in map_in_order(_judged, state, _batches(folder, options.every), options.workers):
                seen += len(verdicts)
                reasons.update(verdict.reason for verdict in verdicts if verdict is not None)
                progress(seen / total, seen, folder.name)
            failed += reasons.total()
            told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()) or "-"
            rows.append((folder.name, told, f"{seen:,}", f"{seen - reasons.total():,}"))
    columns = ("task", "not replayed because", "trajectories", "replayed")
    console = make_console()
    console.print(Table(title=f"in {bank}", columns=columns, rows=tuple(rows)).to_rich())
    return int(failed > 0)


def _tasks(bank: Path, chosen: Sequence[str]) -> list[tuple[Path, dict[str, Any]]]:
    from agentbank_jax.bank.staging import MANIFEST, read_json

    manifests = {path.parent: read_json(path) for path in sorted(bank.glob(f"*/{MANIFEST}"))}
    found = {folder.name: (folder, each) for folder, each in manifests.items() if isinstance(each, dict)}
    if not found:
        raise AgentBankError(f"{bank}: holds no task that build_bank.py has made; name another folder with --bank.")
    for task in chosen:
        if task not in found:
            raise AgentBankError(f"{bank} holds no task '{task}'.{did_you_mean(task, found)}")
    return [found[task] for task in dict.fromkeys(chosen) or found]


def _batches(folder: Path, every: int) -> "Iterator[list[Trajectory]]":
    import itertools

    from agentbank_jax.trajectories.formats.agentbank import read_trajectories

    chosen = itertools.islice(read_trajectories(f"{folder}/train-*.parquet", folder.name), 0, None, every)
    while batch := list(itertools.islice(chosen, _AT_A_TIME)):
        yield batch


def _judged(
    state: "tuple[ReplayFilter, BenchmarkConfig, tuple[str, ...]]", batch: "Sequence[Trajectory]"
) -> "list[Drop | None]":
    import importlib

    from agentbank_jax.environments import benchmark_data

    judge, benchmarks, imports = state
    for module in imports:
        importlib.import_module(module)
    benchmark_data.configure(benchmarks)
    return [judge.check(each) for each in batch]
