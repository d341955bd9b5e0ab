"""What the engine computes on the devices, each a compiled program; the cache is given away and comes back.

Shapes are static. Places without work write nothing: their slot lies past the last one, or their position past the
last. Attention reads a *span* of the cache, the shortest of a few that holds the conversations of the call; where the
span is the whole cache and the rows are all slots, nothing is copied.

Legend of shape letters: B slot, R row of a call, W chunk width, N new tokens, n alternatives of a token, S cache
position; the others as in `models.llama`.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from agentbank_jax.generation.sampling import Mode, Sampler, choose, log_probabilities
from agentbank_jax.models import forward
from agentbank_jax.models.kv_cache import KVCache, KVCacheView
from agentbank_jax.models.llama_config import LlamaConfig

NONE = -1
"""In place of an id: none."""


class Scores(NamedTuple):
    """Natural log-probabilities of tokens, and of the most likely ones in their places."""

    chosen: Float[Array, "..."] | Float[np.ndarray, "..."]
    top_ids: Int[Array, "... n"] | Int[np.ndarray, "... n"]
    top: Float[Array, "... n"] | Float[np.ndarray, "... n"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DecodeRows:
    """What is to be decoded.

    Fields:
      slots_R: the row's slot; of fewer rows than slots, one past the last slot is padding. As many rows as slots are
        all slots in order.
      tokens_R: the conversation's last token, which is not yet in the cache.
      positions_R: its position.
      limits_R: the most new tokens; 0 is no work.
      steps_R: tokens that the reply has already.
      stop_ids_RE: ids that end the row, filled up with `NONE`.
      leave_at: leave when so many rows have ended, so that others can have their places.
      sampler: how tokens are chosen.
    """

    slots_R: Int[np.ndarray, " R"]
    tokens_R: Int[np.ndarray, " R"]
    positions_R: Int[np.ndarray, " R"]
    limits_R: Int[np.ndarray, " R"]
    steps_R: Int[np.ndarray, " R"]
    stop_ids_RE: Int[np.ndarray, "R E"]
    leave_at: Int[np.ndarray, ""]
    sampler: Sampler


class Decoded(NamedTuple):
    """New ids (`NONE` behind the last), how many there are, whether a stop id is the last, and log-probabilities."""

    ids_RN: Int[Array, "R N"]
    counts_R: Int[Array, " R"]
    stopped_R: Bool[Array, " R"]
    scores: Scores | None


@partial(jax.jit, static_argnames=("config", "span", "top"), donate_argnames="cache")
def prefill(
    config: LlamaConfig,
    span: int,
    top: int | None,
    params: forward.Params,
    cache: KVCache,
    slots_R: Int[Array, " R"],
    tokens_RW: Int[Array, "R W"],
    positions_RW: Int[Array, "R W"],
    targets_RW: Int[Array, "R W"] | None = None,
) -> tuple[KVCache, Scores | None]:
    """Reads one chunk of some conversations into the cache; with `top`, scores the tokens that follow: `targets_RW`."""
    view = KVCacheView(cache, slots_R, span)
    hidden_RWD, written = forward.hidden(config, params, tokens_RW, positions_RW, cache=view)
    assert isinstance(written, KVCacheView)
    cache = written.cache
    if top is None or targets_RW is None:
        return cache, None
    return cache, Scores(*log_probabilities(forward.logits(config, params, hidden_RWD), targets_RW, top))


@partial(jax.jit, static_argnames=("config", "span"))
def score(
    config: LlamaConfig,
    span: int,
    params: forward.Params,
    cache: KVCache,
    slots_R: Int[Array, " R"],
    tokens_RW: Int[Array, "R W"],
    positions_RW: Int[Array, "R W"],
    targets_RW: Int[Array, "R W"],
) -> Float[Array, " R"]:
    """The log-probability of each row's targets as what follows a slot's conversation; the cache stays as it is.

    Several rows may follow the same slot. Targets behind a row's end are `NONE`.
    """
    rows = jax.tree.map(lambda stored: stored.at[slots_R, :, :span].get(mode="clip"), cache)
    hidden_RWD, _ = forward.hidden(config, params, tokens_RW, positions_RW, cache=rows)
    logits_RWV = forward.logits(config, params, hidden_RWD)
    chosen_RW, _, _ = log_probabilities(logits_RWV, jnp.maximum(targets_RW, 0), 0)
    return jnp.where(targets_RW == NONE, 0.0, chosen_RW).sum(axis=-1)


@partial(jax.jit, static_argnames=("config", "span", "chunk", "mode", "top"), donate_argnames="cache")
def decode(
    config: LlamaConfig,
    span: int,
    chunk: int,
    mode: Mode,
    top: int | None,
    params: forward.Params,
    cache: KVCache,
    batch: DecodeRows,
) -> tuple[KVCache, Decoded]:
    """Decodes every row until its stop id or its limit (at most N = chunk), with log-probabilities if `top` is set."""
    count = batch.slots_R.shape[0]
    everywhere = count == cache.k[0].shape[0]

    def take(stored):
        return stored[:, :, :span] if everywhere else stored.at[batch.slots_R, :, :span].get(mode="clip")

    def put(stored, new):
        place = stored.at[:, :, :span] if everywhere else stored.at[batch.slots_R, :, :span]
        return place.set(new, mode="drop")

    def unfinished(state):
        active_R, *_ = state
        ended = ((batch.limits_R > 0) & ~active_R).sum()
        return active_R.any() & (ended < batch.leave_at)

    def body(state):
        active_R, step, rows, tokens_R, decoded = state
        read_R = jnp.where(active_R, batch.positions_R + decoded.counts_R, span)
        hidden_R1D, rows = forward.hidden(config, params, tokens_R[:, None], read_R[:, None], cache=rows)
        logits_RV = forward.logits(config, params, hidden_R1D[:, 0])
        next_R = choose(mode, logits_RV, batch.sampler, batch.steps_R + decoded.counts_R)
        scores = decoded.scores
        if top is not None:
            found = log_probabilities(logits_RV, next_R, top)
            scores = Scores(*(kept.at[:, step].set(new) for kept, new in zip(scores, found, strict=True)))
        ids_RN = decoded.ids_RN.at[:, step].set(jnp.where(active_R, next_R, NONE))
        counts_R = decoded.counts_R + active_R
        stops_R = active_R & (next_R[:, None] == batch.stop_ids_RE).any(axis=-1)
        active_R = active_R & ~stops_R & (counts_R < batch.limits_R)
        decoded = Decoded(ids_RN, counts_R, decoded.stopped_R | stops_R, scores)
        return active_R, step + 1, rows, next_R, decoded

    scores = None
    if top is not None:
        alternatives = (count, chunk, top)
        scores = Scores(jnp.zeros((count, chunk)), jnp.zeros(alternatives, jnp.int32), jnp.zeros(alternatives))
    nothing = Decoded(
        jnp.full((count, chunk), NONE, jnp.int32), jnp.zeros(count, jnp.int32), jnp.zeros(count, bool), scores
    )
    start = (batch.limits_R > 0, jnp.int32(0), jax.tree.map(take, cache), batch.tokens_R, nothing)
    _, _, rows, _, decoded = jax.lax.while_loop(unfinished, body, start)
    return jax.tree.map(put, cache, rows), decoded


@partial(jax.jit, static_argnames="span", donate_argnames="cache")
def copy(span: int, cache: KVCache, source: Int[Array, ""], target: Int[Array, ""]) -> KVCache:
    """The first `span` positions of one slot in another, too."""
    return jax.tree.map(lambda stored: stored.at[target, :, :span].set(stored[source, :, :span]), cache)


@partial(jax.jit, static_argnames="span")
def take_out(span: int, cache: KVCache, slot: Int[Array, ""]) -> KVCache:
    """The first `span` positions of a slot, without the axis of slots."""
    return jax.tree.map(lambda stored: stored[slot, :, :span], cache)


@partial(jax.jit, donate_argnames="cache")
def put_back(cache: KVCache, slot: Int[Array, ""], taken: KVCache) -> KVCache:
    """What `take_out` gave, into a slot."""
    return jax.tree.map(lambda stored, new: stored.at[slot, :, : new.shape[1]].set(new), cache, taken)


def lengthen(length: int, cache: KVCache) -> KVCache:
    """The cache with room for longer conversations, one array after the other, so that there are not two of all."""
    return jax.tree.map(partial(_lengthen, length), cache)


@partial(jax.jit, static_argnums=0)
def _lengthen(length: int, stored: Float[Array, "B K S h"]) -> Float[Array, "B K S h"]:
    return jnp.pad(stored, ((0, 0), (0, 0), (0, length - stored.shape[2]), (0, 0)))
