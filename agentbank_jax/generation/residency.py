"""Gives conversations their slots of the cache, with as much of them as was read before."""

from collections.abc import Collection, Container

import numpy as np
from jaxtyping import Int

from agentbank_jax.generation.model_runner import ModelRunner
from agentbank_jax.generation.places import HostStore, Place, Places, Taken, equal_beginnings
from agentbank_jax.generation.requests import EngineStats, GenerationRequest

# Shared beginnings below this are read again: to copy them costs as much.
_LEAST_SHARED = 8


class Residency:
    """Which conversations are on the devices, and what those that had to make room left with the host.

    Args:
      runner: whose cache it is.
      host_cache_bytes: memory of the host for those that had to make room.
      stats: where evictions and returns are counted.

    Fields:
      places: the slots.
      host_bytes: memory of the host that is in use.
    """

    def __init__(self, runner: ModelRunner, *, host_cache_bytes: int, stats: EngineStats) -> None:
        self.places = Places(runner.slots, runner.max_length)
        self._runner, self._stats = runner, stats
        self._host = HostStore(host_cache_bytes)

    @property
    def host_bytes(self) -> int:
        return self._host.nbytes

    def release(self, conversation: str) -> None:
        """Lets go of a conversation; an unknown one is no error."""
        self._host.pop(conversation)
        place = self.places.named(conversation)
        if place is not None:
            self.places.forget_name(place)

    def take_in(
        self, request: GenerationRequest, ids: Int[np.ndarray, " length"], expected: Container[str]
    ) -> Place | None:
        """Gives a request's conversation its place, with what of it is read in `cached`.

        Where its beginning is still being read in another place, that is the place's `source`.

        Args:
          request: the reply that is wanted.
          ids: its conversation.
          expected: conversations that keep their places because their next request is there already.

        Returns:
          The place; None where there is none.
        """
        # Of what was read before no scores were kept.
        anew = request.sampling.prompt_logprobs is not None
        place = self.places.named(request.conversation)
        if place is not None:
            return self._occupy(
                place, request, ids, 0 if anew else _shared(self.places.ids(place, 0, place.cached), ids)
            )
        victim = self.places.victim(expected)
        if victim is None:
            return None
        taken = self._host.pop(request.conversation)
        if taken is not None:
            self._make_room(victim)
            if anew:
                return self._occupy(victim, request, ids, 0)
            self._runner.put_back(victim.slot, taken.cache)
            self._stats.swapped_in += 1
            return self._occupy(victim, request, ids, _shared(taken.ids, ids))
        return self._take_in_new(victim, request, ids, anew)

    def _take_in_new(self, victim: Place, request: GenerationRequest, ids: np.ndarray, anew: bool) -> Place:
        beginnings = np.minimum(self.places.shared_beginnings(ids), 0 if anew else len(ids) - 1)
        best = self.places.all[int(beginnings.argmax())]
        shared = int(beginnings[best.slot])
        if best is victim or (best.idle and not best.conversation and shared == best.cached):
            self._make_room(best)
            return self._occupy(best, request, ids, shared)
        self._make_room(victim)
        if shared < _LEAST_SHARED:
            return self._occupy(victim, request, ids, 0)
        if shared <= best.cached:
            self._runner.copy(best.slot, victim.slot, shared)
            return self._occupy(victim, request, ids, shared)
        self._occupy(victim, request, ids, 0)
        victim.source, victim.shared = best, shared
        return victim

    def _occupy(self, place: Place, request: GenerationRequest, ids: np.ndarray, cached: int) -> Place:
        self.places.occupy(place, ids, cached=min(cached, len(ids) - 1), conversation=request.conversation)
        return place

    def _make_room(self, place: Place) -> None:
        """Lets go of a place; a conversation that somebody will go on with moves to the host."""
        if place.conversation and place.cached:
            cache = self._runner.take_out(place.slot, place.cached)
            taken = Taken(ids=self.places.ids(place, stop=place.cached).copy(), cache=cache)
            self._host.put(place.conversation, taken)
            self._stats.evictions += 1
        self.places.forget_name(place)

    def settle_followers(self, places: Collection[Place]) -> list[Place]:
        """Copies to places that wait for a beginning what is read of it, where all is that will be; returns them."""
        settled: list[Place] = []
        # One that gets its beginning may be the source of another.
        while ready := [
            place for place in places if place.source and (place.source.cached >= place.shared or place.source.idle)
        ]:
            for place in ready:
                assert place.source is not None
                place.cached = min(place.shared, place.source.cached)
                if place.cached:
                    self._runner.copy(place.source.slot, place.slot, place.cached)
                place.source = None
            settled += ready
        return settled


def _shared(cached: np.ndarray, ids: np.ndarray) -> int:
    """How many of the tokens that are read a conversation begins with."""
    return int(equal_beginnings(cached[None], ids)[0])
