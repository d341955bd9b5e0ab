"""What `--success_only` names: a file of ids, or a sweep in which a model played."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.errors import AgentBankError, did_you_mean

if TYPE_CHECKING:
    from agentbank_jax.bank.difficulty_selection import Selection
    from agentbank_jax.evaluation.episode import EpisodeRecord
    from agentbank_jax.evaluation.sweep_result import Column, SweepResult

# The process of the environment died: nobody has tried the problem.
_NOT_TRIED = "environment_error"


@dataclass(frozen=True, kw_only=True)
class SuccessOnly:
    """Selections by environment, and those of one file for whichever task is reported.

    Fields:
      by_environment: of a sweep.
      of_any: of a file of ids; None otherwise.
    """

    by_environment: "dict[str, Selection]"
    of_any: "Selection | None" = None

    def of(self, environment: str) -> "Selection | None":
        """The selection of an environment's problems; None where there is none."""
        return self.by_environment.get(environment, self.of_any)


def read_success_only(value: str, model: str | None, split: str) -> SuccessOnly:
    """Reads a file of ids, one a line, or the folder of a sweep or of an evaluation's output.

    Args:
      value: of `--success_only`.
      model: who played, where several did.
      split: of the problems that are reported.

    Raises:
      AgentBankError: where it cannot be read, several played and none is named, or nobody of that name did.
    """
    from agentbank_jax.bank.difficulty_selection import Selection

    path = Path(value).expanduser()
    if path.is_dir():
        return SuccessOnly(by_environment=_of_sweeps(value, model, split))
    if model is not None:
        raise AgentBankError(f"--model={model}: chooses who played in a sweep; --success_only={value} is no folder.")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentBankError(
            f"--success_only={value}: cannot be read ({error}); expected ids, one a line, or the folder of a sweep."
        ) from None
    ids = [line.strip() for line in lines if line.strip()]
    return SuccessOnly(by_environment={}, of_any=Selection(teacher=f"the ids in {value}", solved=ids))


def _of_sweeps(value: str, model: str | None, split: str) -> "dict[str, Selection]":
    """The successes of one player on a split, by environment."""
    from agentbank_jax.evaluation.report_sources import find_sweeps
    from agentbank_jax.evaluation.sweep_file import read_sweep

    sweeps = [sweep for sweep in map(read_sweep, find_sweeps([value])) if sweep.split == split]
    if not sweeps:
        raise AgentBankError(
            f"--success_only={value}: nobody played {split} problems there; expected SweepConfig.split='{split}' "
            "(banks are made of train problems, and eval/explore.gin plays them)."
        )
    name = _player(value, model, sweeps)
    episodes: dict[str, list[EpisodeRecord]] = {}
    for sweep in sweeps:
        for column in (one for one in sweep.columns if name in (one.name, one.model)):
            for task in sweep.tasks:
                episodes.setdefault(task.facts.name, []).extend(task.records.get(column.name, ()))
    return {task: _selection(name, records) for task, records in episodes.items() if records}


def _player(value: str, model: str | None, sweeps: "Sequence[SweepResult]") -> str:
    from agentbank_jax.evaluation.sweep_config import BASELINES

    columns: list[Column] = [column for sweep in sweeps for column in sweep.columns]
    if model is not None:
        known = {name for column in columns for name in (column.name, column.model)}
        if model not in known:
            raise AgentBankError(f"--model={model}: did not play in {value}.{did_you_mean(model, known)}")
        return model
    players = list(dict.fromkeys(column.name for column in columns if column.model not in BASELINES))
    if len(players) != 1:
        shown = ", ".join(players) or ", ".join(dict.fromkeys(column.name for column in columns))
        raise AgentBankError(f"--success_only={value}: {shown} played; choose one with --model=NAME.")
    return players[0]


def _selection(name: str, records: "Collection[EpisodeRecord]") -> "Selection":
    from agentbank_jax.bank.difficulty_selection import Selection

    played = [one for one in records if one.instance_id is not None and one.terminate_reason != _NOT_TRIED]
    tried = {one.instance_id for one in played if one.instance_id is not None}
    seen = {one.instance_id for one in played if one.trained_on}
    tries = -(-len(played) // max(1, len(tried)))
    remarks = [
        f"a problem counts as solved where one of {tries} tries succeeds" if tries > 1 else "",
        f"it was trained on {len(seen):,} of these" if seen else "it was trained on none of these",
    ]
    return Selection(
        teacher=name,
        solved={one.instance_id for one in played if one.success and one.instance_id is not None},
        tried=tried,
        remark="; ".join(filter(None, remarks)),
    )
