"""The model and its cache on the devices: fills slots, decodes them, copies and moves what they hold.

It knows slots, positions and ids, and leaves to the engine which conversation is where. Nothing waits for the devices
but what returns numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation import programs
from agentbank_jax.generation.programs import NONE, Decoded, DecodeRows, Scores
from agentbank_jax.generation.requests import SamplingParams
from agentbank_jax.generation.sampling import Sampler, mode_of
from agentbank_jax.models import forward
from agentbank_jax.models.kv_cache import KVCache
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.models.quantization import quantize
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules

_SHORTEST_SPAN = 256  # a power of two
# A place that no conversation reaches: what is "written" there is dropped.
_NOWHERE = np.iinfo(np.int32).max // 2


@dataclass(frozen=True, kw_only=True)
class RunnerSettings:
    """The shapes of the runner's programs; None takes what suits the platform.

    Fields:
      chunk: most tokens that one decoding call adds to a reply; there is one exchange with the host a call.
      decode_rows: numbers of rows of which a decoding call takes the smallest that suffices, beside all slots.
      prefill_rows: conversations in one prefill call.
      prefill_widths: tokens per conversation in one prefill call; the widest that would not be padded much is taken.

    Raises:
      AgentBankError: a value below 1.
    """

    chunk: int | None = None
    decode_rows: Sequence[int] = (1, 8)
    prefill_rows: int | None = None
    prefill_widths: Sequence[int] | None = None

    def __post_init__(self) -> None:
        given = [self.chunk, self.prefill_rows, *self.decode_rows, *(self.prefill_widths or ())]
        if any(value is not None and value < 1 for value in given):
            raise AgentBankError(f"{self}: expected at least 1 of each.")


@dataclass(frozen=True, kw_only=True)
class PrefillRow:
    """Tokens to read into a slot, from a position on, and the tokens that follow each of them."""

    slot: int
    start: int
    ids: Int[np.ndarray, " length"]
    targets: Int[np.ndarray, " length"]


@dataclass(frozen=True, kw_only=True)
class DecodeRow:
    """A reply to go on with: its slot, its last token and that token's position, and how it is chosen and ends."""

    slot: int
    token: int
    position: int
    limit: int
    step: int
    stop_ids: tuple[int, ...]
    sampling: SamplingParams


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """New tokens of a row of `ModelRunner.decode`; `scores` [tokens, …] where any row wants them."""

    ids: list[int]
    stopped: bool
    scores: Scores | None


