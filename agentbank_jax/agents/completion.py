"""Chat completions of OpenAI's interface: conversations as messages, and replies read with suspicion."""

import json
import re
from collections.abc import Sequence

from agentbank_jax.agents.policy import Reply
from agentbank_jax.presentation.printable import printable
from agentbank_jax.trajectories.schema import Turn

_LONGEST_WORDS = 200
_CONTEXT_CODES = ("context_length_exceeded", "exceed_context_size_error")
# What servers say that have no code for it: vLLM, SGLang, text-generation-inference, Anthropic.
_CONTEXT_WORDS = re.compile(
    r"context[ _](length|size|window)|maximum model length|prompt is too long|max_new_tokens. must be <=", re.IGNORECASE
)


def messages_of(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """A conversation as messages. Half a surrogate pair, which JSON readers refuse, becomes a question mark."""
    return [{"role": turn.role, "content": _text(turn.content)} for turn in turns]


def read_completion(body: bytes) -> Reply:
    """Reads the first choice of a chat completion and what it cost.

    A reply that calls tools has no text: none were offered. Counts that are missing are 0.

    Raises:
      ValueError: it is no chat completion; the message says why.
    """
    try:
        value = json.loads(body)
        content = value["choices"][0]["message"].get("content")
        usage = value.get("usage")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("it has no choices[0].message") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError("it is no JSON") from None
    if isinstance(content, list):  # parts, of which some are text
        content = "".join(part["text"] for part in content if isinstance(part, dict) and _is_text(part.get("text")))
    if content is not None and not _is_text(content):
        raise ValueError("its content is no text")
    tokens, prompt_tokens = (_count(usage, name) for name in ("completion_tokens", "prompt_tokens"))
    return Reply(text=_text(content or ""), tokens=tokens, prompt_tokens=prompt_tokens)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and value >= 0 else 0


def _error_of(body: bytes) -> tuple[str, tuple[object, ...]]:
    """What a server says of an error, and the words that it has for programs."""
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text, ()
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return str(error), ()
    message = error.get("message") or error.get("detail") or text
    return str(message), (error.get("code"), error.get("type"))


def is_full_context(status: int, body: bytes) -> bool:
    """Whether a server says that a conversation is too long for its model."""
    message, words = _error_of(body)
    return status in (400, 413, 422) and (
        any(word in _CONTEXT_CODES for word in words) or bool(_CONTEXT_WORDS.search(message))
    )


def words_of(body: bytes) -> str:
    """The first words of what a server says of an error."""
    message, _ = _error_of(body)
    words = printable(" ".join(message.split())) or "an empty body"
    return words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}…"
