"""What clients of OpenAI's interface rely on."""

import json
from typing import Any

import pytest

from agentbank_jax.serving.served_model import ServedModel
from agentbank_jax.trajectories.schema import Turn
from tests.serving.fake_engine import logprob_of
from tests.serving.running import Running, number_of, serving


def events(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def expected_reply(model: ServedModel, content: str) -> str:
    return number_of(model.tokenizer.decode(model.template.prompt_ids([Turn.user(content)])))


def test_models_are_listed_and_found(server: Running) -> None:
    (model,) = server.client.get("/v1/models").json()["data"]
    assert model["id"] == "made-tiny" and model["object"] == "model"
    assert server.client.get("/v1/models/made-tiny").json() == model
    assert server.client.get("/v1/models/other").status_code == 404


def test_a_chat_reply_is_that_of_the_templates_prompt(server: Running, model: ServedModel) -> None:
    body = server.chat("Where is the key?").json()
    assert body["object"] == "chat.completion" and body["model"] == "made-tiny"
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected_reply(model, "Where is the key?")}
    assert choice["finish_reason"] == "stop" and choice["index"] == 0
    prompt = model.template.prompt_ids([Turn.user("Where is the key?")])
    usage = body["usage"]
    assert usage["prompt_tokens"] == len(prompt)
    assert usage["completion_tokens"] == len(model.tokenizer.encode(choice["message"]["content"])) + 1
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_says_the_same_as_an_answer_in_one_piece(server: Running, n: int) -> None:
    whole = server.chat("Go.", n=n).json()
    streamed = events(server.chat("Go.", n=n, stream=True, stream_options={"include_usage": True}).text)
    assert streamed[-1]["choices"] == [] and streamed[-1]["usage"] == whole["usage"]
    assert all(event["usage"] is None and event["id"] == streamed[0]["id"] for event in streamed[:-1])
    assert len(streamed) > 3 * n  # on a busy machine several tokens come in one piece
    for index in range(n):
        pieces = [event["choices"][0] for event in streamed[:-1] if event["choices"][0]["index"] == index]
        assert pieces[0]["delta"] == {"role": "assistant", "content": ""}
        said = "".join(piece["delta"].get("content", "") for piece in pieces)
        assert said == whole["choices"][index]["message"]["content"]
        assert [piece["finish_reason"] for piece in pieces if piece["finish_reason"]] == ["stop"]


def test_white_space_around_a_reply_is_told_in_neither_form(model: ServedModel) -> None:
    with serving(model, say=lambda _: "\n \n Go  on \n\n") as server:
        assert server.chat().json()["choices"][0]["message"]["content"] == "Go  on"
        pieces = [event["choices"][0]["delta"] for event in events(server.chat(stream=True).text)]
        assert "".join(piece.get("content", "") for piece in pieces) == "Go  on"


def test_length_and_stop_strings_end_a_reply(server: Running, model: ServedModel) -> None:
    choice = server.chat("Go.", max_completion_tokens=3).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert model.tokenizer.encode(expected_reply(model, "Go."))[:3] == model.tokenizer.encode(
        choice["message"]["content"]
    )
    choice = server.chat("Go.", stop="\nFinal").json()["choices"][0]
    assert choice["message"]["content"] == "Thought: I count." and choice["finish_reason"] == "stop"
    assert server.chat("Go.", stop=["count", "\nFinal"]).json()["choices"][0]["message"]["content"] == "Thought: I"


def test_sampling_parameters_reach_the_engine(server: Running) -> None:
    server.chat("Go.", temperature=0.5, top_p=0.9, top_k=7, min_p=0.1, seed=11, n=2, stop=["x"], max_tokens=9)
    first, second = server.engine.read[-2:]
    sampling = first.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 7, 0.1)
    assert (sampling.seed, second.sampling.seed) == (11, 12) and sampling.stop == ("x",)
    assert sampling.max_new_tokens == 9 and not first.conversation
    server.chat("Go.")
    server.chat("Go.")
    first, second = server.engine.read[-2:]
    assert first.sampling.temperature == 1 and first.sampling.seed != second.sampling.seed


