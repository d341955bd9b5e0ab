"""The engine that agents act through: conversations that stay, in a batch that never waits for its slowest.

A request brings a whole conversation; what of it has been read before is not read again: a conversation keeps its
slot of the cache until it is released, an instruction that several begin with is read once and copied, and one that
had to make room comes back from the host's memory. The ids of a conversation are those that were generated.

The last token of a conversation is *pending*: known, but not yet in the cache. Decoding begins by reading it, so that
prefill needs no logits. Slots and not pages hold the cache: a page table would make each step gather what it reads,
and what slots cost, a copy of a shared beginning, costs far less than reading it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jax.sharding import Mesh

from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.detokenizer import TextDecoder
from agentbank_jax.generation.model_runner import DecodeRow, ModelRunner, PrefillRow, RunnerSettings
from agentbank_jax.generation.places import Place
from agentbank_jax.generation.reply import Reply
from agentbank_jax.generation.requests import (
    MAX_TOP_LOGPROBS,
    Delta,
    EngineLoad,
    EngineStats,
    GenerationRequest,
    RequestError,
)
from agentbank_jax.generation.residency import Residency
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules


class EngineError(AgentBankError):
    """Settings that an engine cannot have."""


class Engine:
    """Generates replies for conversations that grow turn by turn.

    Example:

      engine = Engine(config, params, stop_ids=(2,), slots=32)
      engine.submit(GenerationRequest(id="1", ids=prompt_ids, conversation="episode 1"))
      while engine.busy:
          for delta in engine.step():
              …
      engine.release("episode 1")

    A reply depends on its request alone, not on what else is under way. It is not for several threads.

    Args:
      config: the model's shape.
      params: its parameters, on one device or over `mesh`.
      stop_ids: ids that end a reply.
      tokenizer: for stop strings and text; None where ids are enough.
      slots: conversations on the devices at once; any number may wait or be known beside them.
      max_length: tokens of the longest conversation; `config.max_position_embeddings` if None.
      prefill_budget: how many tokens are read in a step before replies under way go on; None takes what suits
        the platform.
      host_cache_bytes: memory of the host for caches of conversations that had to make room.
      settings: shapes of the compiled programs; None takes what suits the platform.
      weights: "int8" keeps the kernels in int8 (see `models.quantization`), "" as they are.
      consume: whether `params` may be used up, where there is no room for two of them: the engine keeps them layer by
        layer, or in int8.
      mesh: over which the parameters lie; None for one device.
      rules: how they lie.

    Fields:
      stats: what was done so far.

    Raises:
      EngineError: no slot, or a length that the model does not have.
      AgentBankError: unknown `weights`, or "int8" for a model with adapters.
    """

    def __init__(
        self,
        config: LlamaConfig,
        params: forward.Params,
        *,
        stop_ids: Sequence[int],
        tokenizer: TextDecoder | None = None,
        slots: int = 32,
        max_length: int | None = None,
        prefill_budget: int | None = None,
        host_cache_bytes: int = 2 << 30,
        settings: RunnerSettings | None = None,
        weights: str = "",
        consume: bool = False,
        mesh: Mesh | None = None,
        rules: ShardingRules = DEFAULT_RULES,
    ) -> None:
        max_length = config.max_position_embeddings if max_length is None else max_length
        if slots < 1:
            raise EngineError(f"Engine: slots={slots}; expected at least 1.")
        if not 2 <= max_length <= config.max_position_embeddings:
            raise EngineError(
                f"Engine: max_length={max_length}; expected 2 to {config.max_position_embeddings}, "
                "the model's max_position_embeddings."
            )
        if prefill_budget is not None and prefill_budget < 1:
            raise EngineError(f"Engine: prefill_budget={prefill_budget}; expected at least 1.")
        self.config, self.slots, self.max_length = config, slots, max_length
        self.stats = EngineStats()
        self._stop_ids = tuple(stop_ids)
        # One number of alternatives for all requests: another would compile again.
        self._top = min(MAX_TOP_LOGPROBS, config.vocab_size)
        self._tokenizer = tokenizer
        self._runner = ModelRunner(
            config,
            params,
            slots=slots,
            max_length=max_length,
            settings=settings,
            weights=weights,
            consume=consume,
            mesh=mesh,
            rules=rules,
        )
        self._prefill_budget = prefill_budget or (1024 if self._runner.platform == "cpu" else 8192)
        self._residency = Residency(self._runner, host_cache_bytes=host_cache_bytes, stats=self.stats)
        self._places = self._residency.places
        self._waiting: dict[str, GenerationRequest] = {}
        self._running: dict[str, Place] = {}

    @property
    def busy(self) -> bool:
        """Whether any reply is under way or waits."""
        return bool(self._running or self._waiting)

    def load(self) -> EngineLoad:
        """How much is under way now."""
        return EngineLoad(
            running=len(self._running),
            waiting=len(self._waiting),
            slots=self.slots,
            resident_tokens=sum(place.cached for place in self._places.all),
            host_bytes=self._residency.host_bytes,
        )

    def submit(self, request: GenerationRequest) -> None:
        """Takes a request; `step` begins with it as soon as there is a place.

        Raises:
          RequestError: no token, more than `max_length`, one that the model does not know, an id or a conversation that
            is under way, an empty choice, or text without a tokenizer; then nothing has changed.
        """
        self._check(request)
        self._waiting[request.id] = request

    def cancel(self, request_id: str) -> None:
        """Ends a request at once, without a further `Delta`; an unknown one is no error."""
        self._waiting.pop(request_id, None)
        place = self._running.pop(request_id, None)
        if place is not None:
            place.reply = None
            place.source = None
            self._settle_followers()

    def release(self, conversation: str) -> None:
        """Forgets a conversation, whose reply must have ended; an unknown one is no error."""
        self._residency.release(conversation)

    def step(self) -> list[Delta]:
        """Takes in what waits, reads what is unread, and adds some tokens to each reply under way.

        Returns:
          What there is to tell: the end of each reply that has ended, and what is new of those that stream.
        """
        if not self.busy:
            return []
        self.stats.steps += 1
        self._admit()
        self._read()
        deltas = [*self._choose(), *self._write()]
        for delta in deltas:
            if delta.generation is not None:
                place = self._running.pop(delta.request_id)
                place.reply = None
                self._places.touch(place)
        return deltas

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Delta]:
        """The last deltas of some requests, in their order; nothing else may be under way.

        Raises:
          RequestError: as `submit`.
        """
        for request in requests:
            self.submit(request)
        ended: dict[str, Delta] = {}
        while self.busy:
            ended |= {delta.request_id: delta for delta in self.step() if delta.generation is not None}
        return [ended[request.id] for request in requests]

    def _check(self, request: GenerationRequest) -> None:
        def refuse(what: str) -> RequestError:
            return RequestError(f"Request '{request.id}': {what}")

        if request.id in self._running or request.id in self._waiting:
            raise refuse("one of this id is under way; expected another id.")
        length = len(request.ids)
        if not 0 < length <= self.max_length:
            raise refuse(
                f"a conversation of {length} tokens; expected 1 to {self.max_length}, the engine's max_length."
            )
        for ids in (request.ids, *request.choices):
            if not len(ids) or min(ids) < 0 or max(ids) >= self.config.vocab_size:
                raise refuse(f"ids {list(ids)[:8]}…; expected at least one, each 0 to {self.config.vocab_size - 1}.")
        longest = max(map(len, request.choices), default=0)
        if length + longest > self.max_length:
            raise refuse(
                f"a choice of {longest} tokens after a conversation of {length}; expected no more than "
                f"{self.max_length} together, the engine's max_length."
            )
        if self._tokenizer is None and (request.sampling.stop or request.stream):
            raise refuse("stop strings and streamed text need a tokenizer; expected Engine(…, tokenizer=…).")
        if request.conversation and request.conversation in self._busy_conversations():
            raise refuse(f"conversation '{request.conversation}' has a reply under way; expected its end first.")

    def _busy_conversations(self) -> set[str]:
        running = {place.conversation for place in self._running.values()}
        return running | {request.conversation for request in self._waiting.values()}

    def _decode(self, ids: Sequence[int]) -> str:
        assert self._tokenizer is not None
        # Rows that pad the embedding have no text.
        return self._tokenizer.decode([token for token in ids if token < self._tokenizer.vocab_size])

    def _admit(self) -> None:
        """Gives each waiting request a place, as far as there are any."""
        expected = {request.conversation for request in self._waiting.values()}
        for request in list(self._waiting.values()):
            place = self._residency.take_in(request, np.asarray(request.ids, np.int32), expected)
            if place is None:
                continue
            del self._waiting[request.id]
            place.reply = Reply(request, stop_ids=self._stop_ids, decode=self._decode if self._tokenizer else None)
            self._reuse(place)
            self._running[request.id] = place

    def _reuse(self, place: Place) -> None:
        """Counts what of a conversation had been read before."""
        assert place.reply is not None
        place.reply.reused(place.cached)
        self.stats.reused += place.cached

    def _settle_followers(self) -> None:
        for place in self._residency.settle_followers(self._running.values()):
            self._reuse(place)

    def _read(self) -> None:
        """Reads prompts and observations, up to the budget."""
        budget = self._prefill_budget
        while budget > 0:
            parts: list[tuple[Place, int]] = []
            for place in self._running.values():
                if budget > 0 and place.unread and place.source is None:
                    count = min(place.unread, budget)
                    budget -= count
                    parts.append((place, count))
            if not parts:
                return
            self._prefill([(place, count) for place, count in parts if not _scored(place)], None)
            scored = [(place, count) for place, count in parts if _scored(place)]
            self._prefill(scored, self._top)
            self._settle_followers()

    def _prefill(self, parts: Sequence[tuple[Place, int]], top: int | None) -> None:
        if not parts:
            return
        rows = [
            PrefillRow(
                slot=place.slot,
                start=place.cached,
                ids=self._places.ids(place, place.cached, place.cached + count),
                targets=self._places.ids(place, place.cached + 1, place.cached + count + 1),
            )
            for place, count in parts
        ]
        scores = self._runner.prefill(rows, top)
        for (place, count), row, score in zip(parts, rows, scores, strict=True):
            if score is not None:
                assert place.reply is not None
                place.reply.take_prompt_scores(row.targets, score)
            place.cached += count
            self.stats.prefilled += count

    def _choose(self) -> list[Delta]:
        """Takes the most likely of the choices where some are given."""
        deltas = []
        for place, reply in self._ready():
            if choices := reply.request.choices:
                pending = int(self._places.ids(place)[-1])
                logprobs = self._runner.score(place.slot, place.length - 1, [(pending, *ids) for ids in choices])
                delta = reply.choose(int(logprobs.argmax()), logprobs.tolist())
                self._places.append(place, reply.ids)
                self.stats.scored += sum(map(len, choices))
                deltas.append(delta)
        return deltas

    def _ready(self) -> Iterator[tuple[Place, Reply]]:
        """Places whose conversations are read, with the replies that have not ended."""
        for place in self._running.values():
            reply = place.reply
            if not place.unread and place.source is None and reply is not None and not reply.generation:
                yield place, reply

    def _write(self) -> list[Delta]:
        """Adds tokens to the replies whose conversations are read."""
        deltas, written, rows, top = [], [], [], None
        for place, reply in self._ready():
            room = self.max_length - place.length
            if not reply.remaining or not room:
                deltas.append(reply.take((), stopped=False, scores=None, full=not room))
                continue
            sampling = reply.request.sampling
            if sampling.logprobs is not None:
                top = self._top
            written.append((place, reply))
            rows.append(
                DecodeRow(
                    slot=place.slot,
                    token=int(self._places.ids(place)[-1]),
                    position=place.length - 1,
                    limit=min(reply.remaining, room),
                    step=len(reply.ids),
                    stop_ids=reply.stop_ids,
                    sampling=sampling,
                )
            )
        new_tokens = self._runner.decode(rows, top=top) if rows else []
        for (place, reply), new in zip(written, new_tokens, strict=True):
            prompt = place.length - len(reply.ids)
            self._places.append(place, new.ids)
            place.cached += len(new.ids)
            self.stats.generated += len(new.ids)
            full = place.length == self.max_length
            deltas.append(reply.take(new.ids, stopped=new.stopped, scores=new.scores, full=full))
            # The tokens of a stop string leave.
            place.length = prompt + len(reply.ids)
            place.cached = min(place.cached, place.length)
        return [delta for delta in deltas if delta is not None]


def _scored(place: Place) -> bool:
    return place.reply is not None and place.reply.request.sampling.prompt_logprobs is not None
