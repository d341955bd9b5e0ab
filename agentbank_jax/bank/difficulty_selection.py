"""Success-only selections: what a teacher would have kept who keeps his own successes alone."""

import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agentbank_jax.bank.difficulty import KEPT, RESAMPLES, SUCCESS_ONLY, DifficultyBias, difficulty_bias
from agentbank_jax.bank.difficulty_source import Source, Tell
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.search.annotator import SearchAnnotator
from agentbank_jax.bank.search.budget import Budget
from agentbank_jax.bank.search.searcher import Searcher
from agentbank_jax.errors import AgentBankError


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A teacher's successes.

    Fields:
      teacher: who it is, in a few words.
      solved: ids of the problems that it solved.
      tried: ids of those that it tried, where that may not be the whole source; None for all of it.
      remark: what else must be known.
    """

    teacher: str
    solved: Collection[str]
    tried: Collection[str] | None = None
    remark: str = ""


def compare(source: Source, selection: Selection | None, *, resamples: int = RESAMPLES) -> tuple[DifficultyBias, ...]:
    """Compares what was kept, and a success-only selection, with the source.

    Where the selection's teacher tried a part of the source alone, the whole source is compared with what was kept of
    it, and that part with what was kept of the part and with the selection.

    Raises:
      AgentBankError: where the teacher tried none of the source, or has ids that the source has not.
    """
    difficulty, kept = source.difficulty, source.lengths
    if selection is None or selection.tried is None:
        chosen = {} if selection is None else {SUCCESS_ONLY: selection.solved}
        return (_bias(source, difficulty, {KEPT: kept, **chosen}, "", resamples),)
    tried = set(selection.tried)
    part = {name: level for name, level in difficulty.items() if name in tried}
    if not part:
        raise AgentBankError(
            f"{source.task}: {selection.teacher} tried {len(tried):,} problems, none of which the source has; for "
            f"example '{min(tried, default='')}' and '{min(difficulty)}'."
        )
    sets = {
        KEPT: [name for name in kept if name in part],
        SUCCESS_ONLY: [name for name in selection.solved if name in part],
    }
    if len(part) == len(difficulty):
        return (_bias(source, difficulty, sets, "", resamples),)
    return (
        _bias(source, difficulty, {KEPT: kept}, "", resamples),
        _bias(source, part, sets, f"the {len(part):,} tried", resamples),
    )


def _bias(
    source: Source, difficulty: Mapping[str, int], sets: Mapping[str, Collection[str]], part: str, resamples: int
) -> DifficultyBias:
    return difficulty_bias(difficulty, sets, task=source.task, measure=source.measure, part=part, resamples=resamples)


def weak_search(source: Source, searcher: Searcher, budget: Budget, most: int | None, tell: Tell) -> Selection:
    """What a searcher solves within a budget, of the source's first problems.

    Raises:
      AgentBankError: where the environment cannot list its actions, or a problem cannot be looked up.
    """
    annotator = SearchAnnotator(searcher=searcher, budget=budget)
    instances = source.problems(most)
    solved = []
    for done, instance in enumerate(instances, start=1):
        if not isinstance(annotator.annotate(source.spec, instance), Drop):
            solved.append(instance.id)
        tell(done, len(instances))
    return Selection(
        teacher=f"{searcher.name} search, {budget.steps:,} steps a problem",
        solved=solved,
        tried=[instance.id for instance in instances],
    )


def plans_cut_short(source: Source, steps: int | None) -> Selection:
    """Those problems whose own plan takes so many steps at most (their median if None): a stand-in, no solver."""
    least = steps or int(statistics.median(source.lengths.values() or [1]))
    return Selection(
        teacher=f"plans cut short after {least} steps",
        solved=[name for name, length in source.lengths.items() if length <= least],
        remark="no solver: the same plans, as if given up after so many steps",
    )


def described(selection: Selection, source: Source) -> str:
    """The teacher in a sentence, for a report."""
    known: Mapping[str, int] = source.difficulty
    solved = sum(name in known for name in selection.solved)
    if selection.tried is None:
        figures = f"solved {solved:,} of {len(known):,}"
    else:
        tried = sum(name in known for name in selection.tried)
        figures = f"solved {solved:,} of the {tried:,} that it tried of {len(known):,}"
        if tried < len(known):
            figures += "; source and kept are restricted to these beside it"
    return "; ".join(filter(None, (f"{selection.teacher}: {figures}", selection.remark)))
