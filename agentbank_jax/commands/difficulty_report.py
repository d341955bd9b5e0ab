"""`python scripts/difficulty_report.py`: whether what is kept of a task is as hard as its source."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from agentbank_jax.bank.difficulty import DifficultyBias
    from agentbank_jax.environments.base import Instance
    from agentbank_jax.environments.registry import EnvironmentSpec

_DESCRIPTION = """\
Compares the difficulty of a task's instances with that of those kept when they are annotated and replayed, and of those
that a success-only teacher would have kept. Writes difficulty.md, difficulty.html (one page that needs nothing beside
it) and difficulty.json. Tasks whose data hold the steps are reformatted, others take their own expert.

The success-only teacher is a file of ids, or a weak solver: the same steps, given up after --weak_steps of them."""
_EXAMPLES = """\
examples:
  python scripts/difficulty_report.py --task=starter_embodied --instances=1000 --weak_steps=12
  python scripts/difficulty_report.py --task=mathqa --split=test --weak_steps=4 --data_dir=benchmarks
  python scripts/difficulty_report.py --task=starter_web --success_only=solved.txt"""

_INSTANCES = 1000
_MEASURES = {
    "starter_embodied": "looks into receptacles that the goal needs",
    "mathqa": "operations of the annotated formula",
    "gsm8k": "calculations of the worked solution",
    "intercode_sql": "hardness of the query, easy (1) to extra hard (4)",
    "hotpotqa": "articles to be read",
    "strategyqa": "articles to be read",
    "mind2web": "recorded steps",
}


def main(arguments: Sequence[str]) -> int:
    """Writes the report and prints its table; returns the exit status.

    Raises:
      AgentBankError: an unknown task, data that are not there, ids that are not of the source, or a report that cannot
        be written; nothing is written then.
      SystemExit: after `--help`.
    """
    parser = make_parser("difficulty_report.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("--task", action="append", default=[], metavar="NAME", help="an environment; may be repeated")
    add("--split", default="train", metavar="NAME", help="train (default) or test")
    add("--instances", type=int, metavar="N", help=f"the first N (default: all, of endless splits {_INSTANCES:,})")
    add("--data_dir", metavar="FOLDER", help="published benchmarks (default: $AGENTBANK_BENCHMARKS)")
    add("--index", metavar="FOLDER", help="what hotpotqa and strategyqa search (default: index in --data_dir)")
    add("--success_only", metavar="FILE", help="ids that a success-only teacher has kept, one a line")
    add("--weak_steps", type=int, metavar="N", help="the weak solver's steps (default: the median of the kept plans)")
    add("--output", default="difficulty", metavar="FOLDER", help="where the report goes (default: difficulty)")
    options = parse_flags(parser, arguments)
    if not options.task:
        raise AgentBankError("no task is named; for example: --task=starter_embodied")
    for name in ("instances", "weak_steps"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise AgentBankError(f"--{name}={value}; expected at least 1.")
    if options.success_only and len(options.task) > 1:
        raise AgentBankError("--success_only is of one task; name one --task with it.")
    # Imported only now: --help need not wait for them.
    from agentbank_jax.bank.difficulty_page import distance_table, write_difficulty_report
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.environments import benchmark_data, registry
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig

    paths = {"index": options.index} if options.index else {}
    benchmark_data.configure(BenchmarkConfig(data_dir=options.data_dir, paths=paths))
    specs = [registry.get(name) for name in dict.fromkeys(options.task)]
    split = registry.check_split(options.split)
    facts: dict[str, str] = {"split": split}
    biases = []
    for spec in specs:
        bias, teacher = _compare(
            spec, _instances(spec, split, options.instances), options.success_only, options.weak_steps
        )
        biases.append(bias)
        facts[f"success-only teacher of {spec.name}"] = teacher
    files = write_difficulty_report(biases, Path(options.output).expanduser(), facts)
    console = make_console()
    console.print(distance_table(biases).to_rich())
    console.print(f"report: {', '.join(map(str, files))}", highlight=False, soft_wrap=True, markup=False)
    return 0


def _instances(spec: "EnvironmentSpec", split: str, most: int | None) -> "list[Instance]":
    size = spec.size(split)
    if size is None:
        size = most or _INSTANCES
    return [spec.instance(split, number) for number in range(min(size, most or size))]


def _compare(
    spec: "EnvironmentSpec", instances: "Sequence[Instance]", success_only: str | None, weak_steps: int | None
) -> "tuple[DifficultyBias, str]":
    """Annotates and replays all instances; returns the comparison, and who the success-only teacher is."""
    import statistics

    from agentbank_jax.bank.annotation import Annotator
    from agentbank_jax.bank.derived import DerivedAnnotator
    from agentbank_jax.bank.difficulty import KEPT, SUCCESS_ONLY, difficulty_bias
    from agentbank_jax.bank.outcome import Drop
    from agentbank_jax.bank.reformatting.registry import TASKS, reformatter
    from agentbank_jax.bank.search.annotator import SearchAnnotator
    from agentbank_jax.bank.search.expert import Expert
    from agentbank_jax.bank.yields import attempt

    annotator: Annotator
    if spec.name in TASKS:
        annotator = reformatter(spec.name)
    else:
        annotator = DerivedAnnotator() if spec.action_space == "continuous" else SearchAnnotator(searcher=Expert())
    lengths: dict[str, int] = {}
    for instance in instances:
        outcome = attempt(spec, instance, annotator)
        if not isinstance(outcome, Drop):
            lengths[instance.id] = len(outcome[0].steps)
    if success_only is not None:
        solved, teacher = _read_ids(success_only), f"the ids in {success_only}"
    else:
        steps = weak_steps or int(statistics.median(lengths.values() or [1]))
        solved = [name for name, length in lengths.items() if length <= steps]
        teacher = f"the same steps, given up after {steps}"
    bias = difficulty_bias(
        {instance.id: instance.difficulty for instance in instances},
        {KEPT: list(lengths), SUCCESS_ONLY: solved},
        task=spec.name,
        measure=_MEASURES.get(spec.name, "difficulty"),
    )
    return bias, teacher


def _read_ids(path: str) -> list[str]:
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentBankError(f"--success_only={path}: cannot be read ({error}); expected ids, one a line.") from None
    return [line.strip() for line in lines if line.strip()]
