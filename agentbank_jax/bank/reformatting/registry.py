"""Which annotator reformats which task."""

from collections.abc import Callable, Mapping

from agentbank_jax.bank.annotation import Annotator
from agentbank_jax.bank.reformatting.decompositions import DecompositionReformatter
from agentbank_jax.bank.reformatting.formulas import FormulaReformatter
from agentbank_jax.bank.reformatting.programs import ProgramReformatter
from agentbank_jax.bank.reformatting.queries import QueryReformatter
from agentbank_jax.bank.reformatting.recordings import RecordingReformatter
from agentbank_jax.bank.reformatting.searches import SearchReformatter
from agentbank_jax.bank.reformatting.solutions import SolutionReformatter
from agentbank_jax.errors import AgentBankError, did_you_mean


def _programs(*, seed: int) -> Annotator:
    # A canonical solution leaves nothing to choose.
    return ProgramReformatter()


_REFORMATTERS: Mapping[str, Callable[..., Annotator]] = {
    "gsm8k": SolutionReformatter,
    "mathqa": FormulaReformatter,
    "hotpotqa": SearchReformatter,
    "strategyqa": DecompositionReformatter,
    "intercode_sql": QueryReformatter,
    "humaneval": _programs,
    "mbpp": _programs,
    "mind2web": RecordingReformatter,
}

TASKS: tuple[str, ...] = tuple(_REFORMATTERS)
"""The tasks whose data hold the steps."""


def reformatter(task: str, *, seed: int = 0) -> Annotator:
    """Returns the annotator of a task whose data hold the steps.

    Args:
      task: one of `TASKS`.
      seed: chooses the wording where the data have none.

    Raises:
      AgentBankError: where there is none for it.
    """
    if task not in _REFORMATTERS:
        raise AgentBankError(f"no data of '{task}' hold the steps.{did_you_mean(task, TASKS)}")
    return _REFORMATTERS[task](seed=seed)
