"""A model behind a server: what is asked, how replies are read, and what becomes of a server that misbehaves."""

import contextlib
import email.utils
import json
import socket
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.agents.completion import read_completion
from agentbank_jax.agents.endpoint import Endpoint, EndpointError
from agentbank_jax.agents.endpoint_client import Patience
from agentbank_jax.agents.endpoint_policy import EndpointPolicy
from agentbank_jax.agents.policy import Purpose, Reply, Request
from agentbank_jax.agents.react import ReAct
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.requests import SamplingParams
from agentbank_jax.serving.served_model import ServedModel, made_model
from agentbank_jax.trajectories.schema import Turn
from tests.agents.hostile_server import Answer, completion, hostile, raw, sends
from tests.agents.playing import episodes_of
from tests.agents.test_rollout import episode
from tests.serving.running import serving

HASTY = Patience(timeout=0.5, retries=2, backoff=0.01)
ACT = "Thought: I look.\nAction: look"


@pytest.fixture(scope="module")
def model() -> ServedModel:
    return made_model()


def policy_of(url: str, **options: Any) -> EndpointPolicy:
    values: dict[str, Any] = {"max_new_tokens": 50, "patience": HASTY, "api_key": ""} | options
    return EndpointPolicy(Endpoint.parse(f"{url}#made-tiny"), **values)


def request(name: str = "a", *contents: str, purpose: Purpose = "act", seed: int = 0) -> Request:
    turns = [Turn.system("Act."), Turn.user("Begin.")]
    for content in contents:
        turns += [Turn.assistant(content), Turn.user("Observation: nothing.")]
    return Request(conversation=name, turns=tuple(turns), agent=ReAct(), purpose=purpose, seed=seed)


def ask(policy: EndpointPolicy, *requests: Request, seconds: float = 20) -> dict[str, Reply]:
    """Sends requests, waits for all replies, and closes the conversations."""
    deadline = time.monotonic() + seconds
    replies: dict[str, Reply] = {}
    try:
        for one in requests:
            policy.submit(one)
        while len(replies) < len(requests):
            assert time.monotonic() < deadline, "no reply in time"
            replies |= dict(policy.collect())
    finally:
        for one in requests:
            policy.release(one.conversation)
    return replies


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "endpoint"]


# ---- what is asked ---------------------------------------------------------------------------------------------------
def test_a_conversation_is_sent_as_messages_with_the_published_stop_strings_and_no_key() -> None:
    with hostile(sends(completion(ACT, completion_tokens=7, prompt_tokens=30))) as server:
        replies = ask(policy_of(server.url), request("a", "Action: ü\ud800"))
    assert replies == {"a": Reply(text=ACT, tokens=7, prompt_tokens=30)}
    assert server.requests == [
        {
            "model": "made-tiny",
            "messages": [
                {"role": "system", "content": "Act."},
                {"role": "user", "content": "Begin."},
                {"role": "assistant", "content": "Action: ü?"},
                {"role": "user", "content": "Observation: nothing."},
            ],
            "max_tokens": 50,
            "temperature": 0.0,
            "stop": ["\nObservation:", "\nTask:", "\n---"],
        }
    ]
    assert "authorization" not in server.headers[0].lower()
    assert server.headers[0].startswith("POST /v1/chat/completions ")


def test_plans_and_reflections_are_cut_at_no_stop_string_and_a_key_is_shown(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " secret\n")
    with hostile(sends(completion("x"))) as server:
        ask(policy_of(server.url, api_key=None), request(purpose="plan"), request("b", purpose="reflect"))
    assert all("stop" not in body for body in server.requests)
    assert all("Authorization: Bearer secret" in head for head in server.headers)


def test_a_key_is_shown_to_nobody_whom_the_user_has_not_named(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)

    def shown(url: str) -> bool:
        return Endpoint.parse(f"{url}#m").api_key() == "secret"

    local = ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:1/v1"]
    assert all(map(shown, [*local, "https://api.openai.com/v1"]))
    others = ["https://api.openai.com.evil.org/v1", "http://api.openai.com/v1", "https://host/v1", "http://10.0.0.1/v1"]
    assert not any(map(shown, others))
    monkeypatch.setenv("OPENAI_BASE_URL", "https://host/v1/")
    assert shown("https://host/v1") and not shown("https://host:8443/v1") and not shown("https://api.openai.com/v1")


