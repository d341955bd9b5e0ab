"""The requests of OpenAI's interface, as far as they are supported.

Parameters that would change an answer and are not built are refused unless they have the value that changes nothing;
what only tells the service something about its user is ignored.
"""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from agentbank_jax.errors import did_you_mean
from agentbank_jax.generation.requests import MAX_TOP_LOGPROBS
from agentbank_jax.serving.errors import ApiError, invalid
from agentbank_jax.serving.limits import MAX_REPLIES

# Told to the service about its user or its books; no answer depends on them.
_IGNORED = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("parallel_tool_calls", "verbosity", "request_id", "priority"),
}
# Not built, and the values with which nothing is asked of them; None always is one.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "best_of": (1,),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "skip_special_tokens": (True,),
    "reasoning_effort": ("none",),
}

Stop = Annotated[list[str], Field(max_length=16)]


class _Part(BaseModel):
    """A message, or what stands in one: keys that are not read do no harm."""

    model_config = ConfigDict(strict=True, extra="ignore")


class FunctionCall(_Part):
    name: str
    arguments: str


class ToolCall(_Part):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(_Part):
    """One message; `content` as text, or as a list of parts of which only texts are supported."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(_Part):
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(_Part):
    type: Literal["function"]
    function: Function


class NamedFunction(_Part):
    name: str


class NamedTool(_Part):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(_Part):
    include_usage: bool = False


class SamplingRequest(BaseModel):
    """What both interfaces have in common.

    Fields:
      n: replies to each prompt.
      temperature, top_p, top_k, min_p, seed: as in `SamplingParams`; without a seed each request draws its own.
      guided_choice: the reply is the most likely of these.
    """

    model_config = ConfigDict(strict=True, extra="allow")

    model: str | None = None
    n: int = Field(1, ge=1, le=MAX_REPLIES)
    max_tokens: int | None = Field(None, ge=0, lt=1 << 31)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=1 << 31)
    min_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | Stop | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    guided_choice: list[str] | None = Field(None, min_length=1, max_length=1024)

    @property
    def include_usage(self) -> bool:
        """Whether the last piece of a stream tells the tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(SamplingRequest):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, lt=1 << 31)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    tools: list[Tool] | None = Field(None, max_length=256)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None


TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class CompletionRequest(SamplingRequest):
    """`POST /v1/completions`.

    Fields:
      add_special_tokens: BOS comes before a prompt that is a text; one of ids is taken as it is.
    """

    prompt: str | list[str] | list[TokenId] | list[list[TokenId]]
    echo: bool = False
    add_special_tokens: bool = True
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)


_Request = TypeVar("_Request", bound=SamplingRequest)


def read_request(kind: type[_Request], values: Mapping[str, Any]) -> _Request:
    """Reads a request; a parameter that is null is one that is not given.

    Raises:
      ApiError: 400 that names the first parameter that is wrong, unknown or not supported.
    """
    # What clients send where they leave a parameter open.
    given = {name: value for name, value in values.items() if value is not None}
    try:
        request = kind.model_validate(given)
    except pydantic.ValidationError as error:
        raise _as_api_error(error, given) from None
    for name, value in (request.model_extra or {}).items():
        if name in _IGNORED or any(value == each and _same_kind(value, each) for each in _NEUTRAL.get(name, ())):
            continue
        if name in _NEUTRAL:
            shown = ", ".join(map(repr, _NEUTRAL[name]))
            raise invalid(
                f"{name} is not supported; leave it out, or set it to {shown}.", name, "unsupported_parameter"
            )
        raise invalid(f"{name} is not supported.{did_you_mean(name, kind.model_fields)}", name, "unsupported_parameter")
    return request


def _same_kind(value: object, other: object) -> bool:
    return isinstance(value, bool) == isinstance(other, bool)


def _as_api_error(error: pydantic.ValidationError, given: Mapping[str, Any]) -> ApiError:
    errors = error.errors(include_url=False, include_context=False)
    # Of a union each alternative has its complaint; the one that got furthest into the value says the most, and of
    # two one that has the value's type.
    first = max(
        errors,
        key=lambda each: (
            each["loc"][0] == errors[0]["loc"][0],
            len(_path(each["loc"], given)),
            not each["type"].endswith("_type"),
        ),
    )
    path = _path(first["loc"], given)
    param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    if first["type"] == "missing":
        return invalid(f"{param} is missing.", param, "missing_required_parameter")
    message = first["msg"][0].lower() + first["msg"][1:]
    return invalid(f"{param}: {reprlib.repr(first['input'])}: {message}.", param, "invalid_value")


def _path(loc: tuple[int | str, ...], given: Any) -> list[int | str]:
    """The part of a location that leads into the value: pydantic puts names of a union's alternatives between."""
    path: list[int | str] = []
    for step in loc:
        if isinstance(given, dict) and isinstance(step, str):
            if step not in given:
                # A missing key is the last step; the name of an alternative is followed by more.
                if step == loc[-1]:
                    path.append(step)
                continue
            given = given[step]
        elif isinstance(given, list) and isinstance(step, int) and step < len(given):
            given = given[step]
        elif path or isinstance(given, list):
            continue
        path.append(step)
    return path
