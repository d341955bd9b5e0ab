"""The engine that agents act through: resident conversations, greedy decoding in a moving batch.

A conversation keeps its slot, and its keys and values, from its first prompt to its end. When
an observation arrives only its new tokens are read; no token is ever read twice, and the ids
of a conversation are those that were generated, never text tokenised again.

The last token of a conversation is *pending*: known, but not yet in the cache. Decoding begins
by reading it, so prefill never needs logits.

Replies of different lengths do not wait for each other: decoding advances all replies under way
by up to `chunk` tokens on the device (one `lax.while_loop`, one host synchronisation), and those
that ended make room at once.

Shapes are static: prefill works on `prefill_rows` conversations at a time in chunks of a few
widths, decoding on all slots or, where that suffices, on `few` of them. Places without work
write nothing to the cache. Attention reads a *span* of the cache: the shortest of 256, 512,
1024, … that holds the conversations of the call. Each such shape is a program of its own,
compiled when first needed.
Legend of shape letters: B slot, R row of a call, W chunk width, N new tokens, S cache position; the others as in
`models.llama`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.kv_cache import KVCache
from agentbank_jax.models.llama_config import LlamaConfig

_NONE = -1  # no pending token
_SHORTEST_SPAN = 256

Finish = Literal["stop", "length", "context"]


class EngineError(AgentBankError):
    """A use of the engine that its slots or its length do not allow."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What was generated for one conversation.

    Fields:
      ids: the new token ids, a final stop id included.
      finish: `stop` (a stop id came), `length` (max_new_tokens reached without one), or
        `context` (the conversation fills the engine's max_length).
    """

    ids: tuple[int, ...]
    finish: Finish


@dataclass(kw_only=True)
class _Reply:
    """A reply under way."""

    max_new_tokens: int
    ids: list[int] = field(default_factory=list)
    stopped: bool = False


class Engine:
    """Greedy generation for up to `slots` conversations that grow turn by turn.

    Example:

      engine = Engine(config, params, stop_ids=(2,), slots=32, max_length=1024)
      engine.extend({0: prompt_ids})
      engine.begin(0, max_new_tokens=80)
      while not (ended := engine.advance()):
          pass
      engine.extend({0: observation_ids})
      …
      engine.reset(0)

    Args:
      config: the model's shape.
      params: its parameters, on one device.
      stop_ids: ids that end a reply.
      slots: conversations that are resident at once.
      max_length: tokens of the longest conversation; `config.max_position_embeddings` if None.
      chunk: most tokens that `advance` adds to a reply.
      few: with so many replies under way or fewer, decoding works on `few` rows, not on all slots.
      prefill_rows: conversations in one prefill call.
      prefill_widths: tokens per conversation in one prefill call; the narrowest that suffices is
        taken. None of either: what suits the backend (on CPU larger calls are no faster, only padded
        more).
    """

    def __init__(
        self,
        config: LlamaConfig,
        params: forward.Params,
        *,
        stop_ids: Sequence[int],
        slots: int = 32,
        max_length: int | None = None,
        chunk: int = 12,
        few: int = 8,
        prefill_rows: int | None = None,
        prefill_widths: Sequence[int] | None = None,
    ) -> None:
        max_length = config.max_position_embeddings if max_length is None else max_length
        if slots < 1:
            raise EngineError(f"Engine: slots={slots}; expected at least 1.")
        if not 2 <= max_length <= config.max_position_embeddings:
            raise EngineError(
                f"Engine: max_length={max_length}; expected 2 to {config.max_position_embeddings}, "
                "the model's max_position_embeddings."
            )
        on_cpu = jax.default_backend() == "cpu"
        prefill_rows = prefill_rows or (4 if on_cpu else 16)
        prefill_widths = prefill_widths or ((32,) if on_cpu else (32, 256))
        if min(*prefill_widths, prefill_rows, chunk, few) < 1:
            raise EngineError(
                f"Engine: chunk={chunk}, few={few}, prefill_rows={prefill_rows}, prefill_widths={prefill_widths}; "
                "expected at least 1 of each."
            )
        self.config = config
        self.slots = slots
        self.max_length = max_length
        self.prefilled_tokens = 0
        self.generated_tokens = 0
        self._params = params
        self._stop_ids = np.asarray(stop_ids, np.int32)
        self._chunk = chunk
        self._few = min(few, slots)
        self._rows = min(prefill_rows, slots)
        self._widths = tuple(sorted(set(prefill_widths)))
        # Where the parameters are, from the first call on: another placement would compile again.
        (device,) = jax.tree.leaves(params)[0].devices()
        self._cache = jax.device_put(KVCache.empty(config, slots, max_length), device)
        self._cached = np.zeros(slots, np.int32)
        self._pending = np.full(slots, _NONE, np.int32)
        self._replies: dict[int, _Reply] = {}

    def length(self, slot: int) -> int:
        """Tokens of the conversation in `slot`."""
        self._check([slot])
        return int(self._cached[slot]) + int(self._pending[slot] != _NONE)

    def room(self, slot: int) -> int:
        """Tokens that the conversation in `slot` can still take, read or generated."""
        return self.max_length - self.length(slot)

    def reset(self, slot: int) -> None:
        """Forgets the conversation in `slot`. Nothing is cleared: what follows overwrites it."""
        self._check([slot])
        self._replies.pop(slot, None)
        self._cached[slot] = 0
        self._pending[slot] = _NONE

    def extend(self, additions: Mapping[int, Sequence[int]]) -> None:
        """Appends tokens to conversations: slot → ids, each at least one.

        Raises:
          EngineError: unknown slot, nothing to append, more than `room(slot)`, or a reply under way;
            then no conversation has changed.
        """
        self._check(additions)
        for slot, ids in additions.items():
            if slot in self._replies:
                raise EngineError(f"Engine.extend: slot {slot} has a reply under way; advance() until it has ended.")
            if not len(ids):
                raise EngineError(f"Engine.extend: no tokens for slot {slot}; expected at least one.")
            if len(ids) > self.room(slot):
                raise EngineError(
                    f"Engine.extend: {len(ids)} tokens for slot {slot}, which has room for {self.room(slot)} of "
                    f"{self.max_length}; ask room() first, or make max_length larger."
                )
        waiting: dict[int, np.ndarray] = {}
        for slot, ids in additions.items():
            pending = [] if self._pending[slot] == _NONE else [int(self._pending[slot])]
            queue = np.asarray([*pending, *ids], np.int32)
            self._pending[slot] = queue[-1]
            if len(queue) > 1:
                waiting[slot] = queue[:-1]
        # Conversations with about as much to read share a call, which keeps padding low.
        order = sorted(waiting, key=lambda slot: (-len(waiting[slot]), slot))
        for start in range(0, len(order), self._rows):
            self._prefill({slot: waiting[slot] for slot in order[start : start + self._rows]})

    def _prefill(self, queues: dict[int, np.ndarray]) -> None:
        slots = np.full(self._rows, self.slots, np.int32)  # a row past the last slot is dropped
        slots[: len(queues)] = list(queues)
        longest = max(map(len, queues.values()))
        start = 0
        while start < longest:
            fitting = [width for width in self._widths if width >= longest - start]
            width = fitting[0] if fitting else self._widths[-1]
            tokens_RW = np.zeros((self._rows, width), np.int32)
            positions_RW = np.full((self._rows, width), self.max_length, np.int32)
            for row, (slot, queue) in enumerate(queues.items()):
                chunk = queue[start : start + width]
                tokens_RW[row, : len(chunk)] = chunk
                positions_RW[row, : len(chunk)] = self._cached[slot] + np.arange(len(chunk), dtype=np.int32)
                self._cached[slot] += len(chunk)
                self.prefilled_tokens += len(chunk)
            span = self._span(max(int(self._cached[slot]) for slot in queues))
            self._cache = _prefill(self.config, span, self._params, self._cache, slots, tokens_RW, positions_RW)
            start += width

    def begin(self, slot: int, *, max_new_tokens: int) -> None:
        """Begins a reply: up to a stop id, `max_new_tokens`, or a full context; `advance` generates it.

        Raises:
          EngineError: unknown slot, a conversation without a token or with a reply under way, or a limit below 1.
        """
        self._check([slot])
        if max_new_tokens < 1:
            raise EngineError(f"Engine.begin: max_new_tokens={max_new_tokens}; expected at least 1.")
        if self._pending[slot] == _NONE:
            raise EngineError(f"Engine.begin: slot {slot} holds no conversation; extend it first.")
        if slot in self._replies:
            raise EngineError(f"Engine.begin: slot {slot} has a reply under way; advance() until it has ended.")
        self._replies[slot] = _Reply(max_new_tokens=max_new_tokens)

    def advance(self) -> dict[int, Generation]:
        """Adds up to `chunk` tokens to every reply under way, and returns those that ended, by slot.

        The new tokens, a stop id among them, become part of the conversation. A reply that
        ends without a stop id leaves the conversation as it is: whoever goes on with it
        appends the stop id with `extend`, so that it stays well-formed.
        """
        limits = {
            slot: min(self._chunk, reply.max_new_tokens - len(reply.ids), self.room(slot))
            for slot, reply in self._replies.items()
        }
        active = sorted(slot for slot, limit in limits.items() if limit > 0)
        if active:
            self._decode(active, limits)
        ended = {}
        for slot, reply in list(self._replies.items()):
            full = self.room(slot) == 0
            if reply.stopped or full or len(reply.ids) == reply.max_new_tokens:
                finish: Finish = (
                    "stop" if reply.stopped else "length" if len(reply.ids) == reply.max_new_tokens else "context"
                )
                ended[slot] = Generation(ids=tuple(reply.ids), finish=finish)
                del self._replies[slot]
        return ended

    def generate(self, slots: Sequence[int], *, max_new_tokens: int) -> list[Generation]:
        """Generates one reply in each slot, from beginning to end; no other reply may be under way.

        Raises:
          EngineError: as `begin`.
        """
        if self._replies:
            raise EngineError(f"Engine.generate: slots {sorted(self._replies)} have replies under way.")
        for slot in slots:
            self.begin(slot, max_new_tokens=max_new_tokens)
        ended: dict[int, Generation] = {}
        while self._replies:
            ended |= self.advance()
        return [ended[slot] for slot in slots]

    def _decode(self, active: list[int], limits: Mapping[int, int]) -> None:
        """Generates up to `limits[slot]` tokens for the active slots."""
        all_slots = len(active) > self._few
        rows = list(range(self.slots)) if all_slots else active
        slots_R = np.full(self.slots if all_slots else self._few, self.slots, np.int32)
        slots_R[: len(rows)] = rows
        tokens_R, positions_R, limits_R = np.zeros((3, len(slots_R)), np.int32)
        for row, slot in enumerate(rows):
            if limits.get(slot, 0) > 0:
                tokens_R[row], positions_R[row] = self._pending[slot], self._cached[slot]
                limits_R[row] = limits[slot]
        self._cache, out_RN, counts_R, stopped_R = _decode(
            self.config,
            self._span(max(int(self._cached[slot]) + limits[slot] for slot in active)),
            self._chunk,
            self._params,
            self._cache,
            slots_R,
            tokens_R,
            positions_R,
            limits_R,
            self._stop_ids,
        )
        out_RN, counts_R, stopped_R = jax.device_get((out_RN, counts_R, stopped_R))
        for row, slot in enumerate(rows):
            if count := int(counts_R[row]):
                reply = self._replies[slot]
                reply.ids += out_RN[row, :count].tolist()
                reply.stopped = bool(stopped_R[row])
                self._cached[slot] += count
                self._pending[slot] = reply.ids[-1]
                self.generated_tokens += count

    def _span(self, length: int) -> int:
        span = _SHORTEST_SPAN
        while span < length:
            span *= 2
        return min(span, self.max_length)

    def _check(self, slots: Sequence[int] | Mapping[int, Sequence[int]]) -> None:
        for slot in slots:
            if not 0 <= slot < self.slots:
                raise EngineError(f"Engine: slot {slot} does not exist; expected 0 to {self.slots - 1}.")


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _prefill(
    config: LlamaConfig,
    span: int,
    params: forward.Params,
    cache: KVCache,
    slots_R: Int[Array, "R"],
    tokens_RW: Int[Array, "R W"],
    positions_RW: Int[Array, "R W"],
) -> KVCache:
    """Reads one chunk of some conversations into the cache; positions ≥ S and slots ≥ B are padding."""
    rows = jax.tree.map(lambda stored: stored.at[slots_R, :, :span].get(mode="clip"), cache)
    _, rows = forward.hidden(config, params, tokens_RW, positions_RW, cache=rows)
    return jax.tree.map(lambda stored, new: stored.at[slots_R, :, :span].set(new, mode="drop"), cache, rows)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _decode(
    config: LlamaConfig,
    span: int,
    chunk: int,
    params: forward.Params,
    cache: KVCache,
    slots_R: Int[Array, "R"],
    tokens_R: Int[Array, "R"],
    positions_R: Int[Array, "R"],
    limits_R: Int[Array, "R"],
    stop_ids: Int[Array, "stops"],
) -> tuple[KVCache, Int[Array, "R N"], Int[Array, "R"], Bool[Array, "R"]]:
    """Decodes every row with a limit above 0 until its stop id or its limit (at most N = chunk).

    As many rows as slots are all slots in order; of fewer, a row past the last slot is padding.
    Returns the cache, the new ids, how many there are per row, and which rows ended with a stop id.
    """
    count = slots_R.shape[0]
    everywhere = count == cache.k[0].shape[0]

    def take(stored):
        return stored[:, :, :span] if everywhere else stored.at[slots_R, :, :span].get(mode="clip")

    def put(stored, new):
        place = stored.at[:, :, :span] if everywhere else stored.at[slots_R, :, :span]
        return place.set(new, mode="drop")

    def unfinished(state):
        return state[0].any()

    def body(state):
        active_R, step, rows, tokens_R, out_RN, counts_R, stopped_R = state
        read_R = jnp.where(active_R, positions_R + counts_R, span)
        hidden_R1D, rows = forward.hidden(config, params, tokens_R[:, None], read_R[:, None], cache=rows)
        logits_RV = forward.logits(config, params, hidden_R1D[:, 0])
        next_R = jnp.argmax(logits_RV, axis=-1).astype(jnp.int32)
        out_RN = out_RN.at[:, step].set(jnp.where(active_R, next_R, _NONE))
        counts_R = counts_R + active_R
        stops_R = active_R & (next_R[:, None] == stop_ids[None]).any(axis=-1)
        active_R = active_R & ~stops_R & (counts_R < limits_R)
        return active_R, step + 1, rows, next_R, out_RN, counts_R, stopped_R | stops_R

    start = (
        limits_R > 0,
        jnp.int32(0),
        jax.tree.map(take, cache),
        tokens_R,
        jnp.full((count, chunk), _NONE, jnp.int32),
        jnp.zeros(count, jnp.int32),
        jnp.zeros(count, bool),
    )
    _, _, rows, _, out_RN, counts_R, stopped_R = jax.lax.while_loop(unfinished, body, start)
    return jax.tree.map(put, cache, rows), out_RN, counts_R, stopped_R
