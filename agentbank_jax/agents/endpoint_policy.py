"""A model behind a server with OpenAI's interface, as a policy."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from agentbank_jax.agents.completion import messages_of
from agentbank_jax.agents.endpoint import Endpoint
from agentbank_jax.agents.endpoint_client import EndpointClient, Patience
from agentbank_jax.agents.policy import Reply, Request
from agentbank_jax.environments.held import Wants
from agentbank_jax.generation.requests import SamplingParams

STOP = ("\nObservation:", "\nTask:", "\n---")
"""Where a reply is cut that is to hold one action: a model that was not trained on such conversations goes on to
imagine what follows. They are those of the evaluator of ETO and IPR, AgentBank's sibling projects."""

_SECONDS_TO_COLLECT = 0.05
_SECONDS_TO_END = 5.0


class EndpointPolicy:
    """Replies of a model behind a server.

    Each request sends the whole conversation, in a thread of its own that lives while any conversation is open. A reply
    that reaches `max_new_tokens` is taken as it is; a conversation that the server finds too long has
    `context_exhausted`, and one that the server refuses otherwise, or does not answer, is the caller's error.

    Args:
      endpoint: the server and the model.
      max_new_tokens: longest reply.
      sampling: its temperature, `top_p`, seed and stop strings are sent; greedy if None. Each reply draws with a seed
        of its own.
      api_key: shown to the server; `Endpoint.api_key` if None.
      patience: with the server.
      capacity: episodes at once.
      name: what results are listed under; the endpoint's if None.
    """

    wants = Wants()

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        api_key: str | None = None,
        patience: Patience | None = None,
        capacity: int = 32,
        name: str | None = None,
    ) -> None:
        key = endpoint.api_key() if api_key is None else api_key
        self.name = name or endpoint.name
        self.capacity = capacity
        self._sampling = replace(sampling or SamplingParams(), max_new_tokens=max_new_tokens)
        self._make_client = lambda: EndpointClient(endpoint, api_key=key, patience=patience or Patience())
        self._thread: _Thread | None = None
        self._open: set[str] = set()
        self._under_way: dict[str, Future[Reply]] = {}
        self._ended: queue.SimpleQueue[tuple[str, Future[Reply]]] = queue.SimpleQueue()

    def submit(self, request: Request) -> None:
        if self._thread is None:
            self._thread = _Thread(self._make_client())
        future = self._thread.ask(self._body(request))
        self._open.add(request.conversation)
        self._under_way[request.conversation] = future
        future.add_done_callback(lambda ended: self._ended.put((request.conversation, ended)))

    def collect(self) -> list[tuple[str, Reply]]:
        ended = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._ended.get(timeout=_SECONDS_TO_COLLECT))
            while True:
                ended.append(self._ended.get_nowait())
        replies = []
        for conversation, future in ended:
            if self._under_way.get(conversation) is future:  # not released meanwhile
                del self._under_way[conversation]
                replies.append((conversation, future.result()))
        return replies

    def release(self, conversation: str) -> None:
        self._open.discard(conversation)
        future = self._under_way.pop(conversation, None)
        if future is not None:
            future.cancel()
        if not self._open and self._thread is not None:
            self._thread.end()
            self._thread = None

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = self._sampling
        body: dict[str, Any] = {
            "messages": messages_of(request.turns),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
        }
        if not sampling.greedy:
            # 31 bits: some servers take no more.
            body["seed"] = request.draw(sampling.seed, 4) >> 1
            if sampling.top_p < 1:
                body["top_p"] = sampling.top_p
        # A plan or a reflection may hold such lines.
        if stop := (*sampling.stop, *(STOP if request.purpose == "act" else ())):
            body["stop"] = list(stop)
        return body


class _Thread:
    """A thread in which a client waits for replies."""

    def __init__(self, client: EndpointClient) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._ready = threading.Event()
        # A daemon: no server is waited for where the program ends.
        self._thread = threading.Thread(target=self._run, name="endpoint", daemon=True)
        self._thread.start()
        self._ready.wait()

    def ask(self, body: Mapping[str, Any]) -> "Future[Reply]":
        return asyncio.run_coroutine_threadsafe(self._client.reply(body), self._loop)

    def end(self) -> None:
        """Ends the thread and what is under way in it."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_SECONDS_TO_END)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with self._client:
            self._ready.set()
            await self._end.wait()
