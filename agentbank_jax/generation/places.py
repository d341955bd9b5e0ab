"""Which conversation is in which slot of the cache, and where the beginning of a new one has been read before."""

from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from agentbank_jax.generation.reply import Reply
from agentbank_jax.models.kv_cache import KVCache


@dataclass(kw_only=True)
class Place:
    """A slot of the cache and what it holds.

    Fields:
      slot: its number.
      length: tokens of its conversation that are known (see `Places.ids`).
      cached: how many of them are in the cache.
      conversation: the name under which somebody will go on with it; empty where nobody will.
      reply: the reply under way; None where it is idle.
      source: a place whose first `shared` tokens are to be copied as soon as they are read there.
      used: when it was last used; larger is later.
    """

    slot: int
    length: int = 0
    cached: int = 0
    conversation: str = ""
    reply: Reply | None = None
    source: "Place | None" = None
    shared: int = 0
    used: int = 0

    @property
    def idle(self) -> bool:
        return self.reply is None

    @property
    def unread(self) -> int:
        """Tokens still to be read before the reply: all but the last, which decoding begins with."""
        return max(0, self.length - 1 - self.cached)


class Places:
    """The slots, with the ids that each holds."""

    def __init__(self, slots: int, max_length: int) -> None:
        self.all = [Place(slot=slot) for slot in range(slots)]
        self._tokens = np.zeros((slots, max_length), np.int32)
        self._named: dict[str, Place] = {}
        self._clock = 0

    def ids(self, place: Place, start: int = 0, stop: int | None = None) -> Int[np.ndarray, " length"]:
        """Tokens of a place's conversation."""
        return self._tokens[place.slot, start : place.length if stop is None else stop]

    def named(self, conversation: str) -> Place | None:
        """The place of a conversation, if it has one."""
        return self._named.get(conversation) if conversation else None

    def occupy(self, place: Place, ids: Sequence[int] | np.ndarray, *, cached: int, conversation: str) -> None:
        """Gives a place to a conversation of which the first `cached` tokens are in its cache already."""
        self.forget_name(place)
        place.conversation = conversation
        if conversation:
            self._named[conversation] = place
        self._tokens[place.slot, : len(ids)] = ids
        place.length, place.cached = len(ids), cached
        self.touch(place)

    def append(self, place: Place, ids: Sequence[int]) -> None:
        """Adds tokens to a place's conversation."""
        self._tokens[place.slot, place.length : place.length + len(ids)] = ids
        place.length += len(ids)

    def forget_name(self, place: Place) -> None:
        """Lets go of a conversation; its tokens stay for others that begin alike until the place is taken."""
        self._named.pop(place.conversation, None)
        place.conversation = ""

    def touch(self, place: Place) -> None:
        """Notes that a place is in use."""
        self._clock += 1
        place.used = self._clock

    def shared_beginnings(self, ids: Int[np.ndarray, " length"]) -> Int[np.ndarray, " slots"]:
        """How many of some ids each place begins with, read or about to be read.

        The last token of a conversation is in no cache.
        """
        # A reply under way will have all of its prompt read; an idle place has what it has.
        readable = [max(place.cached, 0 if place.idle else place.length - 1) for place in self.all]
        return np.minimum(equal_beginnings(self._tokens, ids), readable)

    def victim(self, expected: Container[str]) -> Place | None:
        """The idle place that is missed least: one that nobody will go on with, or else the one used longest ago.

        Never one of the `expected` conversations, whose next request is there already.
        """
        idle = [
            place for place in self.all if place.idle and not (place.conversation and place.conversation in expected)
        ]
        return min(idle, key=lambda place: (bool(place.conversation), place.used), default=None)


def equal_beginnings(rows: Int[np.ndarray, "rows length"], ids: Int[np.ndarray, " ids"]) -> Int[np.ndarray, " rows"]:
    """How many tokens each of some conversations begins with as another one does."""
    length = min(rows.shape[1], len(ids))
    # Behind what both have they differ.
    differs = np.pad(rows[:, :length] != ids[:length], ((0, 0), (0, 1)), constant_values=True)
    return differs.argmax(axis=1)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was read of a conversation that left the devices: ids, and their cache."""

    ids: Int[np.ndarray, " length"]
    cache: KVCache

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for layers in (self.cache.k, self.cache.v) for array in layers)


class HostStore:
    """Caches of conversations that wait outside the devices, the ones used longest ago given up first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._taken: OrderedDict[str, Taken] = OrderedDict()
        self.nbytes = 0

    def put(self, conversation: str, taken: Taken) -> None:
        """Keeps a conversation, and gives up others where there is no room for all."""
        self.pop(conversation)
        self._taken[conversation] = taken
        self.nbytes += taken.nbytes
        while self.nbytes > self._max_bytes:
            self.pop(next(iter(self._taken)))

    def pop(self, conversation: str) -> Taken | None:
        """Gives a conversation back, if it is kept."""
        taken = self._taken.pop(conversation, None)
        if taken is not None:
            self.nbytes -= taken.nbytes
        return taken
