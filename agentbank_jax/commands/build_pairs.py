"""`python scripts/build_pairs.py`: flags, progress, the tables, and the file of pairs."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.report_errors import INTERRUPTED
from agentbank_jax.errors import AgentBankError, did_you_mean

if TYPE_CHECKING:
    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.bank.pairs import Attempt, PairRules, TaskPairs
    from agentbank_jax.evaluation.episode import EpisodeRecord
    from agentbank_jax.evaluation.sweep_result import SweepResult
    from agentbank_jax.presentation.table import Table

_DESCRIPTION = """\
Pairs successful and failed episodes of a model that began alike, for contrastive tuning (ETO, DPO). Rows have prompt,
chosen and rejected, lists of messages, as TRL's DPOTrainer reads them. The better one is the model's own success;
where it has none, an expert's of --bank. The oracle's episodes are left out: they have no Thoughts. The output appears
only when it is whole."""
_EXAMPLES = """\
examples:
  python evaluate.py --gin_file=eval/explore.gin --checkpoint=runs/samoyed_tiny
  python scripts/build_pairs.py runs/samoyed_tiny/evaluation-explore --output=pairs.jsonl
  python scripts/build_pairs.py runs/samoyed_tiny/evaluation-explore --bank=data --output=pairs.parquet
  python scripts/build_pairs.py one/explore two/explore --sources=expert --bank=data --output=pairs.jsonl"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Ctrl-C leaves nothing either, and ends with status 130.

    Raises:
      AgentBankError: on a user's mistake, or where there is no pair.
      SystemExit: after `--help`.
    """
    options = _parse(arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.bank.pairs import PairRules, TaskPairs, make_pairs
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.evaluation.report_sources import find_sweeps

    rules = PairRules(
        margin=options.margin, pairs_per_problem=options.pairs_per_problem, sources=tuple(options.sources.split(","))
    )
    if options.bank and "expert" not in rules.sources:
        raise AgentBankError(
            f"--bank={options.bank}: --sources={options.sources} takes no expert; leave one of them out."
        )
    if not options.bank and rules.sources == ("expert",):
        raise AgentBankError("--sources=expert: there is no expert; name a bank with --bank.")
    output = _output(options.output, options.overwrite)
    try:
        attempts, drops = _read(find_sweeps(options.folders), rules, options)
        found = make_pairs(attempts, rules)
        for task, dropped in drops:
            found.setdefault(task, TaskPairs(task=task)).drops.append(dropped)
        tasks = [found[task] for task in sorted(found)]
        console = make_console()
        for table in _tables(tasks):
            console.print(table.to_rich())
        pairs = [pair for each in tasks for pair in each.pairs]
        if not pairs:
            shown = _counts(drop for each in tasks for drop in each.drops)
            raise AgentBankError(f"no pair among {len(attempts):,} attempts ({shown}): play more seeds, or add --bank.")
        _write(output, [pair.row() for pair in pairs])
    except KeyboardInterrupt:
        # Unlike other commands it cannot go on from where it was.
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    console.print(f"{output}: {len(pairs):,} pairs", highlight=False, soft_wrap=True, markup=False)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser("build_pairs.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("folders", nargs="*", metavar="FOLDER", help="of a sweep, or of an evaluation's output; their order does not "
        "matter")  # fmt: skip
    add("--output", metavar="FILE", help="the pairs; .jsonl or .parquet, also .json and .gz")
    add("--bank", metavar="FOLDER", help="a bank, whose trajectories are an expert's; a folder or gs://…")
    add("--sources", default="model,expert", metavar="NAMES", help="whose trajectory may be the better one: model, "
        "expert, or both (default: model,expert: those of --bank where the model never succeeded)")  # fmt: skip
    add("--model", action="append", default=[], metavar="NAME", help="who is the model; may be repeated, and their "
        "episodes are pooled (default: all who played but baselines)")  # fmt: skip
    add("--margin", type=float, metavar="X", help="the least difference of rewards, whether or not the better one "
        "is a success (default: a success and a failure)")  # fmt: skip
    add("--pairs_per_problem", type=int, default=1, metavar="N", help="at most N pairs of each problem (default: 1, "
        "the best and the worst)")  # fmt: skip
    add("--allow_test", action="store_true", help="take episodes of test problems and held-out tasks too; a model "
        "trained on them can no longer be judged by them")  # fmt: skip
    add("--overwrite", action="store_true", help="replace the output where it exists")
    options = parse_flags(parser, arguments)
    if not options.folders:
        raise AgentBankError("no folder is named; for example: runs/samoyed_tiny/evaluation-explore")
    if options.output is None:
        raise AgentBankError("--output is missing; for example: --output=pairs.jsonl")
    return options


def _output(name: str, overwrite: bool) -> Path:
    """The file to write, which can be written."""
    from agentbank_jax.commands.requirements import check_writable
    from agentbank_jax.places import local_path
    from agentbank_jax.trajectories.rows.files import file_kind

    path = local_path(name, "--output")
    try:
        file_kind(path)
    except AgentBankError as error:
        raise AgentBankError(f"--output={error}") from None
    if path.exists() and not (overwrite and path.is_file()):
        raise AgentBankError(f"--output={name}: exists; choose another, or add --overwrite.")
    missing = [each for each in path.absolute().parents if not each.exists()]
    check_writable(path.absolute().parent, "--output")
    for folder in missing:
        folder.rmdir()
    return path


def _read(
    sweeps: Sequence[Path], rules: "PairRules", options: argparse.Namespace
) -> "tuple[list[Attempt], list[tuple[str, Drop]]]":
    """Reads the attempts, and why what cannot be used cannot, by task."""
    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.progress import Progress

    attempts: list[Attempt] = []
    drops: list[tuple[str, Drop]] = []
    names: set[str] = set()
    episodes = 0
    with Progress("episodes") as progress:
        for number, folder in enumerate(sweeps):

            def tell(part: float, count: int, number: int = number, before: int = episodes) -> None:
                progress((number + part) / len(sweeps), before + count)

            result = _read_sweep(folder, tell, options.allow_test)
            names.update(column.model for column in result.columns)
            for record in (one for task in result.tasks for records in task.records.values() for one in records):
                episodes += 1
                found = _attempt(record, options.model)
                if isinstance(found, Drop):
                    drops.append((record.task, found))
                else:
                    attempts.append(found)
    for name in options.model:
        if name not in names:
            raise AgentBankError(f"--model: nobody called '{name}' played.{did_you_mean(name, names)}")
    if not episodes:
        raise AgentBankError(f"{options.folders[0]}: holds no episodes yet; evaluate.py plays them.")
    if not any(attempt.side == "model" for attempt in attempts):
        shown = _counts(drop for _, drop in drops)
        raise AgentBankError(
            f"none of {episodes:,} episodes is a model's that can be used ({shown}). Played have "
            f"{', '.join(sorted(names))}; --model=NAME takes one of them for the model."
        )
    if options.bank:
        for name, expert in _experts(options.bank, attempts):
            if isinstance(expert, Drop):
                drops.append((name, expert))
            else:
                attempts.append(expert)
    return attempts, drops


def _attempt(record: "EpisodeRecord", models: Sequence[str]) -> "Attempt | Drop":
    """An episode as the model's attempt, or why it is none."""
    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.bank.pair_sources import attempt_of_episode
    from agentbank_jax.evaluation.sweep_config import BASELINES

    if record.model in models or (not models and record.model not in BASELINES):
        return attempt_of_episode(record)
    reason = "no_thoughts" if record.model == "oracle" else "other_player"
    return Drop(id=record.id, reason=reason, detail=record.model)


