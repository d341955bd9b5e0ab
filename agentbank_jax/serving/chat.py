"""`POST /v1/chat/completions`: messages in, a message or a call of a tool out."""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.generation.requests import Delta, Generation, GenerationRequest, TokenLogprob
from agentbank_jax.serving.errors import invalid
from agentbank_jax.serving.forced_call import ForcedCall
from agentbank_jax.serving.limits import parse_json
from agentbank_jax.serving.messages import to_turns
from agentbank_jax.serving.schemas import ChatRequest, NamedTool, read_request
from agentbank_jax.serving.service import FINISH, Service, guided_choices, sampling_params, usage_of
from agentbank_jax.serving.token_texts import token_bytes, token_text
from agentbank_jax.serving.tools import Spoken, ToolSpec, read_turn, write_turn
from agentbank_jax.trajectories.schema import Trajectory, Turn

# A model that goes on to imagine what it will observe has acted.
_IMAGINED = "\nObservation:"


class ChatAnswer:
    """Replies to a conversation; see `service.Answer`."""

    def __init__(self, service: Service, body: bytes) -> None:
        """Reads a request.

        Raises:
          ApiError: on whatever is wrong with it.
        """
        asked = read_request(ChatRequest, parse_json(body))
        service.check_model(asked.model)
        self._service = service
        self._tools = _tools(asked)
        self._calls = bool(self._tools) and asked.tool_choice != "none"
        self._turns = to_turns(asked.messages, self._tools)
        try:
            self._ids = service.conversations.prompt_ids(self._turns)
        except AgentBankError as error:
            raise invalid(f"messages: {error}", "messages") from None
        if asked.top_logprobs is not None and not asked.logprobs:
            raise invalid("top_logprobs is set without logprobs; set logprobs to true.", "top_logprobs")
        if asked.max_tokens == 0:
            raise invalid("max_tokens is 0; expected at least 1.", "max_tokens")
        service.check_length(self._ids, 1, "messages")
        longest = service.thread.max_length
        self._choices = guided_choices(asked, logprobs=asked.logprobs)
        choices = tuple(_reply_ids(service, choice) for choice in self._choices)
        self.stream = asked.stream
        self.include_usage = asked.include_usage
        # What a reply with tools is, content or a call, is known at its end.
        self._streams_text = asked.stream and not self._calls and not self._choices
        self._logprobs = asked.logprobs
        self.requests: Sequence[GenerationRequest] = [
            GenerationRequest(id="", ids=self._ids, sampling=sampling, choices=choices, stream=self._streams_text)
            for sampling in sampling_params(
                asked,
                max_new_tokens=min(asked.max_completion_tokens or asked.max_tokens or longest, longest),
                logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
                more_stops=(_IMAGINED,) if self._calls else (),
            )
        ]
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": service.model.name,
        }
        self._demanded = _demanded(asked, self._tools)
        self._forced: dict[int, ForcedCall] = {}
        self._held: dict[int, str | None] = {}
        self._ended: dict[int, Generation] = {}

    def whole(self, generations: Sequence[Generation]) -> dict[str, Any]:
        choices = []
        for index, generation in enumerate(generations):
            message, finish = self._message(index, generation)
            logprobs = self._told(generation.logprobs)
            choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
        return {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
            "usage": self._usage(generations),
        }

    def first(self) -> list[dict[str, Any]]:
        return [self._piece(index, {"role": "assistant", "content": ""}) for index in range(len(self.requests))]

    def piece(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        if delta.generation is not None:
            self._ended[index] = delta.generation
        if self._streams_text:
            return self._text_pieces(index, delta)
        if delta.generation is None:
            return []
        message, finish = self._message(index, delta.generation)
        for number, call in enumerate(message.get("tool_calls", ())):
            call["index"] = number
        del message["role"]
        return [
            self._piece(index, message, logprobs=self._told(delta.generation.logprobs)),
            self._piece(index, {}, finish=finish),
        ]

    def usage(self) -> dict[str, Any]:
        generations = [self._ended[index] for index in range(len(self.requests))]
        return {**self._chunk([]), "usage": self._usage(generations)}

    def again(self, index: int, generation: Generation) -> GenerationRequest | None:
        if not self._demanded:
            return None
        forced = self._forced.get(index)
        if forced is None:
            call = read_turn(generation.text, self._tools).call
            if call is not None and call.name in {tool.name for tool in self._demanded}:
                return None
            tokenizer, sampling = self._service.model.tokenizer, self.requests[index].sampling
            forced = self._forced[index] = ForcedCall(tokenizer, self._ids, self._demanded, sampling, generation)
        elif forced.take(generation):
            return None
        return forced.request()

    def _usage(self, generations: Sequence[Generation]) -> dict[str, Any]:
        usage = usage_of([self._ids], generations)
        for index, forced in self._forced.items():
            more = forced.tokens - len(generations[index].ids)
            usage["completion_tokens"] += more
            usage["total_tokens"] += more
        if (first := self._forced.get(0)) is not None:
            # What a call went on from was read for the reply before it.
            usage["prompt_tokens_details"]["cached_tokens"] = first.cached_tokens
        return usage

    def _text_pieces(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """White space at both ends of a reply is none of it, so that at its end is held back until more comes."""
        held = self._held.get(index)
        text = delta.text.lstrip() if held is None else held + delta.text
        said = text.rstrip()
        if said or held is not None:
            self._held[index] = text[len(said) :]
        logprobs = self._told(delta.logprobs)
        pieces = [self._piece(index, {"content": said}, logprobs=logprobs)] if said or logprobs else []
        if delta.generation is not None:
            _, finish = self._message(index, delta.generation)
            pieces.append(self._piece(index, {}, finish=finish))
        return pieces

    def _message(self, index: int, generation: Generation) -> tuple[dict[str, Any], str]:
        """The message that a reply is, and how it ended; the conversation is remembered by it."""
        if (forced := self._forced.get(index)) is not None and forced.name is not None:
            return _call_message(forced.thought, forced.name, forced.arguments), "tool_calls"
        text = generation.text.strip() if generation.choice is None else self._choices[generation.choice]
        spoken = read_turn(text, self._tools) if self._calls else Spoken(content=text)
        if spoken.call is not None:
            arguments = json.dumps(spoken.call.arguments, ensure_ascii=False)
            message, finish = _call_message(spoken.content, spoken.call.name, arguments), "tool_calls"
        else:
            message, finish = {"role": "assistant", "content": spoken.content}, FINISH[generation.finish]
        # As the client's next request will say it.
        reply = write_turn(Spoken(content=spoken.content, call=spoken.call), self._tools) if self._tools else text
        self._service.conversations.remember(self._turns, reply, [*self._ids, *generation.ids])
        return message, finish

    def _told(self, logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        return {
            "content": [
                {
                    **self._token(each.token, each.logprob),
                    "top_logprobs": [self._token(token, logprob) for token, logprob in each.top],
                }
                for each in logprobs
            ],
            "refusal": None,
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        tokenizer = self._service.model.tokenizer
        return {"token": token_text(tokenizer, token), "logprob": logprob, "bytes": token_bytes(tokenizer, token)}

    def _piece(
        self, index: int, delta: dict[str, Any], *, logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> dict[str, Any]:
        return self._chunk([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        usage = {"usage": None} if self.include_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": choices, **usage}


def _tools(asked: ChatRequest) -> list[ToolSpec]:
    """The tools that the model is told of, whichever of them it may call, so that the conversation's ids stay."""
    tools = [
        ToolSpec(
            name=tool.function.name,
            description=tool.function.description or "",
            parameters=tool.function.parameters or {},
        )
        for tool in asked.tools or ()
    ]
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise invalid("tools: two have one name; expected a name of its own for each.", "tools")
    if isinstance(asked.tool_choice, NamedTool) and (name := asked.tool_choice.function.name) not in names:
        raise invalid(f"tool_choice: no tool is called {name!r}.{did_you_mean(name, names)}", "tool_choice")
    if asked.tool_choice == "required" and not tools:
        raise invalid("tool_choice is 'required', and no tools are given.", "tool_choice")
    return tools


def _demanded(asked: ChatRequest, tools: Sequence[ToolSpec]) -> list[ToolSpec]:
    """The tools of which one must be called; none where the model is free."""
    if isinstance(asked.tool_choice, NamedTool):
        return [tool for tool in tools if tool.name == asked.tool_choice.function.name]
    return list(tools) if asked.tool_choice == "required" else []


def _call_message(content: str, name: str, arguments: str) -> dict[str, Any]:
    call = {"id": f"call_{secrets.token_hex(12)}", "type": "function"}
    return {
        "role": "assistant",
        "content": content or None,
        "tool_calls": [{**call, "function": {"name": name, "arguments": arguments}}],
    }


def _reply_ids(service: Service, reply: str) -> tuple[int, ...]:
    """The ids of a whole reply, its stop token among them, as training would give them."""
    if not reply.strip():
        raise invalid("guided_choice holds an empty string.", "guided_choice")
    turns = (Turn.user("a"), Turn.assistant(reply))
    try:
        encoded = service.model.template.encode(Trajectory(id="choice", task="choice", turns=turns))
    except AgentBankError as error:
        raise invalid(f"guided_choice: {error}", "guided_choice") from None
    return tuple(encoded.tokens[encoded.trained].tolist())
