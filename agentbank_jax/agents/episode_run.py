"""An episode under way: it passes what an agent asks for on to the policy and the environment, and keeps count."""

import time
from dataclasses import dataclass, field
from typing import TypeAlias

from agentbank_jax.agents.agent import AskPolicy, Play, TakeAction, Told, TryAgain
from agentbank_jax.agents.episode import Episode, Outcome, TerminateReason
from agentbank_jax.agents.policy import Reply, Request
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.held import Act, Begin, Failed, Seen, Wants
from agentbank_jax.trajectories.schema import Turn

Message: TypeAlias = Request | Begin | Act
"""For the policy, or for the environment."""


@dataclass(kw_only=True)
class EpisodeRun:
    """What has happened in an episode so far.

    Each of `begin`, `take_reply` and `take_answer` returns the message that is to be sent next, None where the episode
    has ended; `reason` then says why. `trial` counts from 1, and names the conversation.
    """

    episode: Episode
    instance: Instance
    wants: Wants
    max_unparseable: int
    turns: tuple[Turn, ...] = ()
    earlier: tuple[tuple[Turn, ...], ...] = ()
    final_observation: str | None = None
    reward: float = 0.0
    info: dict[str, object] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    trial: int = 1
    steps: int = 0
    trial_steps: int = 0
    invalid_actions: int = 0
    first_invalid: int | None = None
    unparseable: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    reason: TerminateReason | None = None
    error: str | None = None
    started: float = field(default_factory=time.perf_counter)
    _play: Play | None = None
    _seen: Seen = field(default_factory=lambda: Seen(observation=""))
    _expert: Seen | None = None

    @property
    def conversation(self) -> str:
        return self.episode.id if self.trial == 1 else f"{self.episode.id}#{self.trial}"

    def begin(self) -> Begin:
        """The message that sets the problem up."""
        spec = self.episode.spec
        return Begin(
            kind=f"{spec.name} {spec.protocol}",
            make=spec.make,
            instance=self.instance,
            seed=self.episode.seed,
            answers=self.episode.answers,
            max_steps=self.episode.max_steps,
            wants=self.wants,
            draw=self._draw(),
        )

    def take_reply(self, reply: Reply) -> Message | None:
        """Takes an assistant turn."""
        self.tokens += reply.tokens
        self.prompt_tokens += reply.prompt_tokens
        self.figures |= reply.figures
        if reply.ended is not None and self.reason is not None:
            # The trial had ended; only the words about it are missing.
            self.turns = self.turns[:-1]
            return None
        if reply.ended is not None:
            self.reason = reply.ended
            if reply.text:
                self._count()
                self.turns = (*self.turns, Turn.assistant(reply.text))
            return None
        self.turns = (*self.turns, Turn.assistant(reply.text))
        return self._go_on(reply.text)

    def take_answer(self, answer: Seen | Failed) -> Message | None:
        """Takes what the environment said."""
        if isinstance(answer, Failed):
            self.reason, self.error = "environment_error", answer.error
            return None
        self._seen = answer
        if self._play is None:
            self._expert = answer
            self._play = self.episode.agent.play(self.episode.spec.instruction, answer.observation)
            return self._go_on(None)
        if not self.trial_steps:
            return self._go_on(Told(text=answer.observation))
        self.reward = answer.reward
        self.info = dict(answer.info)
        if answer.info.get("invalid_action", False):
            self._count_invalid()
        if answer.terminated:
            success = self.reward >= self.episode.spec.success_threshold
            return self._end_trial("success" if success else "finished", answer.observation)
        if answer.truncated or self._at_limit:
            return self._end_trial("max_steps", answer.observation)
        return self._go_on(Told(text=answer.observation))

    @property
    def _at_limit(self) -> bool:
        return self.trial_steps >= (self.episode.max_steps or self.episode.spec.max_steps)

    def _count(self) -> None:
        self.steps += 1
        self.trial_steps += 1

    def _count_invalid(self) -> None:
        self.invalid_actions += 1
        if self.first_invalid is None:
            self.first_invalid = sum(turn.role == "assistant" for turn in self.turns)

    def _go_on(self, told: str | Told | None) -> Message | None:
        """Lets the agent say what it wants next."""
        assert self._play is not None
        try:
            wish = next(self._play) if told is None else self._play.send(told)
        except StopIteration:
            assert self.reason is not None, "an agent must play until its trial ends"
            return None
        if isinstance(wish, AskPolicy):
            self.turns = wish.turns
            return self._request(wish)
        if isinstance(wish, TryAgain):
            return self._try_again()
        assert self.reason is None, "an agent must not act when its trial has ended"
        return self._take(wish)

    def _request(self, wish: AskPolicy) -> Request:
        assert self._expert is not None
        return Request(
            conversation=self.conversation,
            turns=wish.turns,
            agent=self.episode.agent,
            purpose=wish.purpose,
            seed=self.episode.seed,
            task=self.episode.spec.name,
            episode=self.episode.id,
            instance_id=self.instance.id,
            trial=self.trial,
            expert_steps=self._expert.expert_steps,
            valid_actions=self._seen.valid_actions,
            random_action=self._seen.random_action,
        )

    def _take(self, wish: TakeAction) -> Message | None:
        self._count()
        if wish.action is not None:
            self.unparseable = 0
            return Act(action=wish.action, draw=self._draw())
        self._count_invalid()
        self.unparseable += 1
        if self.unparseable >= self.max_unparseable:
            return self._end_trial("unparseable", None, wish.refusal)
        if self._at_limit:
            return self._end_trial("max_steps", wish.refusal)
        return self._go_on(Told(text=wish.refusal))

    def _end_trial(self, reason: TerminateReason, observation: str | None, told: str = "") -> Message | None:
        self.reason, self.final_observation = reason, observation
        return self._go_on(Told(text=observation or told, ended=True, success=reason == "success"))

    def _try_again(self) -> Begin:
        self.earlier = (*self.earlier, self.turns)
        self.trial += 1
        self.turns, self.final_observation, self.reason, self.first_invalid = (), None, None, None
        self.reward, self.info, self.trial_steps, self.unparseable = 0.0, {}, 0, 0
        return self.begin()

    def _draw(self) -> str:
        return f"{self.episode.seed}/{self.episode.id}/{self.steps}"

    def outcome(self) -> Outcome:
        """How it went, once it has ended."""
        assert self.reason is not None
        turns, final_observation = self.turns, self.final_observation
        if self.trial_steps and turns and turns[-1].role == "user":  # nobody answered it
            turns, final_observation = turns[:-1], turns[-1].content.removeprefix("Observation: ")
        return Outcome(
            episode=self.episode,
            instance=self.instance,
            turns=turns,
            earlier=self.earlier,
            final_observation=final_observation,
            reward=self.reward,
            success=self.reason != "environment_error" and self.reward >= self.episode.spec.success_threshold,
            steps=self.steps,
            invalid_actions=self.invalid_actions,
            first_invalid=self.first_invalid,
            terminate_reason=self.reason,
            tokens=self.tokens,
            prompt_tokens=self.prompt_tokens,
            seconds=time.perf_counter() - self.started,
            info={**self.info, **self.figures},
            error=self.error,
        )
