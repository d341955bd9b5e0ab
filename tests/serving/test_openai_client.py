"""The `openai` package as a client."""

import openai
import pytest

from agentbank_jax.serving.limits import Limits
from agentbank_jax.serving.served_model import ServedModel
from tests.serving.running import Running, serving
from tests.serving.test_tools import SEARCH, act, as_openai


def client_of(server: Running, **others: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, **others)  # type: ignore[arg-type]


def test_plain(server: Running) -> None:
    client = client_of(server)
    (model,) = client.models.list().data
    reply = client.chat.completions.create(model=model.id, messages=[{"role": "user", "content": "Go."}], temperature=0)
    assert reply.choices[0].message.content and reply.choices[0].finish_reason == "stop"
    assert reply.usage and reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
    completion = client.completions.create(model=model.id, prompt="Find", logprobs=1, max_tokens=3)
    assert completion.choices[0].logprobs and len(completion.choices[0].logprobs.tokens or ()) == 3


def test_streaming(server: Running) -> None:
    client = client_of(server)
    with client.chat.completions.stream(
        model="made-tiny", messages=[{"role": "user", "content": "Go."}], stream_options={"include_usage": True}
    ) as stream:
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    whole = client.chat.completions.create(model="made-tiny", messages=[{"role": "user", "content": "Go."}])
    assert said == final.choices[0].message.content == whole.choices[0].message.content
    assert final.usage == whole.usage


@pytest.mark.parametrize("stream", [False, True])
def test_tools(model: ServedModel, stream: bool) -> None:
    with serving(model, say=act) as server:
        client = client_of(server)
        messages: list = [{"role": "user", "content": "Where is the lamp?"}]
        tools: list = as_openai(SEARCH)
        for _ in range(2):
            if stream:
                with client.chat.completions.stream(model="made-tiny", messages=messages, tools=tools) as events:
                    for _event in events:
                        pass
                    choice = events.get_final_completion().choices[0]
            else:
                choice = client.chat.completions.create(model="made-tiny", messages=messages, tools=tools).choices[0]  # type: ignore[assignment]
            messages.append(choice.message.model_dump(exclude_none=True))
            if choice.finish_reason != "tool_calls":
                break
            assert choice.message.tool_calls and choice.message.tool_calls[0].function.name == "search"
            messages.append({"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "in the hall"})
        assert choice.message.content == "in the hall"
        first, second = [list(request.ids) for request in server.engine.read]
        assert second[: len(first)] == first


def test_errors_become_the_packages_own(model: ServedModel) -> None:
    with serving(model, limits=Limits(queue=0), slots=1, api_key="secret") as server:
        with pytest.raises(openai.AuthenticationError):
            client_of(server).models.list()
        client = client_of(server, default_headers={"Authorization": "Bearer secret"})
        with pytest.raises(openai.NotFoundError, match="made-tiny"):
            client.chat.completions.create(model="made-tinny", messages=[{"role": "user", "content": "Go."}])
        with pytest.raises(openai.BadRequestError) as told:
            client.chat.completions.create(
                model="made-tiny", messages=[{"role": "user", "content": "Go."}], presence_penalty=1
            )
        assert told.value.param == "presence_penalty" and told.value.code == "unsupported_parameter"
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="made-tiny", messages=[{"role": "user", "content": "Go."}], n=2)
