"""Asks a server for chat completions, and again where it fails.

By `httpx2` and not by the `openai` package, which is built on it: a reply has a deadline of its own
and a largest size here, and the project's own attempts and waits, whatever the server sends.
"""

import asyncio
import email.utils
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from agentbank_jax.agents.completion import is_full_context, read_completion, words_of
from agentbank_jax.agents.endpoint import (
    KEY_VARIABLE,
    URL_VARIABLE,
    Endpoint,
    EndpointError,
    RequestRefused,
    Unanswered,
)
from agentbank_jax.agents.policy import Reply
from agentbank_jax.errors import first_line

MAX_BODY_BYTES = 8 << 20
MAX_WAIT_SECONDS = 60.0
"""The longest wait before another attempt, whatever the server's `Retry-After` says."""

_CONNECT_SECONDS = 10.0
# 408 request timeout, 409 conflict, 425 too early, 429 too many requests.
_PASSING = (408, 409, 425, 429)
# 400 bad request (contents that a filter stops, too), 413 content too large, 422 unprocessable content.
_OF_THE_REQUEST = (400, 413, 422)
_REMEDIES = {
    401: f"put its key into the environment variable {KEY_VARIABLE}, and its URL into {URL_VARIABLE}",
    403: f"put a key that may use it into the environment variable {KEY_VARIABLE}, and its URL into {URL_VARIABLE}",
    404: "name the URL up to its /v1, and a model that it serves, as http://HOST:PORT/v1#MODEL",
}
_REMEDY = "the server's documentation says what it takes"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a server is waited for.

    Fields:
      timeout: seconds within which an attempt must have brought the whole reply.
      retries: attempts after the first, where the server is busy (429), fails (5xx), breaks off or says nonsense.
      backoff: seconds before the second attempt; doubled before each further one.
    """

    timeout: float = 300.0
    retries: int = 6
    backoff: float = 0.5

    def wait(self, attempt: int, retry_after: str | None) -> float:
        """Seconds to wait after an attempt, counted from 0: what the server asks for, at most `MAX_WAIT_SECONDS`."""
        asked = _seconds(retry_after)
        return min(MAX_WAIT_SECONDS, self.backoff * 2**attempt if asked is None else asked)


class _Failure(Exception):
    """An attempt that another may mend; `retry_after` is the header's text."""

    def __init__(self, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EndpointClient:
    """Asks a server for chat completions, many at once; used as an asynchronous context.

    Args:
      endpoint: the server and the model.
      api_key: shown to the server; empty for none.
      patience: with it.

    Raises:
      EndpointError: the environment's variables of proxies or certificates are wrong.
    """

    def __init__(self, endpoint: Endpoint, *, api_key: str, patience: Patience) -> None:
        self._endpoint, self._patience = endpoint, patience
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._answered = False
        try:
            self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS), limits=httpx2.Limits(max_connections=None)
            )
        except (OSError, ValueError, httpx2.InvalidURL) as error:
            raise EndpointError(
                f"{endpoint} cannot be asked ({first_line(error)}); expected HTTP_PROXY, HTTPS_PROXY and SSL_CERT_FILE "
                "to be right, or not set."
            ) from None

    async def __aenter__(self) -> "EndpointClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def reply(self, body: Mapping[str, Any]) -> Reply:
        """The model's reply to the body of a chat completion.

        Raises:
          RequestRefused: the server refuses the request for what it holds.
          Unanswered: no attempt has brought a reply.
          EndpointError: the server refuses whoever asks, or cannot be reached; before its first answer that is tried
            only once.
        """
        content = json.dumps({"model": self._endpoint.model, **body}).encode("ascii")
        kind: type[EndpointError]
        for attempt in range(self._patience.retries + 1):
            kind = Unanswered
            try:
                async with asyncio.timeout(self._patience.timeout):
                    return await self._attempt(content)
            except TimeoutError:
                failure = _Failure(f"gave no whole reply within {self._patience.timeout:g} s")
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure, kind = _Failure(f"cannot be reached ({first_line(error)})"), EndpointError
                if not self._answered:
                    break
            except httpx2.HTTPError as error:
                failure = _Failure(f"broke off ({first_line(error)})")
            except _Failure as error:
                failure = error
            if attempt < self._patience.retries:
                await asyncio.sleep(self._patience.wait(attempt, failure.retry_after))
        times = f"{attempt + 1} attempts" if attempt else "one attempt"
        raise kind(
            f"{self._endpoint} {failure}, after {times}; start the server or name another, and run the same command "
            "again: what was played is kept."
        )

    async def _attempt(self, content: bytes) -> Reply:
        url = f"{self._endpoint.base_url}/chat/completions"
        async with self._client.stream("POST", url, content=content, headers=self._headers) as response:
            self._answered = True
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _Failure(f"answered with more than {MAX_BODY_BYTES >> 20} MiB")
        status = response.status_code
        if status == 200:
            try:
                return read_completion(bytes(body))
            except ValueError as error:
                raise _Failure(f"answered with no chat completion ({error}): {words_of(bytes(body))}") from None
        if status in _PASSING or status >= 500:
            raise _Failure(f"answered {status}: {words_of(bytes(body))}", response.headers.get("retry-after"))
        if is_full_context(status, bytes(body)):
            return Reply(text="", ended="context_exhausted")
        raise (RequestRefused if status in _OF_THE_REQUEST else EndpointError)(
            f"{self._endpoint} refuses the request ({status}): {words_of(bytes(body))}; "
            f"{_REMEDIES.get(status, _REMEDY)}."
        )


def _seconds(retry_after: str | None) -> float | None:
    """What `Retry-After` asks for: seconds, or a date (RFC 9110, section 10.2.3); None where it says neither."""
    try:
        seconds = float(retry_after or "nan")
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(str(retry_after)).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
