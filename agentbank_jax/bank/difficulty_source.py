"""What a difficulty-bias report compares with: a finished bank's problems, or problems annotated for the report."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agentbank_jax.bank.annotation import Annotator
from agentbank_jax.bank.derived import DerivedAnnotator
from agentbank_jax.bank.outcome import DUPLICATE, Drop
from agentbank_jax.bank.reformatting.registry import TASKS, reformatter
from agentbank_jax.bank.search.annotator import SearchAnnotator
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.staging import DROPS, MANIFEST, built_tasks, read_json
from agentbank_jax.bank.yields import attempt
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError, did_you_mean

MEASURES: Mapping[str, str] = {
    "starter_reasoning": "hops",
    "starter_math": "calculations",
    "starter_programming": "tables of the query",
    "starter_web": "what the article must have: type, attributes and options",
    "starter_embodied": "looks into receptacles that the goal needs",
    "mathqa": "operations of the annotated formula",
    "gsm8k": "calculations of the worked solution",
    "math": "level",
    "intercode_sql": "hardness of the query, easy (1) to extra hard (4)",
    "hotpotqa": "level and type, easy comparison (1), easy bridge (2), to hard bridge (6)",
    "strategyqa": "articles to be read",
    "humaneval": "lines of the canonical solution",
    "mbpp": "lines of the published program",
    "scienceworld": "actions that the task may take",
    "mind2web": "recorded steps",
}

Tell = Callable[[int, int], None]
"""Told how many of so many problems are done."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A task's problems, and those that were kept.

    Fields:
      task: its name.
      spec: its environment.
      split: of the environment.
      origin: where it is from, in words.
      measure: what the difficulty counts, in words.
      difficulty: of all problems, by id.
      lengths: actions of each that was kept, by id.
      instances: the problems themselves, where they are at hand already.
    """

    task: str
    spec: EnvironmentSpec
    split: str
    origin: str
    measure: str
    difficulty: Mapping[str, int]
    lengths: Mapping[str, int]
    instances: Sequence[Instance] = field(default=(), repr=False)

    def problems(self, most: int | None = None) -> list[Instance]:
        """The first problems, in their environment's order.

        Raises:
          AgentBankError: as `find_instances`.
        """
        if self.instances:
            return list(self.instances[:most])
        return find_instances(self.spec, self.split, self.difficulty)[:most]


def annotate(spec: EnvironmentSpec, split: str, instances: Sequence[Instance], tell: Tell) -> Source:
    """Annotates problems without a language model, and keeps those whose actions replay to their reward.

    Tasks whose data hold the steps are reformatted; others take what their generator or their own expert knows.
    """
    annotator: Annotator
    if spec.name in TASKS:
        annotator = reformatter(spec.name)
    else:
        annotator = DerivedAnnotator() if spec.action_space == "continuous" else SearchAnnotator(searcher=Expert())
    lengths: dict[str, int] = {}
    for done, instance in enumerate(instances, start=1):
        outcome = attempt(spec, instance, annotator)
        if not isinstance(outcome, Drop):
            lengths[instance.id] = len(outcome[0].steps)
        tell(done, len(instances))
    return Source(
        task=spec.name,
        spec=spec,
        split=split,
        origin=f"{len(instances):,} problems, annotated and replayed for this report",
        measure=_measure(spec),
        difficulty={instance.id: instance.difficulty for instance in instances},
        lengths=lengths,
        instances=instances,
    )


def bank_tasks(bank: Path, tasks: Collection[str] = ()) -> list[Path]:
    """The folders of a bank's finished tasks, those named or all.

    Raises:
      AgentBankError: where there are none, or a name is not among them.
    """
    folders = {name: bank / name for name in built_tasks(bank)}
    if not folders:
        raise AgentBankError(f"--bank={bank}: holds no finished task; expected the --output of build_bank.py.")
    for task in tasks:
        if task not in folders:
            raise AgentBankError(f"--task={task}: {bank} has no such task.{did_you_mean(task, folders)}")
    return [folders[task] for task in tasks or folders]


def read_bank_source(folder: Path, *, by_problem: bool) -> Source:
    """Reads what a finished task was made from, of its manifest, shards and drops; nothing is annotated again.

    Args:
      folder: of the task.
      by_problem: whether the difficulty of each problem that was left out has to be its own. The manifest counts them
        together, and those of a kind are looked up in their environment; without, they are dealt out in any order,
        which is enough to compare the source with what was kept.

    Raises:
      AgentBankError: where the files are not those of a finished bank or disagree, or a problem cannot be looked up.
    """
    manifest = read_json(folder / MANIFEST)
    try:
        parameters, names = manifest["parameters"], [shard["name"] for shard in manifest["shards"]]
        environment, split = parameters["environment"], parameters["split"]
        source = Counter({int(level): int(count) for level, count in manifest["difficulty"]["source"]})
    except (KeyError, TypeError, ValueError):
        raise AgentBankError(
            f"{folder / MANIFEST}: does not say of how hard a source the bank was made; build it again."
        ) from None
    spec = registry.get(environment)
    kept: dict[str, int] = {}
    lengths: dict[str, int] = {}
    for name in names:
        for identifier, difficulty, actions in _rows(folder / name):
            kept[identifier], lengths[identifier] = difficulty, actions
    dropped = _drops(folder / DROPS)
    missing = source - Counter(kept.values())
    if Counter(kept.values()) - source or missing.total() != len(dropped):
        raise AgentBankError(
            f"{folder}: its manifest counts {source.total():,} problems, its shards and {DROPS} name "
            f"{len(kept) + len(dropped):,}; build it again."
        )
    left_out = dict(zip(dropped, sorted(missing.elements()), strict=True))
    if by_problem and len(missing) > 1:
        left_out = {one.id: one.difficulty for one in find_instances(spec, split, dropped)}
        if Counter(left_out.values()) != missing:
            raise AgentBankError(f"{folder}: {environment} has other problems now; build the bank again.")
    return Source(
        task=str(parameters.get("task", folder.name)),
        spec=spec,
        split=split,
        origin=f"{source.total():,} problems, of which the bank keeps {len(kept):,}",
        measure=_measure(spec),
        difficulty={**kept, **left_out},
        lengths=lengths,
    )


def by_actions(source: Source) -> Source:
    """The same source, whose difficulty is the length of the plan that was kept.

    A problem that was left out has none, and counts as one action longer than the longest.
    """
    unknown = max(source.lengths.values(), default=0) + 1
    return replace(
        source,
        measure=f"actions of the plan that was kept, {unknown} where there is none",
        difficulty={name: source.lengths.get(name, unknown) for name in source.difficulty},
    )


def find_instances(spec: EnvironmentSpec, split: str, ids: Iterable[str]) -> list[Instance]:
    """Looks problems up in their environment, by their ids; returns them in its order.

    Ids of splits without end must end in the problem's number, as those of this project do.

    Raises:
      AgentBankError: where the environment has no problem of an id.
    """
    wanted = set(ids)
    size = spec.size(split)
    if size is None:
        ends = {name.rpartition("/")[2] for name in wanted}
        numbers = iter(sorted(int(end) for end in ends if end.isdecimal()))
    else:
        numbers = iter(range(size))
    found: list[Instance] = []
    while len(found) < len(wanted) and (number := next(numbers, None)) is not None:
        instance = spec.instance(split, number)
        if instance.id in wanted:
            found.append(instance)
    if len(found) < len(wanted):
        lost = min(wanted - {instance.id for instance in found})
        raise AgentBankError(f"{spec.name}: its {split} split has no problem '{lost}' here; expected the bank's data.")
    return found


def _measure(spec: EnvironmentSpec) -> str:
    return MEASURES.get(spec.name, "difficulty")


def _rows(path: Path) -> Iterable[tuple[str, int, int]]:
    """Id, difficulty and actions of each trajectory of a shard."""
    try:
        table = pq.read_table(path, columns=["id", "difficulty", "conversations"])
        turns = table["conversations"].combine_chunks()
        lengths = pc.list_value_length(turns).to_pylist()
        speakers = iter(pc.struct_field(turns.flatten(), "from").to_pylist())
        actions = [sum(speaker == "gpt" for speaker in itertools.islice(speakers, length)) for length in lengths]
        return list(zip(table["id"].to_pylist(), map(int, table["difficulty"].to_pylist()), actions, strict=True))
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise AgentBankError(f"{path}: cannot be read ({error}); expected a shard of build_bank.py.") from None


def _drops(path: Path) -> list[str]:
    """Ids of the problems that were left out; one that repeats an earlier one counts in no source."""
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        return [line["id"] for line in lines if line["reason"] != DUPLICATE]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentBankError(f"{path}: cannot be read ({error}); expected what build_bank.py left out.") from None
