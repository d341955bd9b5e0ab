"""What is recorded of an episode: the released layout of a conversation, and how it went."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.agents.episode import Outcome
from agentbank_jax.trajectories.schema import Turn

# Of the figures that an environment gives with its last step.
_SAID_ELSEWHERE = ("invalid_action", "success")


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One line of a result file.

    `id` and `conversations` are the released AgentBank layout (the instruction is left out, as
    there), so that good episodes can be trained on; the rest says how they came about.

    Fields:
      id: `<task>/<split>/<index>/<seed>`.
      conversations: `{"from": "human" | "gpt", "value": …}` in turn; empty where the environment
        failed before its first observation.
      task, skill, protocol: of the environment.
      split, index, seed: which instance, and what decides chance.
      answers: how a stated answer was compared with the published one.
      data: hash of the instances, and of what they are played with, such as an index of passages.
      instance_id, fingerprint: of the instance; None where making it failed.
      model: the name of the policy. agent: how it was driven.
      reward, success, steps, invalid_actions, first_invalid, terminate_reason, tokens, prompt_tokens, seconds, error,
        final_observation: see `agents.episode.Outcome`.
      figures: what the environment measured at the end, such as `f1`.
      earlier: the conversations of an agent's earlier trials.
      trained_on: whether the checkpoint's manifest lists the instance.
      key: hash of everything that decides the episode; a record with another key is stale.
    """

    id: str
    conversations: tuple[Mapping[str, str], ...]
    task: str
    skill: str
    protocol: str
    split: str
    index: int
    seed: int
    answers: str
    data: str
    instance_id: str | None
    fingerprint: str | None
    model: str
    agent: str
    reward: float
    success: bool
    steps: int
    invalid_actions: int
    first_invalid: int | None
    terminate_reason: str
    tokens: int
    prompt_tokens: int
    seconds: float
    figures: Mapping[str, Any]
    earlier: tuple[tuple[Mapping[str, str], ...], ...]
    final_observation: str | None
    error: str | None
    trained_on: bool
    key: str

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        *,
        split: str,
        index: int,
        data: str,
        model: str,
        trained_on: bool,
        key: str,
    ) -> "EpisodeRecord":
        episode, instance = outcome.episode, outcome.instance
        return cls(
            id=episode.id,
            conversations=_messages(outcome.turns),
            task=episode.spec.name,
            skill=episode.spec.skill,
            protocol=episode.spec.protocol,
            split=split,
            index=index,
            seed=episode.seed,
            answers=episode.answers,
            data=data,
            instance_id=instance.id if instance else None,
            fingerprint=instance.fingerprint if instance else None,
            model=model,
            agent=episode.agent.name,
            reward=outcome.reward,
            success=outcome.success,
            steps=outcome.steps,
            invalid_actions=outcome.invalid_actions,
            first_invalid=outcome.first_invalid,
            terminate_reason=outcome.terminate_reason,
            tokens=outcome.tokens,
            prompt_tokens=outcome.prompt_tokens,
            seconds=round(outcome.seconds, 4),
            figures={
                name: value
                for name, value in outcome.info.items()
                if name not in _SAID_ELSEWHERE and isinstance(value, str | int | float | None)
            },
            earlier=tuple(_messages(turns) for turns in outcome.earlier),
            final_observation=outcome.final_observation,
            error=outcome.error,
            trained_on=trained_on,
            key=key,
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EpisodeRecord":
        """The inverse of `to_json`.

        Raises:
          TypeError: fields are missing, unknown, or of another type.
        """
        conversations, earlier = tuple(value["conversations"]), tuple(map(tuple, value["earlier"]))
        record = cls(**{**value, "conversations": conversations, "earlier": earlier})
        for name, expected in _types().items():
            if not _fits(getattr(record, name), expected):
                raise TypeError(f"{name} is {type(getattr(record, name)).__name__}")
        for message in (*conversations, *(one for trial in earlier for one in trial)):
            if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("from", "value")):
                raise TypeError("a message is no mapping of from and value")
        return record


@functools.cache
def _types() -> Mapping[str, Any]:
    return typing.get_type_hints(EpisodeRecord)


def _fits(value: object, expected: Any) -> bool:
    """Whether a value that was read from JSON is of a field's type; what tuples hold is looked at elsewhere."""
    if isinstance(expected, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(expected))
    if expected is float:
        return type(value) in (int, float)
    if expected is int:  # True is an int, too
        return type(value) is int
    return isinstance(value, typing.get_origin(expected) or expected)


def _messages(turns: tuple[Turn, ...]) -> tuple[Mapping[str, str], ...]:
    return tuple(
        {"from": "gpt" if turn.role == "assistant" else "human", "value": turn.content}
        for turn in turns
        if turn.role != "system"
    )
