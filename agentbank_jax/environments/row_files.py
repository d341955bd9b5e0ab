"""Files that users have of benchmarks and corpora: opened whatever they are packed with, and their rows of JSON."""

import bz2
import contextlib
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from agentbank_jax.errors import AgentBankError, first_line

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[tuple[TextIO, io.BufferedReader]]:
    """Opens a file of UTF-8 text, plain, gzipped or bzip2ed, told by its first bytes.

    Gives the text, whose lines end at "\\n" alone, and the file on disk beneath it, whose position tells the progress.

    Raises:
      AgentBankError: where it cannot be read, then or later; names the file.
    """
    try:
        with open(path, "rb") as raw:
            start = raw.peek(3)[:3]
            file: Any = raw
            if start.startswith(_GZIP):
                file = gzip.GzipFile(fileobj=raw)
            elif start == _BZIP2:
                file = bz2.BZ2File(raw)
            # utf-8-sig drops a byte order mark.
            yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n"), raw
    except UnicodeDecodeError as error:
        raise AgentBankError(f"{path}: not UTF-8 ({error.reason}); expected text.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise AgentBankError(f"{path}: cannot be read ({first_line(error)}).") from None


def read_rows(path: Path, *, within: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the rows of a file of JSON lines, or of one JSON list, each with its place for messages, `<path>:<row>`.

    Args:
      path: the file; see `open_text`.
      within: the key of the list where the file is one JSON object.

    Raises:
      AgentBankError: where it cannot be read, or holds anything else; names file and row, counted from 1.
    """
    with open_text(path) as (file, _):
        yield from rows_of(file, path, within=within)


def rows_of(
    file: TextIO, path: Path, *, first: str = "", within: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the rows of an open file, of which `first` is the line that has been read already; see `read_rows`."""
    first = first or next_line(file)
    if _is_whole(first) and not (within and f'"{within}"' in first):
        lines = (line for line in itertools.chain([first], file) if line.strip())
        rows: Iterator[Any] = (_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1))
    else:
        rows = iter(_parse_document(first + file.read(), path, within))
    for number, row in enumerate(rows, start=1):
        where = f"{path}:{number}"
        if not isinstance(row, dict):
            raise AgentBankError(f"{where}: {type(row).__name__}; expected an object.")
        yield where, row


def next_line(file: TextIO) -> str:
    """Returns the next line that is not blank, or what is left at the file's end."""
    line = file.readline()
    while line.isspace():
        line = file.readline()
    return line


def text_field(row: dict[str, Any], name: str, where: str) -> str:
    """Returns a field that has to be a text, without blanks around it.

    Raises:
      AgentBankError: where it is none, or empty; names file, row and field.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise AgentBankError(f"{where}:{name}: {value!r:.40}; expected a text.")
    return value.strip()


def _is_whole(line: str) -> bool:
    """Whether a first line is an object of its own, so that the file is one of JSON lines."""
    return line.lstrip().startswith("{") and line.rstrip().endswith("}")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AgentBankError(f"{where}: not JSON ({error}); expected one object per line, or one list.") from None


def _parse_document(text: str, path: Path, within: str | None) -> list[Any]:
    if not text.strip():
        return []
    document = _parse(text, f"{path}")
    if within is not None and isinstance(document, dict) and within in document:
        document = document[within]
    if not isinstance(document, list):
        expected = "a list of rows" if within is None else f"an object with the list '{within}'"
        raise AgentBankError(f"{path}: {type(document).__name__}; expected {expected}.")
    return document