def test_chat_logprobs_tell_each_token(server: Running, model: ServedModel) -> None:
    choice = server.chat("Go.", logprobs=True, top_logprobs=2).json()["choices"][0]
    told = choice["logprobs"]["content"]
    ids = [*model.tokenizer.encode(choice["message"]["content"]), model.template.stop_ids[0]]
    assert [each["logprob"] for each in told] == [logprob_of(token) for token in ids]
    assert "".join(each["token"] for each in told[:-1]).strip() == choice["message"]["content"]
    assert [len(each["top_logprobs"]) for each in told] == [2] * len(ids)
    assert bytes(b for each in told[:-1] for b in each["bytes"]).decode().strip() == choice["message"]["content"]
    streamed = events(server.chat("Go.", logprobs=True, top_logprobs=2, stream=True).text)
    pieces = [event["choices"][0]["logprobs"] for event in streamed]
    assert [each for piece in pieces if piece for each in piece["content"]] == told


def test_a_guided_choice_is_one_of_the_choices(server: Running, model: ServedModel) -> None:
    choices = ["go to desk", "take cup from shelf"]
    body = server.chat("Act.", guided_choice=choices).json()
    assert body["choices"][0]["message"]["content"] == choices[-1] and body["choices"][0]["finish_reason"] == "stop"
    ids = server.engine.read[-1].choices
    assert [model.template.decode(each) for each in ids] == choices
    assert all(each[-1] == model.template.stop_ids[0] for each in ids)
    streamed = events(server.chat("Act.", guided_choice=choices, stream=True).text)
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in streamed) == choices[-1]


def complete(server: Running, prompt: Any, **others: Any) -> dict[str, Any]:
    response = server.post("/v1/completions", {"prompt": prompt, "temperature": 0, **others})
    assert response.status_code == 200, response.text
    return response.json()


def test_prompts_of_all_four_kinds_read_the_same_ids(server: Running, model: ServedModel) -> None:
    bos, ids = model.tokenizer.bos_id, model.tokenizer.encode("Find the cup")
    for prompt, count in (
        ("Find the cup", 1),
        (["Find the cup", "Find the cup"], 2),
        ([bos, *ids], 1),
        ([[bos, *ids]], 1),
    ):
        body = complete(server, prompt)
        assert len(body["choices"]) == count
        assert {tuple(request.ids) for request in server.engine.read[-count:]} == {(bos, *ids)}
        assert {choice["text"] for choice in body["choices"]} == {body["choices"][0]["text"]}
        assert body["usage"]["prompt_tokens"] == count * (len(ids) + 1)
    complete(server, "Find the cup", add_special_tokens=False)
    assert list(server.engine.read[-1].ids) == ids


def test_echo_with_logprobs_tells_the_prompts_tokens(server: Running, model: ServedModel) -> None:
    prompt = "Find the cup: é漢"
    choice = complete(server, prompt, echo=True, logprobs=1, max_tokens=1)["choices"][0]
    ids = list(server.engine.read[-1].ids)
    told = choice["logprobs"]
    assert choice["text"].startswith(prompt)
    assert told["token_logprobs"][0] is None and told["top_logprobs"][0] is None
    assert told["token_logprobs"][1 : len(ids)] == [logprob_of(token) for token in ids[1:]]
    assert len(told["tokens"]) == len(told["text_offset"]) == len(ids) + 1
    assert [max(top.values()) for top in told["top_logprobs"][1:]] == told["token_logprobs"][1:]
    bounds = [*told["text_offset"], len(choice["text"])]
    assert bounds == sorted(bounds) and bounds[:2] == [0, 0]
    for token, begin, end in zip(told["tokens"], bounds[:-1], bounds[1:], strict=True):
        if not token.startswith("<"):  # BOS, and parts of a character
            assert choice["text"][begin:end] in (token, token.removeprefix(" "))