def test_a_key_that_no_header_can_hold_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "schlüssel")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY holds characters"):
        policy_of("http://127.0.0.1:1/v1", api_key=None)


def test_drawn_replies_have_seeds_of_their_own_and_the_same_ones_again() -> None:
    sampling = SamplingParams(temperature=0.7, top_p=0.9)
    sent = []
    for _ in range(2):
        with hostile(sends(completion("x"))) as server:
            policy = policy_of(server.url, sampling=sampling)
            for one in (request(), request("b"), request("a", "x"), request(seed=1)):
                ask(policy, one)
        sent.append([body["seed"] for body in server.requests])
        assert {(body["temperature"], body["top_p"]) for body in server.requests} == {(0.7, 0.9)}
    assert sent[0] == sent[1] and len(set(sent[0])) == 4 and all(0 <= seed < 1 << 31 for seed in sent[0])


def test_as_many_requests_are_under_way_as_there_are_conversations() -> None:
    together = threading.Barrier(12, timeout=10)

    def answer(connection: socket.socket, body: dict[str, Any]) -> None:
        together.wait()
        connection.sendall(completion(ACT))

    with hostile(answer) as server:
        replies = ask(policy_of(server.url, patience=Patience(timeout=15)), *(request(str(n)) for n in range(12)))
    assert len(replies) == 12 and server.most == 12


# ---- replies ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "ü 漢 \u2028 é"}, "ü 漢 \u2028 é"),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}, ""),
        ({"content": [{"type": "text", "text": "Action: "}, {"type": "image"}, {"text": "look"}, 3]}, "Action: look"),
        ({"content": "half \ud83d"}, "half ?"),
        ({"content": "x", "reasoning_content": "long"}, "x"),
    ],
)
def test_whatever_a_message_holds_its_text_is_read(message: dict[str, Any], text: str) -> None:
    body = json.dumps({"choices": [{"message": message, "finish_reason": "length"}]}).encode()
    assert read_completion(body) == Reply(text=text)


@pytest.mark.parametrize("usage", [None, 3, [], {"completion_tokens": None}, {"completion_tokens": -1}])
def test_costs_that_make_no_sense_are_no_crash(usage: object) -> None:
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}).encode()
    assert read_completion(body) == Reply(text="x")


@given(st.one_of(st.binary(), st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | (
    st.dictionaries(st.sampled_from(["choices", "message", "content", "usage"]), inner))).map(
        lambda value: json.dumps(value).encode())))  # fmt: skip
def test_no_body_is_worse_than_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_completion(body).text, str)


def test_a_reply_that_was_cut_at_a_stop_string_is_read_as_its_action() -> None:
    for stop in ("\nObservation:", "\nTask:", "\n---"):
        whole = f"{ACT}{stop} and so on"
        assert ReAct().parse(whole.partition(stop)[0]) == ReAct().parse(ACT)


