"""A model as a policy: conversations stay resident in the engine from turn to turn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agentbank_jax.agents.policy import Reply, Request
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX
from agentbank_jax.environments.held import Wants
from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.requests import Generation, GenerationRequest, SamplingParams
from agentbank_jax.trajectories.schema import Turn
from agentbank_jax.trajectories.templates.continuation import Continues, continued_ids

_ACTION, _ANSWER = "\nAction:", f"\n{FINAL_ANSWER_PREFIX}"


class ChatTemplate(Continues, Protocol):
    """What acting needs of a template of `trajectories.templates`."""

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of a conversation that ends with a user turn."""

    def reply_ids(self, content: str, start: int) -> list[int]:
        """Ids of a reply from a character on, without its stop id."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a reply."""


@dataclass(kw_only=True)
class _Episode:
    """A conversation, and the reply that is being made.

    Fields:
      ids: all that was read and generated.
      actions: those of which one is to be chosen; empty where the reply is free.
      thought: what was written before the choice.
      tokens: generated for the reply so far.
      prompt_tokens: of the conversation before the reply.
    """

    ids: list[int]
    actions: tuple[str, ...] = ()
    thought: str = ""
    tokens: int = 0
    prompt_tokens: int = 0


class ModelPolicy:
    """Replies of a model.

    Only what is new since the last reply is read: the ids of a conversation are those of its first prompt, of what
    was generated, and of the observations. A reply that reaches `max_new_tokens` is taken as it is, and the stop id
    that it lacks is read before the next observation, so that the conversation keeps the form of training. A
    conversation whose observation or reply does not fit the engine's length has `context_exhausted`.

    Args:
      engine: with a tokenizer, whose text of a reply is the template's.
      template: turns to ids and back, the same as in training.
      max_new_tokens: longest reply, stop id included.
      sampling: how replies are drawn; greedy if None. Each reply draws with a seed of its own.
      choose_actions: where the environment lists its actions, a reply's Thought is free and its Action is the most
        likely of the list.
      vocab_size: ids from here on have no text (rows that pad the embedding) and are left out.
      capacity: episodes at once; as many as the engine has slots if None. With more, those that wait for their
        environments give up their slots.
      name: what results are listed under.
    """

    def __init__(
        self,
        engine: Engine,
        template: ChatTemplate,
        *,
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        choose_actions: bool = False,
        vocab_size: int | None = None,
        capacity: int | None = None,
        name: str = "model",
    ) -> None:
        if max_new_tokens < 1:
            raise AgentBankError(f"ModelPolicy: max_new_tokens={max_new_tokens}; expected at least 1.")
        self.name = name
        self.capacity = capacity or engine.slots
        self.wants = Wants(valid_actions=choose_actions)
        self._engine = engine
        self._template = template
        self._sampling = replace(sampling or SamplingParams(), max_new_tokens=max_new_tokens)
        self._choose_actions = choose_actions
        self._vocab_size = engine.config.vocab_size if vocab_size is None else vocab_size
        self._episodes: dict[str, _Episode] = {}
        self._ended_early: list[tuple[str, Reply]] = []

    def submit(self, request: Request) -> None:
        episode = self._episodes.get(request.conversation)
        if episode is None:
            if len(self._episodes) >= self.capacity:
                raise AgentBankError(
                    f"ModelPolicy: more than {self.capacity} episodes at once; release one, or raise capacity."
                )
            episode = self._episodes[request.conversation] = _Episode(ids=self._template.prompt_ids(request.turns))
        else:
            episode.ids = continued_ids(self._template, episode.ids, request.turns[-1].content)
        # One more place than the prompt takes: a reply of no token is no reply.
        if len(episode.ids) >= self._engine.max_length:
            self._ended_early.append((request.conversation, Reply(text="", ended="context_exhausted")))
            return
        actions = request.valid_actions if self._choose_actions and request.purpose == "act" else None
        episode.actions, episode.thought, episode.tokens = actions or (), "", 0
        episode.prompt_tokens = len(episode.ids)
        seed = request.draw(self._sampling.seed, 7)
        stop = self._sampling.stop
        if actions:
            answers = any(action.startswith(FINAL_ANSWER_PREFIX) for action in actions)
            stop = (*stop, _ACTION, *([_ANSWER] if answers else []))
        self._ask(request.conversation, sampling=replace(self._sampling, seed=seed, stop=stop))

    def collect(self) -> list[tuple[str, Reply]]:
        replies, self._ended_early = self._ended_early, []
        if not replies and self._engine.busy:
            for delta in self._engine.step():
                if delta.generation is None:
                    continue
                reply = self._take(delta.request_id, delta.generation)
                if reply is not None:
                    replies.append((delta.request_id, reply))
        return replies

    def release(self, conversation: str) -> None:
        self._engine.cancel(conversation)
        self._engine.release(conversation)
        self._ended_early = [(one, reply) for one, reply in self._ended_early if one != conversation]
        self._episodes.pop(conversation, None)

    def _ask(
        self, identifier: str, *, sampling: SamplingParams | None = None, choices: tuple[tuple[int, ...], ...] = ()
    ) -> None:
        self._engine.submit(
            GenerationRequest(
                id=identifier,
                ids=self._episodes[identifier].ids,
                sampling=sampling or SamplingParams(),
                conversation=identifier,
                choices=choices,
            )
        )

    def _take(self, identifier: str, generation: Generation) -> Reply | None:
        """The reply that a generation ends; None where an action is yet to be chosen."""
        episode = self._episodes[identifier]
        episode.ids = [*episode.ids, *generation.ids]
        episode.tokens += len(generation.ids)
        text = self._template.decode([token for token in generation.ids if token < self._vocab_size])
        if generation.stopped_by in (_ACTION, _ANSWER):
            choices = self._choices(episode, text)
            if choices:
                episode.thought = text
                self._ask(identifier, choices=choices)
                return None
        if generation.choice is not None:
            text = f"{episode.thought}\n{_line(episode.actions[generation.choice])}"
        return Reply(
            text=text,
            tokens=episode.tokens,
            prompt_tokens=episode.prompt_tokens,
            ended="context_exhausted" if generation.finish == "context" else None,
        )

    def _choices(self, episode: _Episode, thought: str) -> tuple[tuple[int, ...], ...]:
        """Each action as it would follow a Thought; none where the longest would not fit."""
        stop = self._template.stop_ids[0]
        choices = [
            (*self._template.reply_ids(f"{thought}\n{_line(action)}", len(thought)), stop) for action in episode.actions
        ]
        fits = len(episode.ids) + max(map(len, choices)) <= self._engine.max_length
        return tuple(choices) if fits else ()


def _line(action: str) -> str:
    return action if action.startswith(FINAL_ANSWER_PREFIX) else f"Action: {action}"
