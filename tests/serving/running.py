"""Servers that run on a loopback port while a test speaks to them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn

from agentbank_jax.serving.app import create_app
from agentbank_jax.serving.limits import Limits
from agentbank_jax.serving.served_model import ServedModel
from agentbank_jax.serving.service import Service
from tests.serving.fake_engine import FakeEngine

Say = Callable[[str], str]


@dataclass
class Running:
    """A server that runs.

    Fields:
      url: without a path.
      client: of it.
      service, engine: its own.
      stop: has it take no more requests.
      connections: that are open.
    """

    url: str
    client: httpx2.Client
    service: Service
    engine: Any
    stop: Callable[[], None]
    connections: set[Any]

    def post(self, path: str, body: dict[str, Any], **others: Any) -> httpx2.Response:
        return self.client.post(path, json=body, **others)

    def chat(self, content: str = "Find the cup.", **others: Any) -> httpx2.Response:
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}], **others})

    def metric(self, name: str) -> float:
        """The sum over all labels of a metric."""
        lines = self.client.get("/metrics").text.split("\n")
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0].split(" ")[0] == name)

    def wait_until_idle(self, seconds: float = 10) -> None:
        wait_until(lambda: not self.service.thread.under_way and not self.engine.busy, seconds)


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Waits until something holds; fails where it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.005)


def speaking(model: ServedModel, say: Say) -> Callable[[Sequence[int]], list[int]]:
    """What a `FakeEngine` is to reply: `say` of the conversation's text."""
    tokenizer, stop = model.tokenizer, model.template.stop_ids[0]
    return lambda ids: [*tokenizer.encode(say(tokenizer.decode(list(ids)))), stop]


def number_of(text: str) -> str:
    """A reply that tells one conversation from others."""
    return f"Thought: I count.\nFinal Answer: {sum(map(ord, text)) * 31 % 99991} of {len(text)}"


@contextlib.contextmanager
def serving(
    model: ServedModel,
    engine: Any = None,
    *,
    say: Say = number_of,
    slots: int = 4,
    seconds: float = 0.0,
    max_length: int = 512,
    limits: Limits | None = None,
    api_key: str | None = None,
) -> Iterator[Running]:
    """Runs a server, of a `FakeEngine` unless another is given."""
    if engine is None:
        stops = model.template.stop_ids
        speak = speaking(model, say)
        engine = FakeEngine(model.tokenizer, stops, speak, slots=slots, seconds=seconds, max_length=max_length)
    app = create_app(model, engine, limits=limits, api_key=api_key)
    config = uvicorn.Config(app, port=0, http="h11", ws="none", log_level="error", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 30)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    def stop() -> None:
        server.should_exit = True

    try:
        with httpx2.Client(base_url=url, timeout=60) as client:
            yield Running(url, client, app.state.service, engine, stop, server.server_state.connections)
    finally:
        stop()
        thread.join(20)
        assert not thread.is_alive()
