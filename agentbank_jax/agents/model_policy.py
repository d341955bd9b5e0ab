"""A model as a policy: conversations stay resident in the engine from turn to turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentbank_jax.agents.policy import Reply, Request
from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Engine
from agentbank_jax.trajectories.schema import Turn


class ChatTemplate(Protocol):
    """What acting needs of a template of `trajectories.templates`."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a reply."""

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of a conversation that ends with a user turn."""

    def continuation_ids(self, content: str) -> list[int]:
        """Ids of a further user turn, after a reply's stop id."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a reply."""


@dataclass(kw_only=True)
class _Resident:
    slot: int
    stopped: bool = True  # whether the last reply ended with a stop id


class ModelPolicy:
    """Greedy replies of a model.

    Only what is new since the last reply is read: the ids of a conversation are those of its
    first prompt, of what was generated, and of the observations. A reply that reaches
    `max_new_tokens` is taken as it is, and the stop id that it lacks is read before the next
    observation, so that the conversation keeps the form of training. A conversation whose
    observation or reply does not fit the engine's length has `context_exhausted`.

    Args:
      engine: its slots are the policy's capacity.
      template: turns to ids and back, the same as in training.
      max_new_tokens: longest reply, stop id included.
      vocab_size: ids from here on have no text (rows that pad the embedding) and are left out.
      name: what results are listed under.
    """

    def __init__(
        self,
        engine: Engine,
        template: ChatTemplate,
        *,
        max_new_tokens: int,
        vocab_size: int | None = None,
        name: str = "model",
    ) -> None:
        if max_new_tokens < 1:
            raise AgentBankError(f"ModelPolicy: max_new_tokens={max_new_tokens}; expected at least 1.")
        self.name = name
        self._engine = engine
        self._template = template
        self._max_new_tokens = max_new_tokens
        self._vocab_size = engine.config.vocab_size if vocab_size is None else vocab_size
        self._residents: dict[str, _Resident] = {}
        self._waiting: list[Request] = []
        self._under_way: dict[int, str] = {}
        self._free = list(range(engine.slots - 1, -1, -1))

    @property
    def capacity(self) -> int:
        return self._engine.slots

    def submit(self, request: Request) -> None:
        self._waiting.append(request)

    def collect(self) -> list[tuple[str, Reply]]:
        replies = self._take_in()
        while not replies and self._under_way:
            for slot, generation in self._engine.advance().items():
                episode_id = self._under_way.pop(slot)
                self._residents[episode_id].stopped = generation.finish == "stop"
                reply = Reply(
                    text=self._template.decode([token for token in generation.ids if token < self._vocab_size]),
                    tokens=len(generation.ids),
                    ended="context_exhausted" if generation.finish == "context" else None,
                )
                replies.append((episode_id, reply))
        return replies

    def _take_in(self) -> list[tuple[str, Reply]]:
        """Reads what is new in the waiting conversations and begins their replies; returns those that do not fit."""
        additions: dict[int, list[int]] = {}
        exhausted = []
        for request in self._waiting:
            resident, ids = self._admit(request)
            # One more place than the prompt takes: a reply of no token is no reply.
            if len(ids) < self._engine.room(resident.slot):
                additions[resident.slot] = ids
                self._under_way[resident.slot] = request.episode_id
            else:
                exhausted.append((request.episode_id, Reply(text="", ended="context_exhausted")))
        self._waiting.clear()
        self._engine.extend(additions)
        for slot in additions:
            self._engine.begin(slot, max_new_tokens=self._max_new_tokens)
        return exhausted

    def _admit(self, request: Request) -> tuple[_Resident, list[int]]:
        """The conversation's place, and the ids that are not yet in it."""
        resident = self._residents.get(request.episode_id)
        if resident is None:
            if not self._free:
                raise AgentBankError(
                    f"ModelPolicy: more than {self._engine.slots} episodes at once; release one, or give the engine "
                    "more slots."
                )
            resident = self._residents[request.episode_id] = _Resident(slot=self._free.pop())
            self._engine.reset(resident.slot)
            return resident, self._template.prompt_ids(request.turns)
        ids = self._template.continuation_ids(request.turns[-1].content)
        return resident, ids if resident.stopped else [self._template.stop_ids[0], *ids]

    def release(self, episode_id: str) -> None:
        self._waiting = [request for request in self._waiting if request.episode_id != episode_id]
        resident = self._residents.pop(episode_id, None)
        if resident is not None:
            self._engine.reset(resident.slot)
            self._under_way.pop(resident.slot, None)
            self._free.append(resident.slot)
