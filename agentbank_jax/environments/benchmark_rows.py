"""The rows of a benchmark's file: JSON lines, one JSON list, or one object, plain or gzipped."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError

_KINDS = {str: "a string", list: "a list", int: "an integer", bool: "true or false"}


def read_rows(
    path: str | Path, layout: str, fields: Mapping[str, type], *, exact_decimals: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields each row of a file with its number, from 1 (of JSON lines, that of its line).

    Args:
      path: the file.
      layout: what is expected, in words, for messages.
      fields: what each row must have, and the type of each; other fields are kept.
      exact_decimals: whether numbers with a point or an exponent are read as `decimal.Decimal`, digit for digit.

    Raises:
      AgentBankError: the file cannot be read, holds no row, or a row breaks the layout; names file, row and field.
    """
    try:
        content = Path(path).read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode("utf-8")
    except (OSError, EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AgentBankError(f"{path}: cannot be read ({reason}); expected {layout}, plain or gzipped.") from None
    found = False
    for number, row in _values(path, text, exact_decimals):
        found = True
        for name, kind in fields.items():
            if not isinstance(row, dict) or not isinstance(row.get(name), kind):
                told = repr(row.get(name))[:40] if isinstance(row, dict) else type(row).__name__
                raise AgentBankError(f"{path}:{number}:{name}: {told}; expected {_KINDS[kind]}.")
        yield number, row
    if not found:
        raise AgentBankError(f"{path}: holds no row; expected {layout}, plain or gzipped.")


def _values(path: str | Path, text: str, exact_decimals: bool) -> Iterator[tuple[int, Any]]:
    parse_float = Decimal if exact_decimals else None
    if text.lstrip()[:1] == "[":
        try:
            rows = json.loads(text, parse_float=parse_float)
        except ValueError:
            rows = None  # lines that are lists: each is refused below, by its number
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            yield from enumerate(rows, start=1)
            return
    # Never by `splitlines`: real text holds Unicode line separators.
    lines = text.split("\n")
    if lines[0].strip() == "{":
        # A file of one object, over several lines.
        lines = [" ".join(lines)]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, parse_float=parse_float)
        except ValueError as error:
            raise AgentBankError(f"{path}:{number}: not JSON ({error}); expected one object per line.") from None


def question_fingerprint(question: str) -> str:
    """Hash of a question, blanks aside, by which duplicates are known."""
    return hashlib.sha256(" ".join(question.split()).encode()).hexdigest()
