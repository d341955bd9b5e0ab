"""The engine that agents act through: resident conversations, batched greedy decoding.

A conversation keeps its slot, and its keys and values, from its first prompt to its end. When
an observation arrives only its new tokens are read; no token is ever read twice, and the ids
of a conversation are those that were generated, never text tokenised again.

The last token of a conversation is *pending*: known, but not yet in the cache. Decoding begins
by reading it, so prefill never needs logits.

Shapes are static: prefill works on `prefill_rows` conversations at a time in chunks of a few
widths, decoding on all slots in one `lax.while_loop` on the device, with one host
synchronisation per batch of replies. Places without work write nothing to the cache. Attention
reads a *span* of the cache: the shortest of 256, 512, 1024, … that holds the conversations of
the call, each a program of its own, compiled when first needed.
Legend of shape letters: B slot, R row of a prefill, W chunk width, N new tokens, S cache
position; the others as in `models.llama`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.slot_cache import SlotCache
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig

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


class Engine:
    """Greedy generation for up to `slots` conversations that grow turn by turn.

    Example:

      engine = Engine(config, params, slots=32, max_length=1024)
      engine.extend({0: prompt_ids})
      (reply,) = engine.generate([0], max_new_tokens=80, stop_ids=(2,))
      engine.extend({0: observation_ids})
      …
      engine.reset(0)

    Args:
      config: the model's shape.
      params: its parameters.
      slots: conversations that are resident at once.
      max_length: tokens of the longest conversation; `config.max_position_embeddings` if None.
      prefill_rows: conversations in one prefill call.
      prefill_widths: tokens per conversation in one prefill call; the narrowest that suffices is
        taken. None: what suits the backend (on CPU wider chunks are no faster, only padded more).
    """

    def __init__(
        self,
        config: LlamaConfig,
        params: forward.Params,
        *,
        slots: int = 32,
        max_length: int | None = None,
        prefill_rows: int = 8,
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
        if prefill_widths is None:
            prefill_widths = (32,) if jax.default_backend() == "cpu" else (32, 256)
        if not prefill_widths or min(prefill_widths) < 1 or prefill_rows < 1:
            raise EngineError(f"Engine: prefill_rows={prefill_rows}, prefill_widths={prefill_widths}; expected ≥ 1.")
        # The cache has one array per layer, so the layers run unrolled; parameters are the same either way.
        self.config = config = dataclasses.replace(config, scan_layers=False)
        self.slots = slots
        self.max_length = max_length
        self.prefilled_tokens = 0
        self.generated_tokens = 0
        self._params = params
        self._rows = min(prefill_rows, slots)
        self._widths = tuple(sorted(set(prefill_widths)))
        # Where the parameters are, from the first call on: another placement would compile again.
        (device,) = jax.tree.leaves(params)[0].devices()
        self._cache = jax.device_put(SlotCache.empty(config, slots, max_length), device)
        self._cached = np.zeros(slots, np.int32)
        self._pending = np.full(slots, _NONE, np.int32)

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
        self._cached[slot] = 0
        self._pending[slot] = _NONE

    def extend(self, additions: Mapping[int, Sequence[int]]) -> None:
        """Appends tokens to conversations: slot → ids, each at least one.

        Raises:
          EngineError: unknown slot, nothing to append, or more than `room(slot)`; then no
            conversation has changed.
        """
        self._check(additions)
        for slot, ids in additions.items():
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

    def generate(self, slots: Sequence[int], *, max_new_tokens: int, stop_ids: Sequence[int]) -> list[Generation]:
        """Generates greedily for each slot until a stop id, `max_new_tokens`, or a full context.

        The new tokens, a stop id among them, become part of the conversation. A reply that
        ends without a stop id leaves the conversation as it is: whoever goes on with it
        appends the stop id with `extend`, so that it stays well-formed.

        Raises:
          EngineError: unknown slot, a conversation without a token, or a limit below 1.
        """
        self._check(slots)
        if max_new_tokens < 1:
            raise EngineError(f"Engine.generate: max_new_tokens={max_new_tokens}; expected at least 1.")
        empty = [slot for slot in slots if self._pending[slot] == _NONE]
        if empty:
            raise EngineError(f"Engine.generate: slot {empty[0]} holds no conversation; extend it first.")
        if not slots:
            return []
        limits_B = np.zeros(self.slots, np.int32)
        for slot in slots:
            limits_B[slot] = min(max_new_tokens, self.room(slot))
        self._cache, out_BN, counts_B, stopped_B = _decode(
            self.config,
            max_new_tokens,
            self._span(max(int(self._cached[slot] + limits_B[slot]) for slot in slots)),
            self._params,
            self._cache,
            np.maximum(self._pending, 0),
            self._cached.copy(),
            limits_B,
            np.asarray(stop_ids, np.int32),
        )
        out_BN, counts_B, stopped_B = jax.device_get((out_BN, counts_B, stopped_B))
        generations = []
        for slot in slots:
            count = int(counts_B[slot])
            ids = tuple(out_BN[slot, :count].tolist())
            if count:
                self._cached[slot] += count
                self._pending[slot] = ids[-1]
            self.generated_tokens += count
            finish: Finish = "stop" if stopped_B[slot] else "length" if count == max_new_tokens else "context"
            generations.append(Generation(ids=ids, finish=finish))
        return generations

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
    cache: SlotCache,
    slots_R: Int[Array, "R"],
    tokens_RW: Int[Array, "R W"],
    positions_RW: Int[Array, "R W"],
) -> SlotCache:
    """Reads one chunk of some conversations into the cache; positions ≥ S and slots ≥ B are padding."""
    rows = jax.tree.map(lambda stored: stored.at[slots_R, :, :span].get(mode="clip"), cache)
    _, rows = forward.hidden(config, params, tokens_RW, positions_RW, cache=rows)
    return jax.tree.map(lambda stored, new: stored.at[slots_R, :, :span].set(new, mode="drop"), cache, rows)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _decode(
    config: LlamaConfig,
    max_new_tokens: int,
    span: int,
    params: forward.Params,
    cache: SlotCache,
    tokens_B: Int[Array, "B"],
    positions_B: Int[Array, "B"],
    limits_B: Int[Array, "B"],
    stop_ids: Int[Array, "stops"],
) -> tuple[SlotCache, Int[Array, "B N"], Int[Array, "B"], Bool[Array, "B"]]:
    """Decodes every slot with a limit above 0 until its stop id or its limit.

    Returns the cache, the new ids, how many there are per slot, and which ended with a stop id.
    """
    slots = tokens_B.shape[0]
    whole, cache = cache, jax.tree.map(lambda stored: stored[:, :, :span], cache)

    def unfinished(state):
        return state[0].any()

    def body(state):
        active_B, step, cache, tokens_B, out_BN, counts_B, stopped_B = state
        read_B = jnp.where(active_B, positions_B + counts_B, cache.length)
        hidden_B1D, cache = forward.hidden(config, params, tokens_B[:, None], read_B[:, None], cache=cache)
        logits_BV = forward.logits(config, params, hidden_B1D[:, 0])
        next_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
        out_BN = out_BN.at[:, step].set(jnp.where(active_B, next_B, _NONE))
        counts_B = counts_B + active_B
        stops_B = active_B & (next_B[:, None] == stop_ids[None]).any(axis=-1)
        active_B = active_B & ~stops_B & (counts_B < limits_B)
        return active_B, step + 1, cache, next_B, out_BN, counts_B, stopped_B | stops_B

    start = (
        limits_B > 0,
        jnp.int32(0),
        cache,
        tokens_B,
        jnp.full((slots, max_new_tokens), _NONE, jnp.int32),
        jnp.zeros(slots, jnp.int32),
        jnp.zeros(slots, bool),
    )
    _, _, cache, _, out_BN, counts_B, stopped_B = jax.lax.while_loop(unfinished, body, start)
    cache = jax.tree.map(lambda stored, new: stored.at[:, :, :span].set(new), whole, cache)
    return cache, out_BN, counts_B, stopped_B
