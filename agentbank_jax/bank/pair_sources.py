"""Where attempts come from: the episodes of a sweep, and the trajectories of a bank."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from agentbank_jax.agents.agent import Agent, AskPolicy
from agentbank_jax.agents.policy import EXPERT_STEP
from agentbank_jax.agents.react import ReAct
from agentbank_jax.agents.registry import get_agent
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.pairs import Attempt
from agentbank_jax.environments import registry
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.trajectories.schema import Trajectory, Turn

EXPERT = "expert"
"""The source of an expert's attempt."""

# Neither the model nor the environment ended these: a process died, or a recording has no more replies.
_NOT_THE_MODELS = ("environment_error", "no_reply")


class PlayedEpisode(Protocol):
    """What is taken of an episode; see `evaluation.episode.EpisodeRecord`."""

    @property
    def id(self) -> str: ...
    @property
    def conversations(self) -> Sequence[Mapping[str, str]]: ...
    @property
    def task(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def answers(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def instance_id(self) -> str | None: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def model(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def reward(self) -> float: ...
    @property
    def success(self) -> bool: ...
    @property
    def terminate_reason(self) -> str: ...
    @property
    def final_observation(self) -> str | None: ...


def attempt_of_episode(episode: PlayedEpisode) -> Attempt | Drop:
    """Turns an episode into the model's attempt; its instruction is the one that its agent gives in its environment.

    An episode that filled the model's context has ended within a reply, which is left out with the observation
    before it.

    Returns:
      The attempt, or why it cannot be used: `environment_error`, `no_reply`, `no_conversation`, `no_thoughts` (the
      oracle's replies, also where a recording repeats them: there is nothing in them to learn from), `other_protocol`
      (the environment is no longer the one that was played).

    Raises:
      AgentBankError: the environment or the agent is unknown, or the conversation is none.
    """
    if episode.terminate_reason in _NOT_THE_MODELS:
        return Drop(id=episode.id, reason=episode.terminate_reason)
    said = list(episode.conversations)
    if episode.terminate_reason == "context_exhausted" and episode.final_observation is None:
        said = said[:-2]
    if episode.instance_id is None or len(said) < 2:
        return Drop(id=episode.id, reason="no_conversation")
    if any(one["from"] == "gpt" and EXPERT_STEP in one["value"] for one in said):
        return Drop(id=episode.id, reason="no_thoughts", detail=episode.model)
    spec = registry.get(episode.task)
    if spec.protocol != episode.protocol:
        return Drop(id=episode.id, reason="other_protocol", detail=f"{episode.protocol}; now {spec.protocol}")
    turns = tuple(Turn.assistant(one["value"]) if one["from"] == "gpt" else Turn.user(one["value"]) for one in said)
    trajectory = Trajectory(
        id=episode.id, task=episode.task, turns=(*_instruction(get_agent(episode.agent), spec, turns), *turns)
    )
    return Attempt(
        id=episode.id,
        task=episode.task,
        skill=spec.skill,
        instance_id=episode.instance_id,
        conditions="\n".join((episode.fingerprint or "", episode.data, episode.answers)),
        side="model",
        source=f"{episode.model}/{episode.agent}/{episode.seed}",
        seed=episode.seed,
        turns=trajectory.turns,
        reward=episode.reward,
        success=episode.success,
    )


def attempt_of_trajectory(trajectory: Trajectory) -> Attempt | Drop:
    """Turns a bank's trajectory, whose id is its instance's, into an expert's attempt.

    Returns:
      The attempt, or why it cannot be used: `no_reward` (the bank does not say what it earned), `expert_failed` (it
      earned too little).

    Raises:
      AgentBankError: the environment is unknown.
    """
    spec = registry.get(trajectory.task)
    reward = trajectory.metadata.get("reward")
    if isinstance(reward, bool) or not isinstance(reward, int | float):
        return Drop(id=trajectory.id, reason="no_reward")
    if not reward >= spec.success_threshold:
        return Drop(id=trajectory.id, reason="expert_failed", detail=f"reward {reward:g}")
    turns = trajectory.turns
    return Attempt(
        id=trajectory.id,
        task=trajectory.task,
        skill=spec.skill,
        instance_id=trajectory.id,
        side="expert",
        source=EXPERT,
        turns=turns if turns[0].role == "system" else (*_instruction(ReAct(), spec, turns), *turns),
        reward=float(reward),
        success=True,
    )


def _instruction(agent: Agent, spec: EnvironmentSpec, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The system turn with which an agent begins."""
    wish = next(agent.play(spec.instruction, turns[0].content))
    assert isinstance(wish, AskPolicy), "an agent asks before it acts"
    return tuple(turn for turn in wish.turns if turn.role == "system")