# ---- servers that misbehave ------------------------------------------------------------------------------------------
def _stalls(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    time.sleep(3)


def _drips(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(0.05)


def _floods(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        connection.sendall(b" " * (1 << 20))


def _closes(connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


HTML = raw(200, b"<html>Log in</html>", "Content-Type: text/html")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_stalls, "gave no whole reply within 0.5 s"),
        (_drips, "gave no whole reply within 0.5 s"),
        (_floods, "more than 8 MiB"),
        (_closes, "broke off"),
        (lambda connection, body: None, "broke off"),
        (sends(b"\x00\xff garbage\r\n\r\n"), "broke off"),
        (sends(raw(200, b"{}", "Content-Encoding: gzip")), "broke off"),
        (sends(raw(200, b'{"choices": [')), "no JSON"),
        (sends(raw(200, b"[" * 100_000)), "no chat completion"),
        (sends(raw(200, b'{"choices": []}')), r"no choices\[0\].message"),
        (sends(raw(200, b'{"choices": [{"message": {"content": 3}}]}')), "content is no text"),
        (sends(HTML), "<html>Log in</html>"),
        (sends(raw(500, b"\x1b[2Jboom")), "answered 500: \N{REPLACEMENT CHARACTER}.2Jboom"),
        (sends(raw(503, b"")), "answered 503: an empty body"),
        (sends(raw(429, b'{"error": {"message": "slow down"}}')), "answered 429: slow down"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_server_that_never_answers_right_is_named_after_bounded_attempts(answer: Answer, message: str) -> None:
    started = time.monotonic()
    with hostile(answer) as server, pytest.raises(EndpointError, match=message) as told:
        ask(policy_of(server.url), request())
    assert len(server.requests) == HASTY.retries + 1
    assert server.url in str(told.value) and "3 attempts" in str(told.value) and "\n" not in str(told.value)
    assert time.monotonic() - started < 6 and not threads()


@pytest.mark.parametrize("first", [raw(500, b"no"), raw(429, b"no", "Retry-After: 0"), b"garbage\r\n\r\n", HTML, b""])
def test_what_passes_is_tried_again(first: bytes) -> None:
    with hostile(sends(first, first, completion(ACT))) as server:
        assert ask(policy_of(server.url), request())["a"].text == ACT
    assert len(server.requests) == 3


def test_a_server_says_when_to_ask_again_and_one_slow_conversation_keeps_none_waiting() -> None:
    seen: dict[str, list[float]] = {}

    def answer(connection: socket.socket, body: dict[str, Any]) -> None:
        name = body["messages"][1]["content"]
        times = seen.setdefault(name, [])
        times.append(time.monotonic())
        busy = name == "busy" and len(times) == 1
        connection.sendall(raw(429, b"later", "Retry-After: 1") if busy else completion(ACT))

    def named(name: str) -> Request:
        return Request(conversation=name, turns=(Turn.system("."), Turn.user(name)), agent=ReAct())

    with hostile(answer) as server:
        policy = policy_of(server.url)
        policy.submit(named("busy"))
        assert ask(policy, named("free"), seconds=0.9)["free"].text == ACT
        while not policy.collect():
            pass
        policy.release("busy")
    first, second = seen["busy"]
    assert 1.0 <= second - first < 2.0


def test_waits_are_bounded_whatever_the_server_asks_for() -> None:
    patience = Patience(backoff=0.5)
    soon = email.utils.formatdate(time.time() + 20, usegmt=True)
    assert [patience.wait(attempt, None) for attempt in range(3)] == [0.5, 1.0, 2.0]
    assert patience.wait(30, None) == patience.wait(0, "1e9") == 60.0
    assert patience.wait(0, "-5") == 0.0 and 15 < patience.wait(0, soon) < 25
    assert {patience.wait(0, text) for text in ("nan", "inf", "soon", "")} == {0.5}


def test_a_server_that_is_not_there_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EndpointError, match=f"127.0.0.1:{port}/v1#made-tiny cannot be reached .* one attempt"):
        ask(policy_of(f"http://127.0.0.1:{port}/v1", patience=Patience(backoff=5)), request(), seconds=4)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b'{"error": {"message": "who?"}}', r"refuses the request \(401\): who\?; .*OPENAI_API_KEY"),
        (404, b'{"error": {"message": "no such model"}}', r"\(404\): no such model; name the URL up to its /v1"),
        (400, b'{"detail": "stop is not taken"}', r"\(400\): stop is not taken; the server's documentation"),
        (301, b"", r"\(301\): an empty body"),
        (422, b"[3]", r"\(422\): \[3\]"),
    ],
)
def test_a_request_that_is_refused_is_an_error_at_once(status: int, body: bytes, message: str) -> None:
    with hostile(sends(raw(status, body, "Location: http://127.0.0.1:1/"))) as server:
        with pytest.raises(EndpointError, match=message):
            ask(policy_of(server.url), request())
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "This model's maximum context length is 4096 tokens. However, you requested 4600."},
        {"message": "too long", "code": "context_length_exceeded"},
        {"message": "the request exceeds the available size", "type": "exceed_context_size_error"},
        {"message": "prompt is too long: 210000 tokens > 200000 maximum"},
        {"message": "`inputs` tokens + `max_new_tokens` must be <= 4096"},
    ],
)
def test_a_conversation_that_is_too_long_has_exhausted_the_context(error: dict[str, str]) -> None:
    with hostile(sends(raw(400, json.dumps({"error": error}).encode()))) as server:
        assert ask(policy_of(server.url), request()) == {"a": Reply(text="", ended="context_exhausted")}
    with hostile(sends(raw(400, json.dumps({"object": "error", **error}).encode()))) as server:
        assert ask(policy_of(server.url), request())["a"].ended == "context_exhausted"


