"""A language model that helps to make a bank: asked over an endpoint, and never twice the same."""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentbank_jax.agents.completion import messages_of
from agentbank_jax.agents.endpoint import Endpoint, RequestRefused, Unanswered
from agentbank_jax.agents.endpoint_client import EndpointClient, Patience
from agentbank_jax.agents.policy import Reply
from agentbank_jax.bank.forcing.call_cache import CallCache, call_key
from agentbank_jax.bank.forcing.replies import Rejection
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.schema import Turn

OnFailure = Literal["stop", "drop"]

_ON_FAILURE: tuple[OnFailure, ...] = ("stop", "drop")

CONTEXT_EXHAUSTED, REQUEST_REFUSED, UNANSWERED, TOKEN_BUDGET = (
    "context_exhausted",
    "request_refused",
    "unanswered",
    "token_budget",
)
"""Why a teacher gives no reply."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A model behind a server with OpenAI's interface, the cache of its replies, and how it is asked.

    Picklable; it holds no key, which each process reads from its environment. Several threads may use one at once.

    Fields:
      endpoint: the server and the model.
      cache: the file of `CallCache`; many recipes may share one.
      account: under which the costs are counted; the task's name if empty.
      temperature, top_p: of sampling. Each request draws with a seed of its own, so that a rejected reply is not drawn
        again; at temperature 0 another try would bring the same.
      max_new_tokens: longest reply.
      max_tokens: of all prompts and replies of one instance together, in tokens; no request follows once they are
        spent. Cached replies count as much, so that a rerun ends where the first run did.
      patience: with the server.
      on_failure: what becomes of a request that the server has not answered within all attempts: `stop` raises, and
        the same command goes on later from the cache; `drop` drops the instance, so that the bank then depends on the
        server's health.

    Raises:
      AgentBankError: a value out of range.
    """

    endpoint: Endpoint
    cache: Path
    account: str = ""
    temperature: float = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 512
    max_tokens: int = 100_000
    patience: Patience = field(default_factory=Patience)
    on_failure: OnFailure = "stop"

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"teacher: {name}={getattr(self, name)}; expected at least 1.")
        if not 0 <= self.temperature <= 2:
            raise AgentBankError(f"teacher: temperature={self.temperature:g}; expected a value from 0 to 2.")
        if not 0 < self.top_p <= 1:
            raise AgentBankError(f"teacher: top_p={self.top_p:g}; expected a value above 0, and at most 1.")
        if self.on_failure not in _ON_FAILURE:
            raise AgentBankError(
                f"teacher: on_failure='{self.on_failure}' does not exist.{did_you_mean(self.on_failure, _ON_FAILURE)}"
            )

    def facts(self) -> Mapping[str, Any]:
        """All that replies depend on, as JSON values. Where the server is, is not among it."""
        return {
            "model": self.endpoint.model,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_new_tokens": self.max_new_tokens,
            "max_tokens": self.max_tokens,
            "on_failure": self.on_failure,
        }

    @contextlib.contextmanager
    def lesson(self, task: str) -> Iterator["Lesson"]:
        """Opens the cache, for the requests of one instance of a task.

        Raises:
          CallCacheError: it cannot be opened.
        """
        lesson = Lesson(self, self.account or task)
        try:
            yield lesson
        finally:
            lesson.close()


class Lesson:
    """Requests of one instance, one after the other; of one thread.

    Fields:
      requests: replies so far, cached ones included.
      prompt_tokens, completion_tokens: of them.
    """

    def __init__(self, teacher: Teacher, account: str) -> None:
        self._teacher, self._account = teacher, account
        self._cache = CallCache(teacher.cache)
        self._runner: asyncio.Runner | None = None
        self._client: EndpointClient | None = None
        self._cached = 0
        self.requests = self.prompt_tokens = self.completion_tokens = 0

    def ask(self, turns: Sequence[Turn], *, draw: str, stop: Sequence[str] = ()) -> str | Rejection:
        """The reply to a conversation, or why there is none.

        Args:
          turns: the conversation; it ends with a user turn.
          draw: names the request; decides its seed.
          stop: strings before which the reply ends.

        Raises:
          EndpointError: the server cannot be reached, does not let the caller in, or (with `on_failure` of `stop`)
            has not answered.
          CallCacheError: the reply cannot be kept.
        """
        if self.prompt_tokens + self.completion_tokens >= self._teacher.max_tokens:
            spent = self.prompt_tokens + self.completion_tokens
            return Rejection(reason=TOKEN_BUDGET, detail=f"{spent:,} of {self._teacher.max_tokens:,} tokens are spent")
        body = self._body(turns, draw, stop)
        key = call_key(self._teacher.endpoint.model, body)
        reply = self._cache.find(key)
        if reply is not None:
            self._cached += 1
        else:
            try:
                answered = self._reply(body)
            except RequestRefused as error:
                return Rejection(reason=REQUEST_REFUSED, detail=str(error))
            except Unanswered as error:
                if self._teacher.on_failure == "stop":
                    raise
                return Rejection(reason=UNANSWERED, detail=str(error))
            if answered.ended is not None:
                return Rejection(reason=CONTEXT_EXHAUSTED, detail="the conversation is too long for the model")
            reply = self._cache.keep(key, answered, self._account)
        self.requests += 1
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.tokens
        return reply.text

    def cost(self) -> dict[str, float]:
        """What the instance has cost, whether the server or the cache answered: the same in every run."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }

    def close(self) -> None:
        """Closes the connection and the cache."""
        try:
            if self._cached:
                self._cache.count_cached(self._cached, self._account)
        finally:
            self._cache.close()
            if self._runner is not None:
                with self._runner:
                    if self._client is not None:
                        self._runner.run(self._client.__aexit__())

    def _body(self, turns: Sequence[Turn], draw: str, stop: Sequence[str]) -> dict[str, Any]:
        teacher = self._teacher
        body: dict[str, Any] = {
            "messages": messages_of(turns),
            "max_tokens": teacher.max_new_tokens,
            "temperature": teacher.temperature,
            # 31 bits: some servers take no more.
            "seed": int.from_bytes(hashlib.sha256(draw.encode()).digest()[:4]) >> 1,
        }
        if teacher.top_p < 1:
            body["top_p"] = teacher.top_p
        if stop:
            body["stop"] = list(stop)
        return body

    def _reply(self, body: Mapping[str, Any]) -> Reply:
        if self._runner is None:
            self._runner = asyncio.Runner()
        if self._client is None:
            endpoint = self._teacher.endpoint
            self._client = EndpointClient(endpoint, api_key=endpoint.api_key(), patience=self._teacher.patience)
        return self._runner.run(self._client.reply(body))
