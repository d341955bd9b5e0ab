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
and rewards with those that the bank records; and its shards with their manifest. The exit status is 1 where anything
differs; nothing is changed."""
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
    from agentbank_jax.bank.staging import damaged_shards
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig
    from agentbank_jax.places import DATA_DIR_VARIABLE, data_place, local_path
    from agentbank_jax.presentation.table import Table
    from agentbank_jax.progress import Progress
    from agentbank_jax.worker_pool import map_in_order

    bank = local_path(data_place(options.bank), "--bank" if options.bank else DATA_DIR_VARIABLE)
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    with Progress("trajectories") as progress:
        for folder, manifest in _tasks(bank, options.task):
            if manifest is None:
                notes.append(f"{folder.name}: its manifest cannot be read; build it again")
                rows.append((folder.name, "manifest", "0", "0"))
                continue
            judge = ReplayFilter(max_steps=manifest["parameters"]["max_steps"])
            total, seen = max(1, -(-manifest["rows"] // options.every)), 0
            drops: list[Drop] = []
            state = (judge, BenchmarkConfig(data_dir=options.data_dir), tuple(manifest["parameters"]["imports"]))
            progress(0.0, 0, folder.name)
            shards = [shard["name"] for shard in manifest["shards"]]
            damaged = damaged_shards(folder, manifest)
            notes += [f"{folder.name}: {name} is missing, or not as its manifest says" for name in damaged]
            whole = [folder / name for name in shards if name not in damaged]
            batches = _batches(whole, folder.name, options.every)
            for verdicts in map_in_order(_judged, state, batches, options.workers):
                seen += len(verdicts)
                drops += [verdict for verdict in verdicts if verdict is not None]
                progress(min(1.0, seen / total), seen, folder.name)
            reasons = Counter(drop.reason for drop in drops) + Counter({"damaged_shard": len(damaged)})
            notes += [f"{drop.id}: {drop.reason}: {drop.detail}" for drop in _first_of_each(drops)]
            told = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()) or "-"
            rows.append((folder.name, told, f"{seen:,}", f"{seen - len(drops):,}"))
    columns = ("task", "not replayed because", "trajectories", "replayed")
    console = make_console()
    console.print(Table(title=f"in {bank}", columns=columns, rows=tuple(rows)).to_rich())
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True, markup=False)
    return int(bool(notes))


def _tasks(bank: Path, chosen: Sequence[str]) -> list[tuple[Path, dict[str, Any] | None]]:
    from agentbank_jax.bank.staging import built_tasks

    found = built_tasks(bank)
    if not found:
        raise AgentBankError(f"{bank}: holds no task that build_bank.py has made; name another folder with --bank.")
    for task in chosen:
        if task not in found:
            raise AgentBankError(f"{bank} holds no task '{task}'.{did_you_mean(task, found)}")
    return [(bank / task, found[task]) for task in dict.fromkeys(chosen) or found]


def _batches(shards: Sequence[Path], task: str, every: int) -> "Iterator[list[Trajectory]]":
    import itertools

    from agentbank_jax.trajectories.formats.agentbank import read_trajectories

    trajectories = read_trajectories(shards, task) if shards else iter(())
    chosen = itertools.islice(trajectories, 0, None, every)
    while batch := list(itertools.islice(chosen, _AT_A_TIME)):
        yield batch


def _first_of_each(drops: "Sequence[Drop]") -> "list[Drop]":
    """An example of each reason."""
    return list({drop.reason: drop for drop in reversed(drops)}.values())


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
