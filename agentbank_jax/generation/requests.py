"""What is asked of the engine, and what it answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agentbank_jax.errors import AgentBankError

Finish = Literal["stop", "length", "context", "choice"]

MAX_TOP_LOGPROBS = 20


class RequestError(AgentBankError):
    """A request that the engine cannot serve; the message says why."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How a reply's tokens are chosen, and where it ends. The names are those of vLLM and `transformers`.

    The distribution is divided by the temperature, then cut to `top_k`, then to `top_p`, then to `min_p`, each over
    what the one before it left, as `transformers` does.

    Fields:
      max_new_tokens: the most tokens of the reply, its stop token included; 0 only reads (and scores) the prompt.
      temperature: 0 takes the most likely token (greedy).
      top_k: keep so many of the most likely tokens; 0 keeps all.
      top_p: keep the most likely tokens that together have this probability.
      min_p: keep tokens at least this many times as likely as the most likely one.
      seed: the same seed gives the same tokens, whatever else is generated beside them.
      stop: strings that end the reply. Text ends before the one that is complete first, and so do
        the conversation's tokens.
      stop_ids: ids that end the reply beside the engine's own.
      ignore_stop_ids: go on to `max_new_tokens`, for measurements.
      logprobs: natural log-probabilities of the reply's tokens before temperature and cuts, with so many of the most
        likely tokens beside each (0 to 20); None computes none.
      prompt_logprobs: the same for the prompt's tokens from the second on.

    Raises:
      RequestError: on a value outside its range.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    ignore_stop_ids: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None

    def __post_init__(self) -> None:
        _check("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 0, "0 or more")
        _check("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 or more")
        _check("top_k", self.top_k, self.top_k >= 0, "0 (all) or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "more than 0 and at most 1")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "0 to 1")
        _check("seed", self.seed, -(2**63) <= self.seed < 2**63, "a 64-bit integer")
        _check("stop", self.stop, all(self.stop), "strings that are not empty")
        for name in ("logprobs", "prompt_logprobs"):
            value = getattr(self, name)
            _check(name, value, value is None or 0 <= value <= MAX_TOP_LOGPROBS, f"0 to {MAX_TOP_LOGPROBS}")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def with_later_seed(self, count: int) -> "SamplingParams":
        """The same with the seed `count` places further; the one after the largest is the smallest."""
        return replace(self, seed=(self.seed + count + 2**63) % 2**64 - 2**63)


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise RequestError(f"SamplingParams.{name}={value!r}: expected {expected}.")


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """A reply that is wanted, or a choice among some.

    Fields:
      id: unique among those under way.
      ids: the whole conversation so far, at least one token. What of it the engine has read before it does not read
        again.
      sampling: how the reply is chosen.
      conversation: keeps its tokens in the engine under this name until `Engine.release`; empty where nobody will go
        on with it (what was read may still serve others that begin alike).
      choices: replies of which the most likely is taken: whole sequences of ids, a stop id at the end if the
        reply must end there. `sampling` then has no effect.
      stream: whether tokens and text are wanted as they come.
    """

    id: str
    ids: Sequence[int]
    sampling: SamplingParams = SamplingParams()
    conversation: str = ""
    choices: tuple[tuple[int, ...], ...] = ()
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """A token's natural log-probability, and those of the most likely tokens in its place, most likely first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A reply that has ended.

    Fields:
      ids: the tokens that it added to the conversation: up to a stop id, which is the last of them, or up to where a
        stop string begins.
      text: of `ids` without the stop id, or up to the stop string; empty where the engine has no tokenizer.
      finish: `stop` (an id or a string), `length` (`max_new_tokens`), `context` (the conversation is as long as the
        engine allows), or `choice`.
      stopped_by: the id or string that ended it; None for the other ways.
      logprobs: of `ids`, where they were asked for.
      prompt_logprobs: of the prompt from its second token on, where they were asked for.
      choice: which of `GenerationRequest.choices` was taken.
      choice_logprobs: of each of the choices, the sum over its tokens.
      cached_tokens: of the prompt, those that had been read before.
    """

    ids: tuple[int, ...]
    text: str = ""
    finish: Finish
    stopped_by: int | str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    choice: int | None = None
    choice_logprobs: tuple[float, ...] = ()
    cached_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What a step of the engine added to one reply; where it does not stream, only the last one comes, with all.

    Fields:
      request_id: of the reply.
      ids: new tokens; those that may yet turn out to belong to a stop string, or that end within a character, come
        later, with their text.
      text: what is new of the text: whole characters, and nothing that may yet belong to a stop string; empty where
        it does not stream.
      logprobs: of `ids`, where they were asked for.
      generation: the whole reply, with its last delta.
    """

    request_id: str
    ids: tuple[int, ...] = ()
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    generation: Generation | None = None


@dataclass(kw_only=True)
class EngineStats:
    """What an engine has done since it was made, in tokens unless another unit is named.

    Fields:
      prefilled: read from prompts and observations.
      generated: written.
      scored: of choices.
      reused: of prompts, those that were in the cache already: of the conversation itself, or of a shared beginning.
      evictions: conversations that left the device to make room.
      swapped_in: conversations that came back from the host's memory.
      steps: calls of `Engine.step` that computed.
    """

    prefilled: int = 0
    generated: int = 0
    scored: int = 0
    reused: int = 0
    evictions: int = 0
    swapped_in: int = 0
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class EngineLoad:
    """How busy an engine is now: replies under way, requests that wait for a place, and places (`slots`)."""

    running: int
    waiting: int
    slots: int
    resident_tokens: int
    host_bytes: int = 0
