"""Result files that survive a kill, and the figures computed from them."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.intervals import independent_episodes, wilson_interval
from agentbank_jax.whole_files import unwritten, whole_file

OTHERS = "other_conditions"
"""Beside result files: the episodes that were played under other conditions than those of now."""


class ResultFile:
    """The episodes of one policy in one task: a JSON-lines file, one line per finished episode.

    Lines are appended whole. A process that is killed leaves at most one torn last line, which the next one drops.
    Records of another `key` (another model or other limits) are put aside, into a file of the same name in the folder
    `OTHERS` beside it, and come back when their key is played again.
    """

    def __init__(self, path: Path, *, key: str = "") -> None:
        self.path = path
        self.key = key

    def read(self) -> dict[tuple[int, int], EpisodeRecord]:
        """All whole records, by seed and index, whatever their key; the file is left as it is."""
        # A later line of an episode is what came of it when it was played again.
        return {(seed, index): record for (_, seed, index), record in _by_key(_lines(self.path)).items()}

    def load(self) -> dict[tuple[int, int], EpisodeRecord]:
        """The usable records, by seed and index. The file is mended (replaced whole) where it held others.

        Raises:
          AgentBankError: the file cannot be read or mended.
        """
        aside = self.path.parent / OTHERS / self.path.name
        try:
            lines, set_aside = _lines(self.path), _by_key(_lines(aside))
            held = _by_key(lines)
            others = {at: record for at, record in held.items() if at[0] != self.key}
            usable = {at[1:]: record for at, record in {**set_aside, **held}.items() if at[0] == self.key}
            # An environment's error is no result: that episode is played again.
            usable = {at: record for at, record in usable.items() if record.terminate_reason != "environment_error"}
            # First there, then away from here: a kill between the two loses nothing.
            if others:
                _write(aside, {**set_aside, **others}.values())
            if lines[-1] or len(usable) != len(lines) - 1 or others:
                _write(self.path, usable.values())
        except OSError as error:
            raise unwritten(self.path, error.strerror) from error
        return usable

    def append(self, record: EpisodeRecord) -> None:
        """Adds one record, and hands it to the operating system before it returns.

        Raises:
          AgentBankError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(record))
        except OSError as error:
            raise unwritten(self.path, error.strerror) from error


def _lines(path: Path) -> list[str]:
    """Of a file, each without its end, the last one what follows the last end; of none, one empty line."""
    # Never splitlines: observations may hold other line separators.
    return path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else [""]


def _by_key(lines: Sequence[str]) -> dict[tuple[str, int, int], EpisodeRecord]:
    """The whole records by key, seed and index; of each the last."""
    records: dict[tuple[str, int, int], EpisodeRecord] = {}
    for record in map(_read, lines):
        if record is not None:
            at = (record.key, record.seed, record.index)
            # What was written last also comes last: `read` is told no keys.
            records.pop(at, None)
            records[at] = record
    return records


def _write(path: Path, records: Iterable[EpisodeRecord]) -> None:
    with whole_file(path) as mended:
        mended.write_text("".join(map(_line, records)), encoding="utf-8")


def _line(record: EpisodeRecord) -> str:
    # Half a surrogate pair, which a server or an engine may send and UTF-8 cannot hold, becomes a question mark.
    return json.dumps(record.to_json(), ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"


def _read(line: str) -> EpisodeRecord | None:
    try:
        return EpisodeRecord.from_json(json.loads(line))
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How one policy did in one task.

    Fields:
      episodes: how many count: all but `left_out`.
      instances: how many problems they are of: with several seeds, each was played several times.
      independent: how many independent episodes tell as much (see `intervals.independent_episodes`).
      success_rate, average_reward: sums divided by all that count; an episode that an
        environment error ended counts as 0 and is listed in `environment_errors`.
      interval: 95 % interval of the success rate (Wilson's, of `independent` episodes).
      steps: mean assistant turns of an episode.
      invalid_rate: invalid actions divided by all assistant turns.
      tokens, prompt_tokens: mean tokens generated, and read, in an episode.
      seconds: mean wall time of an episode, in the company of its batch.
      environment_errors: episodes that the environment, not the agent, ended.
      left_out: episodes whose instance was trained on.
      reasons: termination reason → episodes.
      figures: what the environment measures → its mean over the episodes that have it.
    """

    task: str
    skill: str
    model: str
    episodes: int
    instances: int
    independent: float
    success_rate: float
    average_reward: float
    interval: tuple[float, float]
    steps: float
    invalid_rate: float
    tokens: float
    prompt_tokens: float
    seconds: float
    environment_errors: int
    left_out: int
    reasons: Mapping[str, int]
    figures: Mapping[str, float]

    @property
    def broken(self) -> bool:
        """Whether the environment, not the agent, ended every episode: then nothing was measured."""
        return self.environment_errors == self.episodes > 0


def summarize(records: Sequence[EpisodeRecord], *, task: str, skill: str, model: str) -> Summary:
    """Computes the figures; with no episode that counts they are 0 and the interval is (0, 1)."""
    counted = [record for record in records if not record.trained_on]
    episodes = len(counted)
    by_instance = defaultdict(list)
    for record in counted:
        by_instance[record.index].append(record.success)
    won = list(by_instance.values())
    independent = independent_episodes([sum(each) for each in won], [len(each) for each in won])
    successes = sum(record.success for record in counted)
    steps = sum(record.steps for record in counted)
    each = max(episodes, 1)
    return Summary(
        task=task,
        skill=skill,
        model=model,
        episodes=episodes,
        instances=len(won),
        independent=independent,
        success_rate=successes / each,
        average_reward=sum(record.reward for record in counted) / each,
        interval=wilson_interval(successes / each, independent),
        steps=steps / each,
        invalid_rate=sum(record.invalid_actions for record in counted) / max(steps, 1),
        tokens=sum(record.tokens for record in counted) / each,
        prompt_tokens=sum(record.prompt_tokens for record in counted) / each,
        seconds=sum(record.seconds for record in counted) / each,
        environment_errors=sum(record.terminate_reason == "environment_error" for record in counted),
        left_out=len(records) - episodes,
        reasons=dict(Counter(record.terminate_reason for record in counted)),
        figures=_mean_figures(counted),
    )


def is_figure(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number that can be added up."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def _mean_figures(records: Sequence[EpisodeRecord]) -> dict[str, float]:
    """Means of the figures that are numbers, in the order in which they are met."""
    values = defaultdict(list)
    for record in records:
        for name, value in record.figures.items():
            if is_figure(value):
                values[name].append(float(value))
    return {name: sum(each) / len(each) for name, each in values.items()}
