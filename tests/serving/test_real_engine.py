"""The server with the engine of this project, on the tiny made model."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pytest

from agentbank_jax.generation.engine import Engine
from agentbank_jax.models import forward
from agentbank_jax.serving.completions import CompletionAnswer
from agentbank_jax.serving.served_model import ServedModel
from agentbank_jax.serving.token_texts import text_offsets
from agentbank_jax.trajectories.schema import Trajectory, Turn
from tests.serving.running import Running, serving


@pytest.fixture(scope="module")
def real(model: ServedModel) -> Iterator[Running]:
    engine = Engine(
        model.config,
        model.params,
        stop_ids=model.template.stop_ids,
        tokenizer=model.tokenizer,
        slots=4,
        max_length=192,
    )
    with serving(model, engine) as running:
        yield running


def ask(server: Running, messages: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    body = {"messages": messages, "temperature": 0, "max_tokens": 12, **others}
    response = server.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    return response.json()


def logprobs_of(model: ServedModel, rows: list[list[int]]) -> list[np.ndarray]:
    """The log-probability of each token of some rows from its second on, in one call of one shape."""
    tokens = np.zeros((3, 64), np.int32)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = row
    positions = np.broadcast_to(np.arange(64, dtype=np.int32), tokens.shape)
    logits, _ = jax.jit(forward.apply, static_argnums=0)(model.config, model.params, tokens, positions)
    logprobs = np.asarray(jax.nn.log_softmax(logits))
    return [logprobs[index, np.arange(len(row) - 1), row[1:]] for index, row in enumerate(rows)]


def test_a_prompts_log_probabilities_are_those_of_the_model(real: Running, model: ServedModel) -> None:
    body = {"prompt": "Find the cup and say where it is.", "echo": True, "logprobs": 3, "max_tokens": 0}
    told = real.post("/v1/completions", body).json()["choices"][0]["logprobs"]
    assert model.tokenizer.bos_id is not None
    (expected,) = logprobs_of(model, [[model.tokenizer.bos_id, *model.tokenizer.encode(str(body["prompt"]))]])
    np.testing.assert_allclose(told["token_logprobs"][1:], expected, atol=1e-4)


def test_no_token_of_a_conversation_is_read_twice(real: Running, model: ServedModel) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Find the lamp. " * 3}]
    new = 0
    real.wait_until_idle()
    before = real.engine.stats.prefilled
    for turn in range(4):
        body = ask(real, messages)
        usage = body["usage"]
        observed = f"Observation: {turn} cups on the shelf"
        if turn:
            assert usage["prompt_tokens_details"]["cached_tokens"] >= usage["prompt_tokens"] - new - 2
        messages += [body["choices"][0]["message"], {"role": "user", "content": observed}]
        new = len(model.template.continuation_ids(observed))
    real.wait_until_idle()
    read = real.engine.stats.prefilled - before
    first = len(model.template.prompt_ids([Turn.user(messages[0]["content"])]))
    # The last observation was not sent. A pending token and a stop token a turn come with the new ones.
    most = first + sum(
        len(model.template.continuation_ids(f"Observation: {t} cups on the shelf")) + 2 for t in range(3)
    )
    assert read <= most


def test_replies_are_the_same_alone_and_in_a_crowd_streamed_or_not(real: Running) -> None:
    def said(number: int, stream: bool) -> str:
        messages = [{"role": "user", "content": f"Find the cup {number}."}]
        body = {"messages": messages, "temperature": 1, "seed": number, "max_tokens": 12, "stream": stream}
        response = real.post("/v1/chat/completions", body)
        if not stream:
            return response.json()["choices"][0]["message"]["content"]
        text = response.text
        pieces = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
        return "".join(piece["choices"][0]["delta"].get("content", "") for piece in pieces)

    alone = [said(number, False) for number in range(12)]
    assert len(set(alone)) == 12
    with ThreadPoolExecutor(24) as pool:
        for stream in (False, True):
            assert list(pool.map(lambda number: said(number, stream), range(12))) == alone  # noqa: B023


def test_a_seed_gives_the_same_reply_again_and_no_seed_another(real: Running) -> None:
    messages = [{"role": "user", "content": "Find the key."}]
    first, again = [ask(real, messages, temperature=1, seed=5, n=2) for _ in range(2)]
    assert [choice["message"] for choice in first["choices"]] == [choice["message"] for choice in again["choices"]]
    assert first["choices"][0]["message"] != first["choices"][1]["message"]
    drawn = {ask(real, messages, temperature=1)["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(drawn) > 1


def test_a_guided_choice_is_the_likeliest_of_the_listed(real: Running, model: ServedModel) -> None:
    choices = ["go to desk 1", "take cup from shelf", "look"]
    messages = [{"role": "user", "content": "Act."}]
    body = ask(real, messages, guided_choice=choices, logprobs=False)
    prompt = model.template.prompt_ids([Turn.user("Act.")])
    scored = logprobs_of(model, [[*prompt, *reply_ids(model, choice)] for choice in choices])
    scores = [float(each[len(prompt) - 1 :].sum()) for each in scored]
    assert body["choices"][0]["message"]["content"] == choices[int(np.argmax(scores))]


def reply_ids(model: ServedModel, reply: str) -> list[int]:
    """A reply's ids within a conversation, its stop token at the end."""
    turns = (Turn.user("Act."), Turn.assistant(reply))
    encoded = model.template.encode(Trajectory(id="x", task="x", turns=turns))
    return encoded.tokens[encoded.trained].tolist()


