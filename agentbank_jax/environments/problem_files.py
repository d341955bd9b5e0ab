"""Rows of published problem files: JSON lines or one JSON list, plain or gzipped."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError


def read_rows(path: Path, expected: Mapping[str, type | tuple[type, ...]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of a file with their numbers, from 1; blank lines count, and are left out.

    Args:
      path: the file.
      expected: fields that each row must have, and their types.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    for number, row in _numbered(path):
        for name, kind in expected.items():
            if not isinstance(row, dict) or not isinstance(row.get(name), kind):
                found = repr(row.get(name))[:40] if isinstance(row, dict) else type(row).__name__
                kinds = kind if isinstance(kind, tuple) else (kind,)
                wanted = " or ".join(_JSON_NAMES.get(each, each.__name__) for each in kinds)
                raise AgentBankError(f"{path}:{number}:{name}: {found}; expected {wanted}.")
        yield number, row


_JSON_NAMES = {str: "a string", list: "a list", dict: "an object", int: "a whole number"}


def read_text(path: Path) -> str:
    """The text of a file, plain or gzipped.

    Raises:
      AgentBankError: where it cannot be read.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AgentBankError(f"{path}: cannot be read ({reason}); expected text, plain or gzipped.") from None


def _numbered(path: Path) -> Iterator[tuple[int, Any]]:
    text = read_text(path)
    if text.lstrip().startswith("["):
        yield from enumerate(parse_json(text, str(path)), start=1)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, parse_json(line, f"{path}:{number}")


def parse_json(text: str, where: str) -> Any:
    """A JSON value; raises `AgentBankError` that begins with `where`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AgentBankError(f"{where}: not JSON ({error}); expected a JSON value.") from None


def question_fingerprint(question: str) -> str:
    """Hash of a question, blanks aside, by which the same one is known elsewhere."""
    return hashlib.sha256(" ".join(question.split()).encode("utf-8", "replace")).hexdigest()