# ---- its thread ------------------------------------------------------------------------------------------------------
def test_a_conversation_that_is_released_gets_no_reply_and_the_thread_ends_with_the_last() -> None:
    with hostile(_stalls) as server:
        policy = policy_of(server.url)
        policy.submit(request("a"))
        policy.submit(request("b"))
        assert len(threads()) == 1
        policy.release("a")
        assert len(threads()) == 1
        policy.release("b")
        assert not threads() and policy.collect() == []


def test_the_server_is_told_that_a_released_conversation_wants_no_reply() -> None:
    left = threading.Event()

    def answer(connection: socket.socket, body: dict[str, Any]) -> None:
        if not connection.recv(1):  # closed
            left.set()

    with hostile(answer) as server:
        policy = policy_of(server.url, patience=Patience(timeout=20))
        policy.submit(request("a"))
        policy.submit(request("b"))
        while len(server.requests) < 2:
            time.sleep(0.01)
        policy.release("a")
        assert left.wait(5)
        policy.release("b")


def test_an_interrupted_rollout_leaves_no_thread() -> None:
    with hostile(_stalls) as server:
        policy = policy_of(server.url)
        calls = []

        def interrupted() -> list[tuple[str, Reply]]:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return EndpointPolicy.collect(policy)

        policy.collect = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            list(roll_out([episode(n) for n in range(3)], policy))
    assert not threads()


# ---- the project's own server ----------------------------------------------------------------------------------------
def says_the_sum(text: str) -> str:
    """What a model would say that plays the counting game: its target and sum stand in what it reads."""
    target = int(text.rsplit("Reach ", 1)[1].split(".")[0])
    total = int(text.rsplit("The sum is ", 1)[1].split(".")[0]) if "The sum is " in text else 0
    if total == target:
        return f"Thought: It is there.\nFinal Answer: {target}"
    return f"Thought: {target - total} are missing.\nAction: add {min(2, target - total)}\nObservation: I win."


def test_episodes_are_played_against_the_projects_own_server(model: ServedModel) -> None:
    with serving(model, say=says_the_sum, max_length=2048) as server:
        policy = policy_of(f"{server.url}/v1", patience=Patience(), max_new_tokens=200, capacity=4)
        outcomes = list(roll_out([episode(number) for number in range(6)], policy))
    assert len(outcomes) == 6 and all(outcome.success for outcome in outcomes)
    assert all(outcome.tokens > outcome.steps and outcome.prompt_tokens > 0 for outcome in outcomes)
    assert not any("Observation" in turn.content for one in outcomes for turn in one.turns if turn.role == "assistant")
    assert not threads()


def test_a_conversation_that_the_projects_own_server_finds_too_long_is_exhausted(model: ServedModel) -> None:
    with serving(model, say=lambda text: "Action: dance", max_length=300) as server:
        policy = policy_of(f"{server.url}/v1", patience=Patience(), max_new_tokens=20)
        (outcome,) = roll_out([episode(0, max_steps=40)], policy)
    assert outcome.terminate_reason == "context_exhausted" and outcome.steps > 0


def test_a_starter_family_is_played_against_the_projects_own_server(model: ServedModel) -> None:
    spec = registry.get("starter_math")
    with serving(model, say=lambda text: "Thought: One.\nAction: 1 + 1", max_length=4096) as server:
        policy = policy_of(f"{server.url}/v1", patience=Patience(), max_new_tokens=30)
        outcomes = list(roll_out(episodes_of(spec, ReAct(), 2), policy))
    assert [outcome.terminate_reason for outcome in outcomes] == ["max_steps"] * 2


@pytest.mark.parametrize(
    "text",
    ["http://host/v1", "http://host/v1#", "ftp://host/v1#m", "http://#m", "http://[::1/v1#m", "http://host:x/v1#m",
     "http://host/v1?a=1#m", "https://me:secret@host/v1#m", "host/v1#m"],
)  # fmt: skip
def test_what_names_no_endpoint_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(AgentBankError, match=r"http://HOST:PORT/v1#MODEL|OPENAI_API_KEY") as told:
        Endpoint.parse(text)
    assert "secret" not in str(told.value) and "\n" not in str(told.value)


def test_an_endpoint_is_called_as_the_last_part_of_its_model() -> None:
    endpoint = Endpoint.parse("https://host:8443/v1/#meta-llama/Llama-3-8B")
    assert (endpoint.base_url, endpoint.model, endpoint.name) == (
        "https://host:8443/v1", "meta-llama/Llama-3-8B", "Llama-3-8B"
    )  # fmt: skip
