"""What the endpoints share: the model, its engine, and the way from a request to its answer."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from agentbank_jax.errors import did_you_mean
from agentbank_jax.generation.requests import Delta, Generation, GenerationRequest, SamplingParams
from agentbank_jax.serving.conversations import Conversations
from agentbank_jax.serving.engine_thread import EngineThread, Replies
from agentbank_jax.serving.errors import ApiError, invalid, timed_out
from agentbank_jax.serving.event_stream import EventStream, InPieces, unless_gone
from agentbank_jax.serving.limits import Limits, read_body
from agentbank_jax.serving.prometheus import ServingMetrics
from agentbank_jax.serving.schemas import SamplingRequest
from agentbank_jax.serving.served_model import ServedModel

MakeAnswer = Callable[["Service", bytes], "Answer"]
"""Makes of a body what is to be answered; runs in any thread."""

# Larger bodies are read and tokenised beside the event loop, so that nobody waits for them.
_SMALL_BODY = 32 << 10
_LEFT = Response(status_code=499)
FINISH = {"stop": "stop", "length": "length", "context": "length", "choice": "stop"}
"""How a reply ended, in OpenAI's words."""


class Answer(InPieces, Protocol):
    """What an endpoint makes of replies."""

    @property
    def stream(self) -> bool:
        """Whether the client wants it in pieces."""

    @property
    def requests(self) -> Sequence[GenerationRequest]:
        """For the engine."""

    def again(self, index: int, generation: Generation) -> GenerationRequest | None:
        """What the engine is asked next where a reply that has ended does not do; in its place comes that one's."""

    def whole(self, generations: Sequence[Generation]) -> dict[str, Any]:
        """The answer in one piece."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A model that is served.

    Fields:
      model: which.
      thread: its engine.
      conversations: the ids of those that were answered.
      limits: of clients.
      metrics: what was done.
      created: Unix time of the start.
    """

    model: ServedModel
    thread: EngineThread
    conversations: Conversations
    limits: Limits
    metrics: ServingMetrics
    created: int = field(default_factory=lambda: int(time.time()))

    def check_model(self, name: str | None) -> None:
        if name is not None and name != self.model.name:
            raise ApiError(
                404,
                f"The model {name!r} is not served here.{did_you_mean(name, [self.model.name])}",
                param="model",
                code="model_not_found",
            )

    def check_length(self, ids: Sequence[int], max_new_tokens: int, param: str) -> None:
        """Raises ApiError where the engine has no place for a prompt and a token more."""
        if len(ids) + min(max_new_tokens, 1) > self.thread.max_length:
            raise invalid(
                f"The prompt has {len(ids)} tokens; the longest conversation here has {self.thread.max_length}, its "
                "reply included.",
                param,
                "context_length_exceeded",
            )

    async def answer(self, request: Request, make: MakeAnswer) -> Response:
        """Reads a request, lets the engine reply, and answers, in pieces or in one.

        Raises:
          ApiError: for whatever can be told before the first byte of the answer.
        """
        deadline = asyncio.get_running_loop().time() + self.limits.request_timeout
        try:
            async with asyncio.timeout_at(deadline):
                body = await self._read(request)
                answer = await (
                    run_in_threadpool(make, self, body) if len(body) > _SMALL_BODY else _at_once(make, self, body)
                )
            return await self._reply(request, answer, deadline)
        except TimeoutError:
            raise timed_out(self.limits.request_timeout) from None
        except ClientDisconnect:
            return _LEFT

    async def _read(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise ApiError(415, f"The content type is {kind or 'not given'}; expected application/json.")
        return await read_body(request.stream(), request.headers.get("content-length"), self.limits.max_body_bytes)

    async def _reply(self, request: Request, answer: Answer, deadline: float) -> Response:
        events = self._events(answer)
        if answer.stream:
            # What is wrong is told before the stream begins, with its status.
            try:
                async with asyncio.timeout_at(deadline):
                    first = await unless_gone(request, anext(events))
            except BaseException:
                await events.aclose()
                raise
            return EventStream(first, events, answer, deadline, self.limits.request_timeout)
        generations: dict[int, Generation] = {}
        try:
            async with asyncio.timeout_at(deadline):
                await unless_gone(request, _collect(events, generations))
        finally:
            await events.aclose()
        return JSONResponse(answer.whole([generations[index] for index in sorted(generations)]))

    async def _events(self, answer: Answer) -> AsyncGenerator[list[tuple[int, Delta]], None]:
        """What comes of the replies, which are given up when the iterator is closed."""
        wanted = list(enumerate(answer.requests))
        while wanted:
            indices = [index for index, _ in wanted]
            more: list[tuple[int, GenerationRequest]] = []
            replies = self.thread.open([request for _, request in wanted])
            try:
                async for new in self._timed(replies):
                    kept = []
                    for number, delta in new:
                        index = indices[number]
                        follows = delta.generation and answer.again(index, delta.generation)
                        if follows:
                            more.append((index, follows))
                        else:
                            kept.append((index, delta))
                    yield kept
            finally:
                replies.close()
            wanted = more

    async def _timed(self, replies: Replies) -> AsyncIterator[list[tuple[int, Delta]]]:
        """What comes of replies, their times noted."""
        firsts: dict[int, float] = {}
        while new := await replies.next():
            now = time.perf_counter()
            for index, delta in new:
                if index not in firsts:
                    firsts[index] = now
                    self.metrics.first_token.observe(now - replies.created)
                if delta.generation is not None:
                    self.metrics.request_seconds.observe(now - replies.created)
                    if (tokens := len(delta.generation.ids)) > 1:
                        self.metrics.per_token.observe((now - firsts[index]) / (tokens - 1))
            yield new


async def _at_once(make: MakeAnswer, service: Service, body: bytes) -> Answer:
    return make(service, body)


async def _collect(events: AsyncIterator[list[tuple[int, Delta]]], generations: dict[int, Generation]) -> None:
    async for new in events:
        for index, delta in new:
            if delta.generation is not None:
                generations[index] = delta.generation


def sampling_params(
    asked: SamplingRequest, *, max_new_tokens: int, more_stops: Sequence[str] = (), **others: Any
) -> list[SamplingParams]:
    """Returns how each of a request's `n` replies is chosen.

    Args:
      asked: what the client wants.
      max_new_tokens: of a reply.
      more_stops: strings that end a reply beside the client's.
      others: fields of `SamplingParams`.
    """
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    if any(not each for each in stop):
        raise invalid("stop holds an empty string.", "stop")
    first = SamplingParams(
        max_new_tokens=max_new_tokens,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_k=max(asked.top_k or 0, 0),
        top_p=1.0 if asked.top_p is None else asked.top_p,
        min_p=asked.min_p or 0.0,
        seed=secrets.randbits(62) if asked.seed is None else asked.seed,
        stop=(*stop, *more_stops),
        **others,
    )
    # Each reply has a seed of its own, the first the one that was asked for.
    return [first.with_later_seed(index) for index in range(asked.n)]


def guided_choices(asked: SamplingRequest, *, logprobs: bool) -> list[str]:
    """Returns the replies of which one is to be taken; none where the reply is free.

    Raises:
      ApiError: 400 where log-probabilities are wanted too.
    """
    if asked.guided_choice and logprobs:
        raise invalid("logprobs together with guided_choice is not supported; leave one of them out.", "logprobs")
    return asked.guided_choice or []


def usage_of(prompts: Sequence[Sequence[int]], generations: Sequence[Generation]) -> dict[str, Any]:
    """Tokens read and written.

    Args:
      prompts: each once, however many replies it has.
      generations: all replies, those of one prompt after each other.
    """
    replies = len(generations) // len(prompts)
    read, written = sum(map(len, prompts)), sum(len(generation.ids) for generation in generations)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {
            "cached_tokens": sum(generation.cached_tokens for generation in generations[::replies])
        },
    }
