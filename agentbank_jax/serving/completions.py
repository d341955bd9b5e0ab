"""`POST /v1/completions`: a text or ids in, how it goes on out, with log-probabilities of both."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from agentbank_jax.generation.requests import Delta, Generation, GenerationRequest, TokenLogprob
from agentbank_jax.serving.errors import invalid
from agentbank_jax.serving.limits import MAX_REPLIES, parse_json
from agentbank_jax.serving.schemas import CompletionRequest, read_request
from agentbank_jax.serving.service import FINISH, Service, guided_choices, sampling_params, usage_of
from agentbank_jax.serving.token_texts import text_offsets, token_text

_DEFAULT_TOKENS = 16


class CompletionAnswer:
    """How prompts go on; see `service.Answer`."""

    def __init__(self, service: Service, body: bytes) -> None:
        """Reads a request.

        Raises:
          ApiError: on whatever is wrong with it.
        """
        asked = read_request(CompletionRequest, parse_json(body))
        service.check_model(asked.model)
        self._tokenizer = service.model.tokenizer
        self._prompts = self._read_prompts(asked.prompt, asked.add_special_tokens)
        if len(self._prompts) * asked.n > MAX_REPLIES:
            raise invalid(
                f"{len(self._prompts)} prompts and n = {asked.n} make more than {MAX_REPLIES} replies.", "prompt"
            )
        limit = _DEFAULT_TOKENS if asked.max_tokens is None else asked.max_tokens
        for _, ids in self._prompts:
            service.check_length(ids, limit, "prompt")
        if asked.stream and asked.echo and asked.logprobs is not None:
            raise invalid(
                "stream together with echo and logprobs is not supported: those of the prompt are known at the end; "
                "leave one of them out.",
                "stream",
            )
        self._n = asked.n
        self._echo = asked.echo
        self._logprobs = asked.logprobs is not None
        self.stream = asked.stream
        self.include_usage = asked.include_usage
        self._choices = guided_choices(asked, logprobs=self._logprobs)
        if any(not choice for choice in self._choices):
            raise invalid("guided_choice holds an empty string.", "guided_choice")
        choices = tuple(
            tuple(self._tokenizer.encode_with_offsets([choice], continues=[True])[0].ids.tolist())
            for choice in self._choices
        )
        self.requests: Sequence[GenerationRequest] = [
            GenerationRequest(id="", ids=ids, sampling=sampling, choices=choices, stream=asked.stream and not choices)
            for _, ids in self._prompts
            for sampling in sampling_params(
                asked,
                max_new_tokens=min(limit, service.thread.max_length),
                logprobs=asked.logprobs,
                prompt_logprobs=asked.logprobs if asked.echo else None,
            )
        ]
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.model.name,
        }
        self._lengths: dict[int, int] = {}
        self._ended: dict[int, Generation] = {}

    def whole(self, generations: Sequence[Generation]) -> dict[str, Any]:
        choices = []
        for index, generation in enumerate(generations):
            prompt, ids = self._prompts[index // self._n]
            reply = self._reply_text(generation)
            text = prompt + reply if self._echo else reply
            logprobs = None
            if self._logprobs:
                told: list[TokenLogprob | _Unknown] = (
                    [_Unknown(ids[0]), *generation.prompt_logprobs] if self._echo else []
                )
                logprobs = self._told([*told, *generation.logprobs], text)
            choices.append(self._choice(index, text, logprobs, FINISH[generation.finish]))
        return {**self._head, "choices": choices, "usage": self._usage(generations)}

    def first(self) -> list[dict[str, Any]]:
        if not self._echo:
            return []
        return [
            self._chunk([self._choice(index, self._prompts[index // self._n][0], None, None)])
            for index in range(len(self.requests))
        ]

    def piece(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        text = delta.text
        if index not in self._lengths:
            text = self._with_space(delta.ids, text)
        if delta.generation is not None:
            self._ended[index] = delta.generation
            if self._choices:
                text = self._reply_text(delta.generation)
        start = self._lengths.get(index, 0)
        if text or delta.ids:
            self._lengths[index] = start + len(text)
        logprobs = self._told(delta.logprobs, text, shift=start) if self._logprobs else None
        finish = FINISH[delta.generation.finish] if delta.generation else None
        return [self._chunk([self._choice(index, text, logprobs, finish)])] if text or delta.ids or finish else []

    def again(self, index: int, generation: Generation) -> None:
        """A reply is taken as it is."""

    def usage(self) -> dict[str, Any]:
        generations = [self._ended[index] for index in range(len(self.requests))]
        return {**self._chunk([]), "usage": self._usage(generations)}

    def _read_prompts(self, prompt: str | list[Any], begins: bool) -> list[tuple[str, list[int]]]:
        """The text and the ids of each prompt; BOS precedes a text that begins, as training has it."""
        if not prompt and not isinstance(prompt, str):
            raise invalid("prompt is an empty list; expected a text or ids.", "prompt")
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            prompt = [prompt]
        bos = [self._tokenizer.bos_id] if begins and self._tokenizer.bos_id is not None else []
        prompts = []
        for index, each in enumerate(prompt):
            if isinstance(each, str):
                text, ids = each, [*bos, *self._tokenizer.encode(each)]
            else:
                unknown = [token for token in each if token >= self._tokenizer.vocab_size]
                if unknown:
                    raise invalid(
                        f"prompt[{index}] holds the id {unknown[0]}; expected 0 to {self._tokenizer.vocab_size - 1}.",
                        "prompt",
                    )
                text, ids = self._tokenizer.decode(each), each
            if not ids:
                raise invalid(f"prompt[{index}] is empty; expected at least one token.", "prompt")
            prompts.append((text, ids))
        return prompts

    def _reply_text(self, generation: Generation) -> str:
        if generation.choice is not None:
            return self._choices[generation.choice]
        return self._with_space(generation.ids, generation.text)

    def _with_space(self, ids: Sequence[int], text: str) -> str:
        """A text that goes on keeps the space before it, which tokenizers take off what begins."""
        for token in ids:
            if token < self._tokenizer.vocab_size:
                spelled, said = self._tokenizer.spell([token]), self._tokenizer.decode([token])
                # Special tokens say nothing, and what follows them begins as well.
                if said or spelled.isspace():
                    return f" {text}" if spelled == f" {said}" else text
        return text

    def _told(self, logprobs: "Sequence[TokenLogprob | _Unknown]", text: str, *, shift: int = 0) -> dict[str, Any]:
        """Log-probabilities in the layout of OpenAI's completions."""
        offsets = text_offsets(self._tokenizer, [each.token for each in logprobs], text)
        return {
            "tokens": [token_text(self._tokenizer, each.token) for each in logprobs],
            "token_logprobs": [each.logprob for each in logprobs],
            "top_logprobs": [self._top(each) for each in logprobs],
            "text_offset": [shift + offset for offset in offsets],
        }

    def _top(self, each: "TokenLogprob | _Unknown") -> dict[str, float] | None:
        if each.logprob is None:
            return None
        top: dict[str, float] = {}
        for token, logprob in (*each.top, (each.token, each.logprob)):
            # Of two tokens that say the same the likelier is told.
            top.setdefault(token_text(self._tokenizer, token), logprob)
        return top

    def _usage(self, generations: Sequence[Generation]) -> dict[str, Any]:
        return usage_of([ids for _, ids in self._prompts], generations)

    def _choice(self, index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "choices": choices, **({"usage": None} if self.include_usage else {})}


class _Unknown:
    """The first token of a prompt, before which nothing could foretell it."""

    logprob = None

    def __init__(self, token: int) -> None:
        self.token = token
        self.top: tuple[tuple[int, float], ...] = ()
