"""Clients that vanish, read slowly or come in crowds, and an engine that fails: the others notice nothing."""

import gc
import json
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from agentbank_jax.serving.limits import Limits
from agentbank_jax.serving.served_model import ServedModel
from agentbank_jax.trajectories.schema import Turn
from tests.serving.running import Running, number_of, serving, wait_until

WORDS = 20_000
"""Of a reply whose events are more than the system keeps for a connection."""
LONG = "word " * 100
"""A reply of several hundred tokens."""


def connect(server: Running, body: dict[str, Any], *, receive_buffer: int | None = None) -> socket.socket:
    """Sends a request by hand, so that its answer can be left unread."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect((host, int(port)))
    content = json.dumps({"messages": [{"role": "user", "content": "Go."}], **body}).encode()
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    return connection


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_vanishes_frees_its_places(model: ServedModel, stream: bool, n: int) -> None:
    with serving(model, say=lambda _: LONG, seconds=0.005) as server:
        connection = connect(server, {"stream": stream, "n": n})
        wait_until(lambda: server.service.thread.load.running == n)
        if stream:
            assert connection.recv(100)
        connection.close()
        server.wait_until_idle(2)
        assert len(server.engine.cancelled) == n and server.engine.stats.generated < n * 200
        assert server.chat(max_tokens=2).status_code == 200
        status = 200 if stream else 499
        assert f'path="/v1/chat/completions",status="{status}"' in server.client.get("/metrics").text
        assert 'status="500"' not in server.client.get("/metrics").text


def test_a_client_that_vanishes_while_it_waits_leaves_the_queue(model: ServedModel) -> None:
    with serving(model, say=lambda _: LONG, seconds=0.005, slots=1) as server:
        first, second = connect(server, {}), connect(server, {})
        wait_until(lambda: server.service.thread.load.waiting == 1)
        second.close()
        wait_until(lambda: server.service.thread.load.waiting == 0)
        assert server.service.thread.load.running == 1
        first.close()
        server.wait_until_idle(2)


def test_a_slow_reader_holds_nobody_up(model: ServedModel) -> None:
    def say(text: str) -> str:
        return "x " * WORDS if "Go." in text else "quick"

    with serving(model, say=say, slots=8, max_length=1 << 20) as server:
        slow = [connect(server, {"stream": True, "max_tokens": 100_000}, receive_buffer=4096) for _ in range(2)]
        wait_until(lambda: server.service.thread.load.running == 2)
        for _ in range(5):
            started = time.monotonic()
            assert server.chat("Hello.").json()["choices"][0]["message"]["content"] == "quick"
            assert time.monotonic() - started < 2
        # The engine has ended all replies, though nobody has read them.
        server.wait_until_idle(20)
        assert server.engine.stats.generated > 2 * WORDS
        received = b""
        slow[0].settimeout(20)
        while b"[DONE]" not in received:
            received += slow[0].recv(1 << 16)
        pieces = [json.loads(line[6:]) for line in received.decode().split("\n") if line.startswith("data: {")]
        said = "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces)
        assert said == ("x " * WORDS).strip()
        # What came while nobody read was put together.
        assert len(pieces) < WORDS
        for connection in slow:
            connection.close()
        server.wait_until_idle()


def test_a_crowd_gets_its_own_tokens_or_is_sent_away(model: ServedModel) -> None:
    """200 requests at once where 8 are generated and 32 may wait."""
    limits = Limits(queue=32, conversations=50)
    many = httpx2.Limits(max_connections=200)
    with serving(model, slots=8, seconds=0.001, limits=limits) as server:

        def ask(client: httpx2.Client, number: int) -> tuple[int, httpx2.Response]:
            body = {"messages": [{"role": "user", "content": f"Find number {number}."}], "n": 1 + number % 3 // 2}
            return number, client.post("/v1/chat/completions", json=body)

        def crowd(start: int) -> dict[int, int]:
            statuses: dict[int, int] = {}
            with (
                httpx2.Client(base_url=server.url, timeout=60, limits=many) as client,
                ThreadPoolExecutor(200) as pool,
            ):
                for number, response in pool.map(lambda number: ask(client, number), range(start, start + 200)):
                    statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                    if response.status_code == 429:
                        assert response.headers["Retry-After"] == "1"
                        assert response.json()["error"]["type"] == "rate_limit_error"
                        continue
                    prompt = model.template.prompt_ids([Turn.user(f"Find number {number}.")])
                    expected = number_of(model.tokenizer.decode(prompt))
                    for choice in response.json()["choices"]:
                        assert choice["message"]["content"] == expected
            server.wait_until_idle()
            return statuses

        def held() -> int:
            # Connections that their clients have closed are closed here too.
            wait_until(lambda: len(server.connections) <= 1)
            server.engine.read.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        crowd(0)
        before = held()
        statuses = crowd(1000)
        after = held()
        tracemalloc.stop()
        assert set(statuses) == {200, 429} and statuses[200] >= 20, statuses
        assert after - before < 500_000
        assert not server.service.thread._open and len(server.service.conversations) <= 50
        assert server.metric("agentbank_requests_waiting") == server.metric("agentbank_requests_running") == 0


def test_replies_of_one_request_count_as_many(model: ServedModel) -> None:
    with serving(model, say=lambda _: LONG, slots=2, seconds=0.005, limits=Limits(queue=2)) as server:
        connection = connect(server, {"n": 3})
        wait_until(lambda: server.service.thread.under_way == 3)
        assert server.chat(n=2).status_code == 429
        assert server.chat(n=5).status_code == 400
        connection.close()
        server.wait_until_idle()


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_has_a_time_limit(model: ServedModel, stream: bool) -> None:
    limits = Limits(request_timeout=0.3)
    with serving(model, say=lambda _: LONG, seconds=0.02, limits=limits) as server:
        started = time.monotonic()
        response = server.chat(stream=stream)
        assert time.monotonic() - started < 2
        if stream:
            error = json.loads(response.text.strip().rsplit("data: ", 1)[1])["error"]
            assert "[DONE]" not in response.text
        else:
            assert response.status_code == 504
            error = response.json()["error"]
        assert error["type"] == "timeout_error" and error["code"] == "timeout"
        server.wait_until_idle(2)


def test_a_body_that_does_not_come_is_not_waited_for(model: ServedModel) -> None:
    with serving(model, limits=Limits(request_timeout=0.3)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 504 ")


def test_an_engine_that_fails_fails_all_requests_and_the_health_check(model: ServedModel) -> None:
    with serving(model, say=lambda _: LONG, seconds=0.005) as server, ThreadPoolExecutor(3) as pool:
        replies = [pool.submit(server.chat, stream=stream) for stream in (False, False, True)]
        wait_until(lambda: server.service.thread.load.running == 3)
        wait_until(lambda: server.engine.stats.steps > 3)
        server.engine.broken = RuntimeError("secret detail")
        whole, other, stream = [reply.result() for reply in replies]
        for response in (whole, other, server.chat()):
            assert response.status_code == 500
            assert response.json()["error"]["type"] == "server_error" and "secret" not in response.text
        assert '"code":"engine_failed"' in stream.text and "[DONE]" not in stream.text
        assert server.client.get("/healthz").status_code == 503
        assert server.metric("agentbank_engine_healthy") == 0


def test_a_bug_in_taking_in_a_request_harms_no_other(model: ServedModel) -> None:
    with serving(model) as server:
        submit = server.engine.submit

        def fail(request: Any) -> None:
            raise KeyError("secret detail")

        server.engine.submit = fail
        response = server.chat()
        assert response.status_code == 500 and "secret" not in response.text
        server.engine.submit = submit
        assert server.chat().status_code == 200 and server.client.get("/healthz").status_code == 200


def test_a_bug_in_the_server_is_an_answer_and_no_traceback(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(turns: Any) -> None:
        raise KeyError("secret detail")

    with serving(model) as server:
        with monkeypatch.context() as broken:
            broken.setattr(server.service.conversations, "prompt_ids", fail)
            for content in ("Go.", "Go. " * 20_000):
                response = server.chat(content)
                assert response.status_code == 500 and response.json()["error"]["type"] == "server_error"
                assert "secret" not in response.text
        assert server.chat().status_code == 200


def test_what_the_engine_refuses_is_the_clients_mistake(model: ServedModel) -> None:
    with serving(model) as server:
        server.engine.max_length = 3
        response = server.chat()
        assert response.status_code == 400 and "GenerationRequest.ids" in response.json()["error"]["message"]


def test_a_server_that_stops_lets_streams_end(model: ServedModel) -> None:
    received: list[str] = []
    with serving(model, say=lambda _: "word " * 40, seconds=0.01) as server:
        thread = threading.Thread(target=lambda: received.append(server.chat(stream=True).text))
        thread.start()
        wait_until(lambda: server.service.thread.load.running == 1)
        server.stop()
        thread.join(10)
    assert "[DONE]" in received[0]
