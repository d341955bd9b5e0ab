"""An engine without a model, of the real one's interface: what it replies is a function of what it read.

Tests of the server that need faults, delays or replies of a chosen wording use it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agentbank_jax.generation.requests import (
    Delta,
    EngineLoad,
    EngineStats,
    Finish,
    Generation,
    GenerationRequest,
    RequestError,
    TokenLogprob,
)
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

Speak = Callable[[Sequence[int]], Sequence[int]]


def logprob_of(token: int) -> float:
    """The log-probability of any token."""
    return -1.0 - token % 7


@dataclass
class _Reply:
    request: GenerationRequest
    wanted: list[int]
    ids: list[int] = field(default_factory=list)
    told: int = 0
    said: str = ""
    held: bool = False
    text: str | None = None


class FakeEngine:
    """Replies what `speak` makes of a conversation's ids, a token a step for each reply that has a place.

    Fields:
      read: all requests, in order.
      broken: an error that the next step raises.
      seconds: that a step takes.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_ids: Sequence[int],
        speak: Speak,
        *,
        slots: int = 4,
        max_length: int = 512,
        seconds: float = 0.0,
    ) -> None:
        self.slots = slots
        self.max_length = max_length
        self.stats = EngineStats()
        self.seconds = seconds
        self.broken: Exception | None = None
        self.read: list[GenerationRequest] = []
        self.cancelled: list[str] = []
        self._tokenizer, self._stop_ids, self._speak = tokenizer, tuple(stop_ids), speak
        self._replies: dict[str, _Reply] = {}

    @property
    def busy(self) -> bool:
        return bool(self._replies)

    def submit(self, request: GenerationRequest) -> None:
        if request.id in self._replies:
            raise RequestError(f"GenerationRequest.id={request.id!r} is under way.")
        if not request.ids or len(request.ids) > self.max_length:
            raise RequestError(f"GenerationRequest.ids: {len(request.ids)} tokens.")
        self.read.append(request)
        self.stats.prefilled += len(request.ids)
        self._replies[request.id] = _Reply(request, list(self._speak(request.ids)))

    def step(self) -> list[Delta]:
        if self.broken:
            raise self.broken
        time.sleep(self.seconds)
        self.stats.steps += bool(self._replies)
        return [self._advance(reply) for reply in list(self._replies.values())[: self.slots]]

    def cancel(self, request_id: str) -> None:
        if self._replies.pop(request_id, None):
            self.cancelled.append(request_id)

    def release(self, conversation: str) -> None:
        del conversation

    def load(self) -> EngineLoad:
        running = min(self.slots, len(self._replies))
        return EngineLoad(running=running, waiting=len(self._replies) - running, slots=self.slots, resident_tokens=0)

    def _advance(self, reply: _Reply) -> Delta:
        request, sampling = reply.request, reply.request.sampling
        if request.choices:
            return self._end(reply, "choice", choice=len(request.choices) - 1)
        finish: Finish | None = "length" if sampling.max_new_tokens == 0 else None
        stopped_by: int | str | None = None
        if finish is None:
            reply.ids.append(reply.wanted[len(reply.ids)])
            self.stats.generated += 1
            if reply.ids[-1] in self._stop_ids:
                finish, stopped_by = "stop", reply.ids[-1]
            text = self._text(reply.ids) if sampling.stop else ""
            found = min((stop for stop in sampling.stop if stop in text), key=text.index, default=None)
            if found is not None:
                finish, stopped_by = "stop", found
                while len(self._text(reply.ids)) > text.index(found):
                    reply.ids.pop()
                reply.text = text[: text.index(found)]
            if finish is None and len(reply.ids) == sampling.max_new_tokens:
                finish = "length"
            if finish is None and len(request.ids) + len(reply.ids) == self.max_length:
                finish = "context"
        if finish:
            return self._end(reply, finish, stopped_by=stopped_by)
        if sampling.stop:  # what may belong to a stop string comes at the end
            return Delta(request_id=request.id)
        return self._delta(reply)

    def _end(
        self, reply: _Reply, finish: Finish, *, stopped_by: int | str | None = None, choice: int | None = None
    ) -> Delta:
        request, sampling = reply.request, reply.request.sampling
        del self._replies[request.id]
        ids = list(request.choices[choice]) if choice is not None else reply.ids
        generation = Generation(
            ids=tuple(ids),
            text=self._text(ids) if reply.text is None else reply.text,
            finish=finish,
            stopped_by=stopped_by,
            logprobs=self._logprobs(ids, sampling.logprobs),
            prompt_logprobs=self._logprobs(request.ids[1:], sampling.prompt_logprobs),
            choice=choice,
        )
        return self._delta(reply, generation)

    def _delta(self, reply: _Reply, generation: Generation | None = None) -> Delta:
        request, told = reply.request, reply.told
        reply.told = len(reply.ids)
        new = tuple(reply.ids[told:])
        text = self._new_text(reply, new, generation) if request.stream else ""
        reply.said += text
        logprobs = self._logprobs(new, request.sampling.logprobs)
        return Delta(request_id=request.id, ids=new, text=text, logprobs=logprobs, generation=generation)

    def _new_text(self, reply: _Reply, new: Sequence[int], generation: Generation | None) -> str:
        if generation is not None:
            return generation.text[len(reply.said) :]
        text = self._tokenizer.spell(new)
        # Where a character has several tokens, it and all behind it come at the end.
        reply.held |= not text.isascii()
        return "" if reply.held else text if reply.said else text.removeprefix(" ")

    def _text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([token for token in ids if token not in self._stop_ids])

    def _logprobs(self, ids: Sequence[int], top: int | None) -> tuple[TokenLogprob, ...]:
        if top is None:
            return ()
        return tuple(
            TokenLogprob(
                token=token,
                logprob=logprob_of(token),
                top=tuple((token + k, logprob_of(token) - k) for k in range(top)),
            )
            for token in ids
        )