class ModelRunner:
    """A model with a cache of `slots` conversations of up to `max_length` tokens.

    Memory for the cache grows with the longest conversation.

    Args:
      config: the model's shape.
      params: its parameters, on the devices of `mesh`, or on one.
      slots: conversations at once.
      max_length: tokens of the longest.
      settings: shapes of the programs.
      weights: "int8" quantises what is not yet (see `models.quantization`); "" leaves the parameters as they are.
      consume: whether `params` may be used up, so that there are not two of them; they are of no use then.
      mesh: over whose `tensor` axis the cache's heads lie, where they divide; None for one device.
      rules: how the parameters lie on it.

    Raises:
      AgentBankError: unknown `weights`, "int8" for a model with adapters, or a `config.cached_attention` that was asked
        for by name and does not run here.
    """

    def __init__(
        self,
        config: LlamaConfig,
        params: forward.Params,
        *,
        slots: int,
        max_length: int,
        settings: RunnerSettings | None = None,
        weights: str = "",
        consume: bool = False,
        mesh: Mesh | None = None,
        rules: ShardingRules = DEFAULT_RULES,
    ) -> None:
        if weights not in ("", "int8"):
            raise AgentBankError(f"weights={weights!r} is no known kind; expected 'int8', or '' for as they are.")
        if weights == "int8":
            params = quantize(params, consume=consume)
        self.slots, self.max_length = slots, max_length
        devices = sorted(jax.tree.leaves(params)[0].devices(), key=lambda device: device.id)
        self.platform = devices[0].platform
        self.config = forward.with_chosen_cached_attention(config, self.platform)
        settings, on_cpu = settings or RunnerSettings(), self.platform == "cpu"
        self._chunk = settings.chunk or (12 if on_cpu else 32)
        # All slots are a number of rows that always suffices.
        self._decode_rows = sorted({*(rows for rows in settings.decode_rows if rows < slots), slots})
        self._prefill_rows = min(settings.prefill_rows or (4 if on_cpu else 16), slots)
        self._widths = sorted(set(settings.prefill_widths or ((32, 128) if on_cpu else (32, 128, 256))))
        self._params, self._mesh, self._rules = forward.unstacked(params, consume=consume), mesh, rules
        self._cache = jax.device_put(KVCache.empty(config, slots, self._span(1)), self._placement(devices[0]))

    def _placement(self, device: jax.Device) -> jax.Device | NamedSharding:
        # Where the parameters are, from the first call on: another placement would compile again.
        if self._mesh is None:
            return device
        parts = self._rules.parts("kv_heads", dict(self._mesh.shape))
        heads = self._rules.spec(("kv_heads",))[0] if self.config.num_kv_heads % parts == 0 else None
        return NamedSharding(self._mesh, PartitionSpec(None, heads, None, None))

    @contextmanager
    def _on_mesh(self) -> Iterator[None]:
        if self._mesh is None:
            yield
        else:
            with jax.set_mesh(self._mesh), set_rules(self._rules):
                yield

    def prefill(self, rows: Sequence[PrefillRow], top: int | None = None) -> list[Scores | None]:
        """Reads tokens; with `top`, returns the scores of each row's targets [length], with so many alternatives.

        Conversations with about as much to read share a call, which keeps padding low.
        """
        scores: list[Scores | None] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index].ids))
        for start in range(0, len(order), self._prefill_rows):
            together = order[start : start + self._prefill_rows]
            found = self._prefill([rows[index] for index in together], top)
            for index, score in zip(together, found, strict=True):
                scores[index] = score
        return scores

    def _prefill(self, rows: Sequence[PrefillRow], top: int | None) -> list[Scores | None]:
        count = self._prefill_rows
        slots = np.full(count, self.slots, np.int32)
        slots[: len(rows)] = [row.slot for row in rows]
        longest = max(len(row.ids) for row in rows)
        pieces: list[Scores] = []
        start = 0
        while start < longest:
            width = self._width(longest - start)
            tokens, targets = np.zeros((2, count, width), np.int32)
            positions = np.full((count, width), _NOWHERE, np.int32)
            for place, row in enumerate(rows):
                ids = row.ids[start : start + width]
                tokens[place, : len(ids)] = ids
                positions[place, : len(ids)] = row.start + start + np.arange(len(ids), dtype=np.int32)
                targets[place, : len(ids)] = row.targets[start : start + width]
            span = self._reach(max(row.start + min(start + width, len(row.ids)) for row in rows))
            with self._on_mesh():
                self._cache, found = programs.prefill(
                    self.config, span, top, self._params, self._cache, slots, tokens, positions,
                    None if top is None else targets,
                )  # fmt: skip
            if found is not None:
                pieces.append(found)
            start += width
        if top is None:
            return [None] * len(rows)
        together = Scores(*(np.concatenate(parts, axis=1) for parts in zip(*jax.device_get(pieces), strict=True)))
        return [Scores(*(part[place, : len(row.ids)] for part in together)) for place, row in enumerate(rows)]

    def _width(self, remaining: int) -> int:
        # The widest of which at most a fifth would be padding.
        return max((width for width in self._widths if 4 * width <= 5 * remaining), default=self._widths[0])

    def decode(self, rows: Sequence[DecodeRow], *, top: int | None = None) -> list[Continuation]:
        """Adds up to `chunk` tokens to each reply; returns when some have ended, so that others get their places."""
        chunk = self._chunk
        count = next(count for count in self._decode_rows if len(rows) <= count)
        # As many rows as slots are all of them in order; of fewer, one past the last slot is padding.
        places = [row.slot for row in rows] if count == self.slots else range(len(rows))
        slots = np.arange(self.slots, dtype=np.int32) if count == self.slots else np.full(count, self.slots, np.int32)
        tokens, positions, limits, steps = np.zeros((4, count), np.int32)
        widest = max((len(row.stop_ids) for row in rows), default=0)
        stop_ids = np.full((count, max(1, -(-widest // 4) * 4)), NONE, np.int32)
        sampling: list[SamplingParams | None] = [None] * count
        for place, row in zip(places, rows, strict=True):
            slots[place] = row.slot
            tokens[place], positions[place], steps[place] = row.token, row.position, row.step
            limits[place] = min(row.limit, chunk)
            stop_ids[place, : len(row.stop_ids)] = row.stop_ids
            sampling[place] = row.sampling
        batch = DecodeRows(
            slots,
            tokens,
            positions,
            limits,
            steps,
            stop_ids,
            np.array(max(1, len(rows) // 8), np.int32),
            Sampler.of(sampling),
        )
        span = self._reach(max(row.position + min(row.limit, chunk) for row in rows))
        mode = mode_of([row.sampling for row in rows])
        with self._on_mesh():
            self._cache, decoded = programs.decode(
                self.config, span, chunk, mode, top, self._params, self._cache, batch
            )
        decoded = Decoded(*jax.device_get(decoded))
        return [_continuation(decoded, place) for place in places]

    def score(self, slot: int, position: int, replies: Sequence[Sequence[int]]) -> Float[np.ndarray, " replies"]:
        """The log-probability of each of some replies as what follows a slot's conversation.

        Args:
          slot: of the conversation.
          position: of its last token, which stands first in each reply and is not yet in the cache.
          replies: that token and what may follow.
        """
        count = self._prefill_rows
        longest = max(map(len, replies)) - 1
        width = 8
        while width < longest:
            width *= 2
        span = self._reach(position + longest)
        found = []
        for start in range(0, len(replies), count):
            tokens = np.zeros((count, width), np.int32)
            targets = np.full((count, width), NONE, np.int32)
            positions = np.full((count, width), _NOWHERE, np.int32)
            for place, ids in enumerate(replies[start : start + count]):
                length = len(ids) - 1
                tokens[place, :length], targets[place, :length] = ids[:-1], ids[1:]
                positions[place, :length] = position + np.arange(length, dtype=np.int32)
            slots = np.full(count, slot, np.int32)
            with self._on_mesh():
                found.append(
                    programs.score(self.config, span, self._params, self._cache, slots, tokens, positions, targets)
                )
        return np.concatenate(jax.device_get(found))[: len(replies)]

    def copy(self, source: int, target: int, length: int) -> None:
        """Gives one slot the first `length` tokens of another."""
        with self._on_mesh():
            self._cache = programs.copy(self._reach(length), self._cache, np.int32(source), np.int32(target))

    def take_out(self, slot: int, length: int) -> KVCache:
        """What a slot holds of its first `length` tokens, as arrays of the host."""
        with self._on_mesh():
            return jax.device_get(programs.take_out(self._reach(length), self._cache, np.int32(slot)))

    def put_back(self, slot: int, taken: KVCache) -> None:
        """Puts what `take_out` gave into a slot."""
        with self._on_mesh():
            self._cache = programs.put_back(self._cache, np.int32(slot), jax.tree.map(jnp.asarray, taken))

    def _span(self, length: int) -> int:
        span = _SHORTEST_SPAN
        while span < length:
            # 256, 384, 512, 768, 1024, …: at most a third of what is read lies behind the longest conversation.
            span = span * 3 // 2 if span.bit_count() == 1 else span * 4 // 3
        return min(span, self.max_length)

    def _reach(self, length: int) -> int:
        """The span that holds so many tokens, for which there is room from now on."""
        span = self._span(length)
        if span > self._cache.length:
            with self._on_mesh():
                self._cache = programs.lengthen(span, self._cache)
        return span


def _continuation(decoded: Decoded, place: int) -> Continuation:
    count = int(decoded.counts_R[place])
    return Continuation(
        ids=decoded.ids_RN[place, :count].tolist(),
        stopped=bool(decoded.stopped_R[place]),
        scores=None if decoded.scores is None else Scores(*(part[place, :count] for part in decoded.scores)),
    )
