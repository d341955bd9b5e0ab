"""`python scripts/difficulty_report.py`: whether what is kept of a task is as hard as its source."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.commands.success_only import SuccessOnly, read_success_only
from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from agentbank_jax.bank.difficulty import DifficultyBias
    from agentbank_jax.bank.difficulty_selection import Selection
    from agentbank_jax.bank.difficulty_source import Source, Tell
    from agentbank_jax.bank.search.searcher import Searcher
    from agentbank_jax.environments.base import Instance
    from agentbank_jax.environments.registry import EnvironmentSpec
    from agentbank_jax.progress import Progress

_DESCRIPTION = """\
Compares the difficulty of a task's problems with that of those that were kept, and of those that a success-only teacher
would have kept. Writes difficulty.md, difficulty.html (one page that needs nothing beside it) and difficulty.json.

The tasks are those of a finished bank (--bank), of which nothing is annotated again, or environments (--task alone),
whose problems are annotated and replayed now: data that hold the steps are reformatted, others take their own expert.

The success-only teacher is a model that played (--success_only=FOLDER of a sweep), a search with a small budget
(--weak_searcher), or any list of ids. --weak_steps is no solver: it cuts the kept plans short."""
_EXAMPLES = """\
examples:
  python scripts/difficulty_report.py --bank=data
  python scripts/difficulty_report.py --bank=data --success_only=runs/samoyed_tiny/evaluation-explore
  python scripts/difficulty_report.py --bank=data --task=starter_web --weak_searcher=breadth_first --weak_budget=200
  python scripts/difficulty_report.py --task=mathqa --split=test --weak_steps=4 --data_dir=benchmarks
  python scripts/difficulty_report.py --task=starter_web --success_only=solved.txt"""

_INSTANCES, _SEARCHED = 1000, 400
_SPLIT = "train"


def main(arguments: Sequence[str]) -> int:
    """Writes the report and prints its table; returns the exit status.

    Raises:
      AgentBankError: an unknown task, data that are not there, ids that are not of the source, or a report that cannot
        be written; nothing is written then.
      SystemExit: after `--help`.
    """
    options = _parse(arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.bank.difficulty_page import distance_table, write_difficulty_report
    from agentbank_jax.bank.difficulty_selection import compare, described
    from agentbank_jax.bank.difficulty_source import by_actions
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.environments import benchmark_data, registry
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig
    from agentbank_jax.progress import Progress

    paths = {"index": options.index} if options.index else {}
    benchmark_data.configure(BenchmarkConfig(data_dir=options.data_dir, paths=paths))
    split = registry.check_split(options.split or _SPLIT)
    success_only = read_success_only(options.success_only, options.model, split) if options.success_only else None
    searcher = _searcher(options)
    biases: list[DifficultyBias] = []
    facts: dict[str, str] = {}
    tasks: list[str] = []
    selected = 0
    with Progress("problems") as progress:
        for source in _sources(options, success_only, progress):
            selection = _selection(source, options, success_only, searcher, progress)
            if options.measure == "actions":
                source = by_actions(source)
            biases += compare(source, selection)
            selected += selection is not None
            tasks.append(source.task)
            facts[source.task] = f"{source.origin}; {source.split} split"
            teacher = described(selection, source) if selection else "none for this task"
            facts[f"success-only teacher of {source.task}"] = teacher
    if not selected and (success_only or searcher):
        nobody = f"--success_only={options.success_only}: nobody played {', '.join(tasks)} there."
        raise AgentBankError(nobody if success_only else _UNSEARCHED)
    files = write_difficulty_report(biases, Path(options.output).expanduser(), facts)
    console = make_console()
    console.print(distance_table(biases).to_rich())
    console.print(f"report: {', '.join(map(str, files))}", highlight=False, soft_wrap=True, markup=False)
    return 0


_UNSEARCHED = "--weak_searcher searches environments with a discrete action space, and none of these has one."


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser("difficulty_report.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--bank", metavar="FOLDER", help="a finished bank, the --output of build_bank.py")
    add("--task", action="append", default=[], metavar="NAME", help="an environment, or with --bank a task of the bank "
        "(default there: all); may be repeated")  # fmt: skip
    add("--split", metavar="NAME", help="of --task without --bank: train (default) or test")
    add("--instances", type=int, metavar="N", help="the first N problems: of --task without --bank those that are "
        f"annotated (default: all, of endless splits {_INSTANCES:,}), of a bank those that are searched (default: "
        f"{_SEARCHED})")  # fmt: skip
    add("--data_dir", metavar="FOLDER", help="published benchmarks (default: $AGENTBANK_BENCHMARKS)")
    add("--measure", default="difficulty", choices=("difficulty", "actions"), help="how hard a problem is: what "
        "its data say (default), or how many actions the kept plan has")  # fmt: skip
    add("--index", metavar="FOLDER", help="what hotpotqa and strategyqa search (default: index in --data_dir)")
    add("--success_only", metavar="FILE|FOLDER", help="ids that a success-only teacher has kept, one a line; or a "
        "sweep of evaluate.py over the same split: what was solved of what was played")  # fmt: skip
    add("--model", metavar="NAME", help="who played in the sweep, where several did")
    add("--weak_searcher", metavar="NAME", help="breadth_first, iterative_deepening, monte_carlo or random: what it "
        "solves within --weak_budget")  # fmt: skip
    add("--weak_budget", type=int, metavar="STEPS", help="actions that the weak searcher may try in each problem "
        "(default: 2,000)")  # fmt: skip
    add("--weak_steps", type=int, metavar="N", help="no solver, but the kept plans of N actions at most (without "
        "--bank the default, with their median)")  # fmt: skip
    add("--output", default="difficulty", metavar="FOLDER", help="where the report goes (default: difficulty)")
    options = parse_flags(parser, arguments)
    if not options.task and not options.bank:
        raise AgentBankError("no task is named; for example: --task=starter_embodied, or --bank=data")
    if options.bank and options.split:
        raise AgentBankError(f"--split={options.split}: a bank has a split of its own; leave one of them out.")
    for name in ("instances", "weak_steps", "weak_budget"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise AgentBankError(f"--{name}={value}; expected at least 1.")
    teachers = [name for name in ("success_only", "weak_searcher", "weak_steps") if getattr(options, name) is not None]
    if len(teachers) > 1:
        raise AgentBankError(f"--{' and --'.join(teachers)} are success-only teachers; name one of them.")
    for name, needed in (("model", "success_only"), ("weak_budget", "weak_searcher")):
        if getattr(options, name) is not None and getattr(options, needed) is None:
            raise AgentBankError(f"--{name}={getattr(options, name)}: is of --{needed}, which is missing.")
    if options.success_only and Path(options.success_only).expanduser().is_file() and len(options.task) != 1:
        raise AgentBankError(
            f"--success_only={options.success_only}: a file of ids is of one task; name one --task with it."
        )
    return options


def _searcher(options: argparse.Namespace) -> "Searcher | None":
    if options.weak_searcher is None:
        return None
    from agentbank_jax.bank.search.registry import searcher

    try:
        return searcher(options.weak_searcher)
    except AgentBankError as error:
        raise AgentBankError(f"--weak_searcher: {error}") from None


def _sources(options: argparse.Namespace, success_only: SuccessOnly | None, progress: "Progress") -> "Iterator[Source]":
    from agentbank_jax.bank.difficulty_source import annotate, bank_tasks, find_instances, read_bank_source
    from agentbank_jax.environments import registry

    tasks = list(dict.fromkeys(options.task))
    if options.bank:
        by_problem = options.success_only is not None or options.weak_searcher is not None
        for folder in bank_tasks(Path(options.bank).expanduser(), tasks):
            yield read_bank_source(folder, by_problem=by_problem)
        return
    split = registry.check_split(options.split or _SPLIT)
    specs = [registry.get(name) for name in tasks]
    if options.weak_searcher and not any(spec.action_space == "discrete" for spec in specs):
        raise AgentBankError(_UNSEARCHED)
    for spec in specs:
        played = success_only.of(spec.name) if success_only else None
        if played is not None and played.tried is not None:
            # A sweep may begin anywhere: what was played is the source.
            instances = find_instances(spec, split, played.tried)[: options.instances]
        else:
            instances = _instances(spec, split, options.instances)
        yield annotate(spec, split, instances, _teller(progress, f"{spec.name}, annotated"))


def _instances(spec: "EnvironmentSpec", split: str, most: int | None) -> "list[Instance]":
    size = spec.size(split)
    if size is None:
        size = most or _INSTANCES
    return [spec.instance(split, number) for number in range(min(size, most or size))]


def _selection(
    source: "Source",
    options: argparse.Namespace,
    success_only: SuccessOnly | None,
    searcher: "Searcher | None",
    progress: "Progress",
) -> "Selection | None":
    """Who the success-only teacher of a task is, and what it solved."""
    from agentbank_jax.bank.difficulty_selection import plans_cut_short, weak_search
    from agentbank_jax.bank.search.budget import BUDGETS, Budget

    if success_only is not None:
        return success_only.of(source.spec.name)
    if searcher is not None:
        if source.spec.action_space != "discrete":
            return None
        budget = Budget(steps=options.weak_budget) if options.weak_budget else BUDGETS["weak"]
        most = (options.instances or _SEARCHED) if options.bank else None
        return weak_search(source, searcher, budget, most, _teller(progress, f"{source.task}, searched"))
    if options.bank and options.weak_steps is None:
        return None
    return plans_cut_short(source, options.weak_steps)


def _teller(progress: "Progress", label: str) -> "Tell":
    return lambda done, of: progress(done / of, done, label)
