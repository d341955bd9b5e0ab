"""What is recorded of an episode: the released layout of a conversation, and how it went."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.agents.rollout import Outcome
from agentbank_jax.trajectories.schema import Turn


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One line of a result file.

    `id` and `conversations` are the released AgentBank layout (the instruction is left out, as
    there), so that good episodes can be trained on; the rest says how they came about.

    Fields:
      id: `<task>/<split>/<index>`.
      conversations: `{"from": "human" | "gpt", "value": …}` in turn; empty where the environment
        failed before its first observation.
      task, skill, protocol: of the environment.
      split, index: which instance.
      instance_id, fingerprint: of the instance; None where making it failed.
      model: the name of the policy. agent: how it was driven.
      reward, success, steps, invalid_actions, terminate_reason, tokens, seconds, error,
        final_observation: see `agents.rollout.Outcome`.
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
    instance_id: str | None
    fingerprint: str | None
    model: str
    agent: str
    reward: float
    success: bool
    steps: int
    invalid_actions: int
    terminate_reason: str
    tokens: int
    seconds: float
    final_observation: str | None
    error: str | None
    trained_on: bool
    key: str

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        *,
        task: str,
        skill: str,
        protocol: str,
        split: str,
        index: int,
        model: str,
        agent: str,
        trained_on: bool,
        key: str,
    ) -> "EpisodeRecord":
        instance = outcome.instance
        return cls(
            id=outcome.episode.id,
            conversations=tuple(_message(turn) for turn in outcome.turns if turn.role != "system"),
            task=task,
            skill=skill,
            protocol=protocol,
            split=split,
            index=index,
            instance_id=instance.id if instance else None,
            fingerprint=instance.fingerprint if instance else None,
            model=model,
            agent=agent,
            reward=outcome.reward,
            success=outcome.success,
            steps=outcome.steps,
            invalid_actions=outcome.invalid_actions,
            terminate_reason=outcome.terminate_reason,
            tokens=outcome.tokens,
            seconds=round(outcome.seconds, 4),
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
          TypeError: fields are missing or unknown.
        """
        return cls(**{**value, "conversations": tuple(value["conversations"])})


def _message(turn: Turn) -> dict[str, str]:
    return {"from": "gpt" if turn.role == "assistant" else "human", "value": turn.content}