def test_without_new_tokens_the_prompt_alone_is_scored(server: Running) -> None:
    choice = complete(server, "Find the cup", echo=True, logprobs=0, max_tokens=0)["choices"][0]
    assert choice["text"] == "Find the cup" and choice["finish_reason"] == "length"
    assert len(choice["logprobs"]["tokens"]) == len(server.engine.read[-1].ids)


def test_a_completion_keeps_the_space_before_it_and_streams_the_same(server: Running) -> None:
    body = complete(server, ["Find the", "Take a"], n=2, max_tokens=6)
    assert len(body["choices"]) == 4 and all(choice["text"].startswith(" ") for choice in body["choices"])
    text = server.post(
        "/v1/completions",
        {"prompt": ["Find the", "Take a"], "n": 2, "max_tokens": 6, "stream": True, "echo": True, "logprobs": None},
    ).text
    said = dict.fromkeys(range(4), "")
    for event in events(text):
        said[event["choices"][0]["index"]] += event["choices"][0]["text"]
    assert said == {
        index: ("Find the" if index < 2 else "Take a") + choice["text"] for index, choice in enumerate(body["choices"])
    }


def test_streamed_completion_logprobs_are_those_of_one_piece(server: Running) -> None:
    asked = {"prompt": "Find the", "max_tokens": 6, "logprobs": 2}
    whole = complete(server, **asked)["choices"][0]["logprobs"]
    told: dict[str, list[Any]] = {name: [] for name in whole}
    for event in events(server.post("/v1/completions", {**asked, "stream": True}).text):
        for name, values in event["choices"][0]["logprobs"].items():
            told[name] += values
    assert told == whole


def test_a_conversation_that_goes_on_keeps_the_ids_that_were_generated(model: ServedModel) -> None:
    """The reply's ids are such as no tokenizer would give for its text."""
    letters = [model.tokenizer.encode(letter)[-1] for letter in "search"]
    with serving(model) as server:
        server.engine._speak = lambda ids: [*letters, model.template.stop_ids[0]]
        messages = [{"role": "system", "content": "Act."}, {"role": "user", "content": "Find the cup."}]
        for turn, limit in enumerate((99, 3, 99)):
            body = server.post("/v1/chat/completions", {"messages": messages, "max_tokens": limit}).json()
            messages.append(body["choices"][0]["message"])
            messages.append({"role": "user", "content": f"Observation: {turn}"})
        first, second, third = [list(request.ids) for request in server.engine.read]
        stop = model.template.stop_ids[0]
        assert second == [*first, *letters, stop, *model.template.continuation_ids("Observation: 0")]
        # A reply that was cut off gets the stop token that it lacks.
        assert third == [*second, *letters[:3], stop, *model.template.continuation_ids("Observation: 1")]
        messages[2]["content"] = "otherwise"
        server.post("/v1/chat/completions", {"messages": messages})
        turns = [Turn(role=each["role"], content=each["content"]) for each in messages]
        assert list(server.engine.read[-1].ids) == model.template.prompt_ids(turns)


def test_metrics_count_what_was_done(model: ServedModel) -> None:
    with serving(model) as server:
        reply = server.chat("Go.").json()
        server.chat("Go.", temperature="hot")
        server.wait_until_idle()
        page = server.client.get("/metrics").text
        assert 'agentbank_requests_total{path="/v1/chat/completions",status="200"} 1.0' in page
        assert 'agentbank_requests_total{path="/v1/chat/completions",status="400"} 1.0' in page
        assert server.metric("agentbank_tokens_prefilled_total") == reply["usage"]["prompt_tokens"]
        assert server.metric("agentbank_tokens_generated_total") == reply["usage"]["completion_tokens"]
        assert server.metric("agentbank_time_to_first_token_seconds_count") == 1
        assert server.metric("agentbank_time_per_output_token_seconds_count") == 1
        assert server.metric("agentbank_requests_running") == server.metric("agentbank_requests_waiting") == 0
        assert server.client.get("/healthz").json() == {"status": "ok"}