def test_a_demanded_call_is_made_by_a_model_that_knows_none(real: Running) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"properties": {"query": {"type": "string"}}}}}
        for name in ("search", "look_up")
    ]
    body = ask(real, [{"role": "user", "content": "Go."}], tools=tools, tool_choice="required")
    (call,) = body["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] in ("search", "look_up") and body["choices"][0]["finish_reason"] == "tool_calls"


def test_no_extreme_of_a_parameter_brings_the_engine_down(real: Running) -> None:
    """Each value alone is one that a request may have."""
    extremes: dict[str, list[Any]] = {
        "temperature": [1e-300, 1e-40, 100],
        "top_p": [1e-300, 1],
        "top_k": [-1, 2**31 - 1],
        "min_p": [1e-9, 1],
        "seed": [-(2**63), 2**63 - 1],
        "max_tokens": [1, 2**31 - 1],
        "stop": ["\ufffd", "é" * 1000],
        "guided_choice": [["same", "same"], ["x " * 2000, "y"]],
        "messages": [[{"role": "user", "content": ""}], [{"role": "user", "content": "word " * 60}]],
    }
    bodies = [
        {"messages": [{"role": "user", "content": "Go."}], "max_tokens": 5, "seed": 3, name: value}
        | {"logprobs": name != "guided_choice"}
        for name, values in extremes.items()
        for value in values
    ]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda body: real.post("/v1/chat/completions", body), bodies))
    for body, response in zip(bodies, responses, strict=True):
        too_long = body.get("guided_choice") == ["x " * 2000, "y"]
        assert response.status_code == (400 if too_long else 200), (body, response.text)
        assert "NaN" not in response.text and "Infinity" not in response.text
    real.wait_until_idle()
    assert real.client.get("/healthz").status_code == 200 and real.engine.load().running == 0


TOOL = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


@pytest.mark.parametrize("names", [["search"], ["search", "look_up"]])
def test_a_demanded_call_does_not_count_its_own_reading_as_cached(real: Running, names: list[str]) -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": TOOL}} for name in names]
    messages = [{"role": "user", "content": f"{' and '.join(names)} once"}]
    answer = ask(real, messages, tools=tools, tool_choice="required", max_tokens=4)
    assert answer["choices"][0]["message"]["tool_calls"]
    usage = answer["usage"]
    # The instruction may be known from another request, what the user says is not.
    assert usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"] - 10


@pytest.mark.parametrize("temperature", [0, 1, 2.5])
def test_a_streamed_completion_has_the_text_tokens_and_offsets_of_the_whole_one(
    real: Running, temperature: float
) -> None:
    for seed in range(12):
        body = {"prompt": "a  ", "max_tokens": 24, "temperature": temperature, "seed": seed, "logprobs": 1}
        whole = real.post("/v1/completions", body).json()["choices"][0]
        lines = real.post("/v1/completions", body | {"stream": True}).text.splitlines()
        pieces = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {")]
        assert "".join(piece["text"] for piece in pieces) == whole["text"]
        for name, told in whole["logprobs"].items():
            assert [each for piece in pieces if piece["logprobs"] for each in piece["logprobs"][name]] == told


def test_a_completion_keeps_every_space_that_it_begins_with(model: ServedModel) -> None:
    answer = CompletionAnswer.__new__(CompletionAnswer)
    answer._tokenizer = model.tokenizer
    (space,) = [token for token in range(3, model.tokenizer.vocab_size) if model.tokenizer.piece(token) == " "]
    word = model.tokenizer.encode("cup")[0]
    assert model.tokenizer.bos_id is not None
    for ids, text in (([space], " "), ([space, space], "  "), ([space, word], "  cup"), ([word], " cup"),
                      ([model.tokenizer.bos_id, word], " cup"), ([], "")):  # fmt: skip
        assert answer._with_space(ids, model.tokenizer.decode(ids)) == text


def test_offsets_go_on_behind_an_unknown_character(model: ServedModel) -> None:
    ids = [*model.tokenizer.encode("cup"), 0, *model.tokenizer.encode("key")]
    text = model.tokenizer.decode(ids)
    offsets = text_offsets(model.tokenizer, ids, text)
    assert text[offsets[-1] :].strip() == model.tokenizer.piece(ids[-1]).strip()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "a", "logprobs": 1}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "logprobs": True}),
    ],
)
def test_log_probabilities_of_a_guided_choice_are_refused_and_not_left_out(
    real: Running, path: str, body: dict[str, Any]
) -> None:
    response = real.post(path, {**body, "guided_choice": ["x", "y"]})
    assert response.status_code == 400 and response.json()["error"]["param"] == "logprobs"
