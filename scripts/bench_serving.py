"""Measures what the server costs over the engine that it serves: `python scripts/bench_serving.py`.

Clients in a process of their own each ask for one reply after the other, in one piece and as a stream; the same
requests go to the same model's engine alone, in rounds that take turns. Printed are tokens a second of each, the
server's overhead (the median over the rounds of its time against the engine's in the same round), and how long clients
waited for their first token. Weights are random, and no round asks what another did.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors

_SHAPES: dict[str, dict[str, int]] = {
    "60m": {"hidden_size": 640, "intermediate_size": 1792, "num_layers": 12, "num_heads": 10},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_layers": 2, "num_heads": 4},
}


def messages(round_number: int, client: int, turn: int) -> list[dict[str, str]]:
    """A conversation that no other client or round has."""
    text = f"Round {round_number}, client {client}, turn {turn}: find the cup and say where it is. "
    return [{"role": "user", "content": text + "There are a shelf, a desk, a drawer and a sink. " * 3}]


async def ask_all(url: str, options: argparse.Namespace, number: int, stream: bool) -> dict[str, Any]:
    """Lets all clients ask; returns the tokens that they got, and seconds."""
    import httpx2

    firsts: list[float] = []
    tokens = 0

    async def one(client: "httpx2.AsyncClient", index: int) -> None:
        nonlocal tokens
        for turn in range(options.turns):
            body = {"messages": messages(number, index, turn), "max_tokens": options.tokens, "temperature": 0}
            started = time.perf_counter()
            if not stream:
                answer = (await client.post("/v1/chat/completions", json=body)).json()
                tokens += answer["usage"]["completion_tokens"]
                continue
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            first = 0.0
            last = b""
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for chunk in response.aiter_raw():
                    first = first or time.perf_counter() - started
                    last = (last + chunk)[-2000:]
            firsts.append(first)
            tokens += json.loads(last.rsplit(b"data: ", 2)[1])["usage"]["completion_tokens"]

    limits = httpx2.Limits(max_connections=options.clients)
    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        started = time.perf_counter()
        await asyncio.gather(*(one(client, index) for index in range(options.clients)))
        seconds = time.perf_counter() - started
    return {"tokens": tokens, "seconds": seconds, "firsts": firsts}


class Clients:
    """The process of the clients: a line with a round's number in, a line with its figures out."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        flags = [f"--{name}={getattr(options, name)}" for name in ("clients", "turns", "tokens")]
        self._process = subprocess.Popen(
            [sys.executable, __file__, f"--url={url}", *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, number: int, stream: bool) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        print(number, int(stream), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def be_clients(options: argparse.Namespace) -> None:
    for line in sys.stdin:
        number, stream = map(int, line.split())
        print(json.dumps(asyncio.run(ask_all(options.url, options, number, bool(stream)))), flush=True)


def engine_alone(engine: Any, template: Any, options: argparse.Namespace, number: int) -> dict[str, Any]:
    """The same requests without a server: each client's next when its last has ended."""
    from agentbank_jax.generation.requests import GenerationRequest, SamplingParams
    from agentbank_jax.trajectories.schema import Turn

    sampling = SamplingParams(max_new_tokens=options.tokens)

    def request(client: int, turn: int) -> GenerationRequest:
        turns = [Turn.user(each["content"]) for each in messages(number, client, turn)]
        return GenerationRequest(id=f"{client} {turn}", ids=template.prompt_ids(turns), sampling=sampling)

    started = time.perf_counter()
    tokens = 0
    for client in range(options.clients):
        engine.submit(request(client, 0))
    while engine.busy:
        for delta in engine.step():
            if delta.generation is not None:
                tokens += len(delta.generation.ids)
                client, turn = map(int, delta.request_id.split())
                if turn + 1 < options.turns:
                    engine.submit(request(client, turn + 1))
    return {"tokens": tokens, "seconds": time.perf_counter() - started}


def measure(options: argparse.Namespace) -> None:
    from dataclasses import replace

    import jax
    import uvicorn

    from agentbank_jax.generation.engine import Engine
    from agentbank_jax.models import forward
    from agentbank_jax.serving.app import create_app
    from agentbank_jax.serving.served_model import made_model

    model = made_model()
    config = replace(model.config, num_kv_heads=0, head_dim=0, **_SHAPES[options.shape])
    model = replace(model, config=config, params=jax.device_put(forward.init(config, 0), jax.devices()[0]))

    def engine() -> Engine:
        stops, tokenizer = model.template.stop_ids, model.tokenizer
        return Engine(config, model.params, stop_ids=stops, tokenizer=tokenizer, slots=options.clients, max_length=512)

    print(f"{forward.count_parameters(config) / 1e6:.1f}M parameters on {jax.devices()[0].device_kind}")
    print(f"{options.clients} clients, {options.turns} replies of {options.tokens} tokens to each")
    settings = uvicorn.Config(create_app(model, engine()), port=0, http="h11", ws="none", log_level="error")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    clients = Clients(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", options)
    alone = engine()
    try:
        rounds = []
        for number in range(options.rounds + 1):
            kinds = {
                "engine": lambda number=number: engine_alone(alone, model.template, options, number),
                "server": lambda number=number: clients.ask(number, False),
                "server, streaming": lambda number=number: clients.ask(1000 + number, True),
            }
            # In another order each time; the first round compiles and is not counted.
            order = list(kinds) if number % 2 else list(kinds)[::-1]
            found = {kind: kinds[kind]() for kind in order}
            if number:
                rounds.append(found)
    finally:
        clients.end()
        server.should_exit = True
        thread.join()
    for kind in rounds[0]:
        speed = statistics.median(each[kind]["tokens"] / each[kind]["seconds"] for each in rounds)
        per_token = [
            each[kind]["seconds"] / each[kind]["tokens"] / (each["engine"]["seconds"] / each["engine"]["tokens"])
            for each in rounds
        ]
        over = "" if kind == "engine" else f", overhead {100 * (statistics.median(per_token) - 1):.1f} %"
        over += "" if kind == "engine" else f" ({', '.join(f'{100 * (each - 1):.1f}' for each in per_token)})"
        print(f"{kind}: {speed:,.0f} tokens/s{over}")
    firsts = sorted(first for each in rounds for first in each["server, streaming"]["firsts"])
    shown = ", ".join(f"{share} % {firsts[int(len(firsts) * share / 100)]:.2f} s" for share in (50, 90, 99))
    print(f"time to the first token, streaming: {shown}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--shape", choices=_SHAPES, default="60m", help="of the model (default: 60m)")
    parser.add_argument("--clients", type=int, default=32, metavar="N", help="that ask at once (default: 32)")
    parser.add_argument("--turns", type=int, default=2, metavar="N", help="replies to each a round (default: 2)")
    parser.add_argument("--tokens", type=int, default=64, metavar="N", help="of a reply (default: 64)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="that count (default: 5)")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("clients", "turns", "tokens", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}={getattr(options, name)}: expected at least 1")
    if options.url:
        be_clients(options)
    else:
        measure(options)
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