def _read_sweep(folder: Path, progress: Callable[[float, int], None], allow_test: bool) -> "SweepResult":
    """Reads a sweep; one that judges models is refused."""
    from agentbank_jax.evaluation.sweep_file import read_sweep

    result = read_sweep(folder, progress)
    if allow_test:
        return result
    shown = os.path.relpath(folder)
    remedy = "play training problems (eval/explore.gin does), or add --allow_test to train on them nevertheless."
    if result.split != "train":
        raise AgentBankError(
            f"{shown}: its problems are those of the split '{result.split}', which judge models; {remedy}"
        )
    held_out = [task.facts.name for task in result.tasks if task.facts.held_out]
    if held_out:
        raise AgentBankError(f"{shown}: {', '.join(held_out)} is held out of training, to judge models; {remedy}")
    return result


def _experts(bank: str, attempts: "Sequence[Attempt]") -> "Iterator[tuple[str, Attempt | Drop]]":
    """Yields the task and the attempt of each of a bank's trajectories whose problem was played."""
    from agentbank_jax.bank.pair_sources import attempt_of_trajectory
    from agentbank_jax.data.remote import fetch_paths
    from agentbank_jax.places import is_remote
    from agentbank_jax.progress import Extent, Progress
    from agentbank_jax.trajectories.formats.registry import read_trajectories
    from agentbank_jax.trajectories.lint.rows import find_bank_files

    path = Path(bank).expanduser()
    if not is_remote(bank) and not path.exists():
        beside = [str(each) for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise AgentBankError(f"--bank={bank}: no such folder.{did_you_mean(str(path), beside)}")
    played = {(attempt.task, attempt.instance_id) for attempt in attempts}
    tasks = {task for task, _ in played}
    files = find_bank_files(fetch_paths([str(path) if not is_remote(bank) else bank], nested=True))
    files = [file for file in files if file.task in tasks] or files
    extent = Extent([file.path for file in files])
    count = 0
    with Progress("trajectories") as progress:
        progress(0.0, 0)
        for number, file in enumerate(files):
            for place, trajectory in read_trajectories(file.path):
                count += 1
                if count % 100 == 0:
                    progress(extent.fraction(number, place.fraction), count)
                if (trajectory.task, trajectory.id) in played:
                    yield trajectory.task, attempt_of_trajectory(trajectory)


def _counts(drops: "Iterable[Drop]") -> str:
    reasons = Counter(drop.reason for drop in drops)
    return ", ".join(
        f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    )


def _write(output: Path, rows: "Sequence[dict[str, object]]") -> None:
    from agentbank_jax.bank.pairs import MESSAGES
    from agentbank_jax.progress import Progress
    from agentbank_jax.trajectories.rows.files import file_kind
    from agentbank_jax.trajectories.rows.writers import write_rows

    with Progress("pairs") as progress:

        def shown() -> "Iterator[tuple[dict[str, object], str]]":
            for number, row in enumerate(rows):
                progress(number / len(rows), number)
                yield row, f"pair '{row['id']}'"

        try:
            write_rows(output, file_kind(output), shown(), MESSAGES[0], {"role": "string", "content": "string"})
        except OSError as error:
            raise AgentBankError(f"--output={output}: cannot be written ({error.strerror or error}).") from None


def _tables(found: "Sequence[TaskPairs]") -> "tuple[Table, Table]":
    """How many pairs there are of each task, and why attempts are in none."""
    from agentbank_jax.presentation.table import Table

    rows = []
    for each in found:
        experts = sum(pair.better.side == "expert" for pair in each.pairs)
        share = each.paired / each.problems if each.problems else 0.0
        rows.append(
            (each.task, f"{each.problems:,}", f"{each.paired:,}", f"{100 * share:.1f} %", f"{len(each.pairs):,}",
             f"{len(each.pairs) - experts:,}", f"{experts:,}")
        )  # fmt: skip
    pairs = Table(
        title="Pairs",
        columns=("task", "problems", "with a pair", "share", "pairs", "better: model's", "better: expert's"),
        rows=tuple(rows),
        text_columns=1,
    )
    drops = [
        (each.task, reason, f"{count:,}")
        for each in found
        for reason, count in sorted(
            Counter(drop.reason for drop in each.drops).items(), key=lambda one: (-one[1], one[0])
        )
    ]
    left_out = Table(
        title="In no pair", columns=("task", "because", "attempts"), rows=tuple(drops or [("-", "-", "0")])
    )
    return pairs, left_out
