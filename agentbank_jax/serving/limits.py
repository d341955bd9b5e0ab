"""What a client may take of the server, and the reading of its body within that."""

import json
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from agentbank_jax.errors import AgentBankError
from agentbank_jax.serving.errors import ApiError, invalid

MAX_REPLIES = 128
"""Replies that one request may ask for: `n` times its prompts."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a server.

    Fields:
      queue: replies that wait for a place of the engine; a request that would make them more gets 429.
      max_body_bytes: of a request.
      request_timeout: seconds from the first byte of a request to the last of its answer.
      conversations: how many the server remembers by their ids.
      conversation_tokens: how many tokens these have together.

    Raises:
      AgentBankError: on a value outside its range.
    """

    queue: int = 256
    max_body_bytes: int = 4 << 20
    request_timeout: float = 600.0
    conversations: int = 4096
    conversation_tokens: int = 1 << 23

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "conversations", "conversation_tokens"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"--{name}={getattr(self, name)}: expected at least 1.")
        if self.queue < 0:
            raise AgentBankError(f"--queue={self.queue}: expected 0 or more.")
        if not 0 < self.request_timeout < math.inf:
            raise AgentBankError(f"--request_timeout={self.request_timeout}: expected more than 0 seconds.")


def too_many(waiting: int, wanted: int, queue: int) -> ApiError:
    return ApiError(
        429,
        f"{waiting} replies wait already, and the request asks for {wanted}; the server lets {queue} wait (--queue). "
        "Try again later.",
        code="queue_full",
        headers={"Retry-After": "1"},
    )


async def read_body(chunks: AsyncIterator[bytes], content_length: str | None, limit: int) -> bytes:
    """Reads a body of at most `limit` bytes; of a larger one no more than that.

    Raises:
      ApiError: 413 where it is larger, whether or not its length was announced.
    """
    error = ApiError(
        413, f"The body has more than {limit} bytes, the server's --max_body_bytes.", code="body_too_large"
    )
    if content_length and content_length.isdecimal() and int(content_length) > limit:
        raise error
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise error
    return bytes(body)


def parse_json(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body.

    Raises:
      ApiError: 400 where it is none, is nested too deeply, or holds NaN, Infinity or half a surrogate pair.
    """
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
        if _ESCAPED_SURROGATE.search(body):
            _check_text(value, "")
    except RecursionError:
        raise invalid("The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise invalid("The body is no UTF-8.") from None
    except ValueError as error:
        raise invalid(f"The body is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise invalid(f"The body holds a {type(value).__name__}; expected a JSON object.")
    return value


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check_text(value: Any, path: str) -> None:
    if isinstance(value, str) and _SURROGATE.search(value):
        raise invalid(f"{path or 'The body'} holds half a surrogate pair, which is no text.", path or None)
    if isinstance(value, dict):
        for key, each in value.items():
            if _SURROGATE.search(key):
                raise invalid(f"A name in {path or 'the body'} holds half a surrogate pair, which is no text.")
            _check_text(each, f"{path}.{key}" if path else key)
    if isinstance(value, list):
        for index, each in enumerate(value):
            _check_text(each, f"{path}[{index}]")
