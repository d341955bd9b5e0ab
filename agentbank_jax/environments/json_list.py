"""JSON files that are one list of objects, some too long to be read at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError

_CHUNK, _ROW_LIMIT = 1 << 24, 1 << 28  # characters


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a JSON list one by one, however long the file is.

    Raises:
      AgentBankError: where the file is no list of objects.
    """
    decoder = json.JSONDecoder()
    # A byte that is no text becomes a sign of its own: one bad name shall not cost the whole file.
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_CHUNK).lstrip()
        if not text.startswith("["):
            raise AgentBankError(f"{path}: begins with {text[:20]!r}; expected a JSON list of objects.")
        at, number = 1, 0
        while True:
            at = _skip(text, at)
            if text[at : at + 1] == "]":
                return
            try:
                row, after = decoder.raw_decode(text, at)
                if not isinstance(row, dict):
                    raise AgentBankError(f"{path}: row {number} is {str(row)[:40]}; expected an object.")
            except ValueError as error:
                more = file.read(_CHUNK) if len(text) - at < _ROW_LIMIT else ""
                if not more:
                    raise AgentBankError(f"{path}: row {number} is broken off or no JSON ({error}).") from None
                text, at = text[at:] + more, 0
                continue
            yield row
            at, number = after, number + 1


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at
