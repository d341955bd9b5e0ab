"""What is wrong with a request is told in OpenAI's shape, and harms nobody."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from agentbank_jax.serving.errors import ApiError
from agentbank_jax.serving.limits import Limits, read_body
from agentbank_jax.serving.schemas import ChatRequest, CompletionRequest
from agentbank_jax.serving.served_model import ServedModel
from tests.serving.running import Running, number_of, serving

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello."}]
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "search"}}
NAMELESS = {"type": "function", "function": {"name": "a b"}}
NESTED: Any = 1
for _ in range(300):
    NESTED = [{"a": NESTED}]


def chat(**others: Any) -> tuple[str, bytes]:
    return CHAT, json.dumps({"messages": HELLO, **others}).encode()


def messages(*given: Any) -> tuple[str, bytes]:
    return chat(messages=list(given))


def completion(prompt: Any, **others: Any) -> tuple[str, bytes]:
    return COMPLETIONS, json.dumps({"prompt": prompt, **others}).encode()


# Name → path and body, status, and the parameter that the error names.
MALFORMED: dict[str, tuple[tuple[str, bytes], int, str | None]] = {
    "no body": ((CHAT, b""), 400, None),
    "no JSON": ((CHAT, b'{"messages": ['), 400, None),
    "no UTF-8": ((CHAT, b'{"messages": "\xff\xfe\xfd"}'), 400, None),
    "a list": ((CHAT, b"[]"), 400, None),
    "NaN": ((CHAT, b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}'), 400, None),
    "infinite": ((CHAT, b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}'), 400, "temperature"),
    "deep": ((CHAT, b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), 400, None),
    "deep in a tool": (chat(tools=NESTED), 400, "tools[0].type"),
    "long number": ((CHAT, b'{"messages": ' + b"1" * 10_000 + b"}"), 400, None),
    "half a pair": ((CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}'), 400, "messages[0].content"),
    "half a pair as a name": ((CHAT, b'{"\\udc00": 1, "messages": []}'), 400, None),
    "unknown model": (chat(model="gpt-9"), 404, "model"),
    "model is a number": (chat(model=3), 400, "model"),
    "no messages": ((CHAT, b"{}"), 400, "messages"),
    "empty messages": (messages(), 400, "messages"),
    "messages are text": (chat(messages="Hello."), 400, "messages"),
    "a message is text": (messages("Hello."), 400, "messages[0]"),
    "unknown role": (messages({"role": "robot", "content": "x"}), 400, "messages[0].role"),
    "no role": (messages({"content": "x"}), 400, "messages[0].role"),
    "no content": (messages({"role": "user"}), 400, "messages[0].content"),
    "content is a number": (messages({"role": "user", "content": 3}), 400, "messages[0].content"),
    "an image": (
        messages({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        400,
        "messages[0].content[0]",
    ),
    "system in the middle": (messages(*HELLO, {"role": "system", "content": "x"}), 400, "messages[1].role"),
    "assistant first": (messages({"role": "assistant", "content": "x"}, *HELLO), 400, "messages[0].role"),
    "assistant last": (messages(*HELLO, {"role": "assistant", "content": "x"}), 400, "messages"),
    "system alone": (messages({"role": "system", "content": "x"}), 400, "messages"),
    "answer without a call": (
        messages(*HELLO, {"role": "tool", "tool_call_id": "c1", "content": "x"}),
        400,
        "messages[1].tool_call_id",
    ),
    "arguments are no JSON": (
        messages(
            *HELLO,
            {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "a", "arguments": "{"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "x"},
        ),
        400,
        "messages[1].tool_calls[0].function.arguments",
    ),
    "two calls at once": (
        messages(*HELLO, {"role": "assistant", "tool_calls": [CALL, CALL]}, *HELLO),
        400,
        "messages[1].tool_calls",
    ),
    "hot": (chat(temperature="hot"), 400, "temperature"),
    "negative temperature": (chat(temperature=-1), 400, "temperature"),
    "top_p of nothing": (chat(top_p=0), 400, "top_p"),
    "n of nothing": (chat(n=0), 400, "n"),
    "huge n": (chat(n=10**9), 400, "n"),
    "n is true": (chat(n=True), 400, "n"),
    "negative length": (chat(max_tokens=-5), 400, "max_tokens"),
    "length of nothing": (chat(max_tokens=0), 400, "max_tokens"),
    "huge seed": (chat(seed=10**30), 400, "seed"),
    "empty stop": (chat(stop=""), 400, "stop"),
    "many stops": (chat(stop=["x"] * 17), 400, "stop"),
    "stop is a number": (chat(stop=[1]), 400, "stop[0]"),
    "many top logprobs": (chat(logprobs=True, top_logprobs=99), 400, "top_logprobs"),
    "top logprobs alone": (chat(top_logprobs=3), 400, "top_logprobs"),
    "misspelt": (chat(temprature=1), 400, "temprature"),
    "not built": (chat(frequency_penalty=0.5), 400, "frequency_penalty"),
    "JSON mode": (chat(response_format={"type": "json_object"}), 400, "response_format"),
    "tool without a name": (chat(tools=[{"type": "function", "function": {}}]), 400, "tools[0].function.name"),
    "tool of another name": (chat(tools=[NAMELESS]), 400, "tools[0].function.name"),
    "two tools of one name": (chat(tools=[TOOL, TOOL]), 400, "tools"),
    "unknown tool": (
        chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "serch"}}),
        400,
        "tool_choice",
    ),
    "unknown tool choice": (chat(tools=[TOOL], tool_choice="maybe"), 400, "tool_choice"),
    "call without tools": (chat(tool_choice="required"), 400, "tool_choice"),
    "no choice": (chat(guided_choice=[]), 400, "guided_choice"),
    "empty choice": (chat(guided_choice=[" "]), 400, "guided_choice"),
    "too long": (messages({"role": "user", "content": "word " * 5000}), 400, "messages"),
    "no prompt": ((COMPLETIONS, b"{}"), 400, "prompt"),
    "empty prompts": (completion([]), 400, "prompt"),
    "prompt of no ids": (completion([[]]), 400, "prompt"),
    "mixed prompt": (completion(["x", 3]), 400, "prompt[1]"),
    "unknown id": (completion([511, 512]), 400, "prompt"),
    "negative id": (completion([-1]), 400, "prompt[0]"),
    "prompt is a number": (completion(3), 400, "prompt"),
    "many replies": (completion(["x"] * 65, n=2), 400, "prompt"),
    "more than ever fit": (completion("x", n=100), 400, "n"),
    "echo of logprobs in pieces": (completion("x", stream=True, echo=True, logprobs=1), 400, "stream"),
    "best of": (completion("x", best_of=4), 400, "best_of"),
}  # fmt: skip


@pytest.fixture(scope="module")
def small(model: ServedModel) -> Any:
    with serving(model, limits=Limits(queue=8, max_body_bytes=300_000)) as running:
        yield running


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_told_what_is_wrong(small: Running, name: str) -> None:
    (path, body), status, param = MALFORMED[name]
    response = small.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert error["param"] == param, error
    assert 10 < len(error["message"]) < 400 and "Traceback" not in response.text
    assert not small.service.thread.under_way


def test_after_all_of_them_the_server_replies_as_before(small: Running) -> None:
    content = small.chat("Find the cup.").json()["choices"][0]["message"]["content"]
    tokenizer = small.service.model.tokenizer
    assert content == number_of(tokenizer.decode(small.engine.read[-1].ids))


def test_harmless_and_neutral_parameters_are_taken(small: Running) -> None:
    response = small.chat(
        user="me", metadata={"a": "b"}, store=True, frequency_penalty=0, presence_penalty=0.0, logit_bias={},
        response_format={"type": "text"}, parallel_tool_calls=False, temperature=None, stop=None, max_tokens=None,
    )  # fmt: skip
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", CHAT, 405), ("DELETE", "/v1/models", 405)]
)
def test_an_unknown_path_or_method_is_told_so(small: Running, method: str, path: str, status: int) -> None:
    response = small.client.request(method, path)
    assert response.status_code == status and path in response.json()["error"]["message"]


def test_another_content_type_is_refused(small: Running) -> None:
    """What a page of another origin can make a browser send without asking is not taken."""
    response = small.client.post(CHAT, content=chat()[1], headers={"Content-Type": "text/plain"})
    assert response.status_code == 415 and "application/json" in response.json()["error"]["message"]


def test_a_large_body_is_refused_whether_or_not_its_length_is_announced(small: Running) -> None:
    large = json.dumps({"messages": [{"role": "user", "content": "x" * 400_000}]}).encode()
    headers = {"Content-Type": "application/json"}
    announced = small.client.post(CHAT, content=large, headers=headers)
    chunked = small.client.post(CHAT, content=iter([large[:200_000], large[200_000:]]), headers=headers)
    for response in (announced, chunked):
        assert response.status_code == 413 and response.json()["error"]["code"] == "body_too_large"


def test_no_more_of_a_body_is_read_than_the_limit() -> None:
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield b"x" * 1000

    with pytest.raises(ApiError):
        asyncio.run(read_body(chunks(), None, 10_000))
    assert read == 11_000


def test_a_key_is_needed_where_one_is_set(model: ServedModel) -> None:
    with serving(model, api_key="secret") as server:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "secret"},
            {"Authorization": "Bearer"},
        ):
            for path in ("/v1/models", "/metrics", "/v1/nothing"):
                response = server.client.get(path, headers=headers)
                assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
        assert server.chat().status_code == 401
        assert server.client.get("/healthz").status_code == 200
        assert server.chat().json()["error"]["type"] == "authentication_error"
        good = httpx2.Headers({"Authorization": "Bearer secret"})
        assert server.client.get("/v1/models", headers=good).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:8000", 200), ("127.0.0.1:1", 200), ("[::1]:8000", 200), ("evil.example", 403),
     ("evil.example:8000", 403), ("127.0.0.1.evil.example", 403), ("10.0.0.1", 403), ("", 403)],
)  # fmt: skip
def test_without_a_key_only_names_of_this_machine_are_answered(small: Running, host: str, status: int) -> None:
    response = small.client.get("/v1/models", headers={"Host": host})
    assert response.status_code == status
    assert status == 200 or response.json()["error"]["code"] == "host_not_allowed"


def test_the_table_names_only_parameters_that_exist() -> None:
    known = {*ChatRequest.model_fields, *CompletionRequest.model_fields, "temprature", "frequency_penalty"}
    known |= {"response_format", "best_of"}
    params = {param.partition("[")[0] for _, _, param in MALFORMED.values() if param}
    assert params <= known and len(MALFORMED) >= 40


def test_of_what_a_value_might_be_the_complaint_is_that_of_its_own_type(small: Running) -> None:
    error = small.chat(stop=["x"] * 17).json()["error"]
    assert "at most 16 items" in error["message"]
