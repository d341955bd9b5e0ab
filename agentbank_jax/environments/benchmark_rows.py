"""The rows of files that users have of benchmarks and corpora: JSON or CSV, whatever they are packed with."""

import bz2
import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from agentbank_jax.errors import AgentBankError, first_line

Kinds: TypeAlias = type | tuple[type, ...]
"""What a field may be: a type of a JSON value, or several."""

_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
_NAMES = {
    str: "a string",
    list: "a list",
    dict: "an object",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


@contextlib.contextmanager
def open_text(path: str | Path, expected: str = "text") -> Iterator[tuple[TextIO, io.BufferedReader]]:
    """Opens a file of UTF-8 text, plain, gzipped or bzip2ed, told by its first bytes.

    Gives the text, whose lines end at "\\n" alone, and the file on disk beneath it, whose position tells the progress.

    Args:
      path: the file.
      expected: what it should hold, in words, for messages.

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
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        if isinstance(error, UnicodeDecodeError):
            reason = f"not UTF-8: {error.reason}"
        raise AgentBankError(
            f"{path}: cannot be read ({reason}); expected {expected}, plain or packed by gzip or bzip2."
        ) from None


def read_text(path: str | Path) -> str:
    """Returns the text of a file; see `open_text`."""
    with open_text(path) as (file, _):
        return file.read()


def read_rows(
    path: str | Path, fields: Mapping[str, Kinds], *, within: str | None = None, exact_decimals: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields each row of a file with its number; see `open_text` and `rows_of`.

    Args:
      path: the file.
      fields: what each row must have, and what it may be; other fields are kept.
      within: the key of the list of rows, where the file may be one object that holds it.
      exact_decimals: whether numbers with a point or an exponent are read as `decimal.Decimal`, digit for digit.

    Raises:
      AgentBankError: where the file cannot be read, holds no row, or a row breaks the layout; names file, row and
        field, what was found and what was expected.
    """
    expected = "JSON, as lines or one list, of rows" + (f" with {', '.join(fields)}" if fields else "")
    found = False
    with open_text(path, expected) as (file, _):
        for number, row in rows_of(file, path, within=within, exact_decimals=exact_decimals):
            found = True
            for name, kinds in fields.items():
                typed_field(row, name, kinds, f"{path}:{number}")
            yield number, row
    if not found:
        raise AgentBankError(f"{path}: holds no row; expected {expected}.")


def rows_of(
    file: TextIO, path: str | Path, *, within: str | None = None, exact_decimals: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of an open file of JSON lines, one list, or one object, each with its number, from 1.

    Of JSON lines that is the number of the line, blank ones counted. These are read one by one; anything else is read
    whole. Arguments and errors are those of `read_rows`, but for the fields and a file without rows.
    """
    lines = ((number, line) for number, line in enumerate(file, start=1) if not line.isspace())
    number, first = next(lines, (0, ""))
    start, end = first.strip()[:1], first.strip()[-1:]
    values: Iterator[tuple[int, Any]]
    if start == "[" or (start == "{" and (end != "}" or (within is not None and f'"{within}"' in first))):
        where = f"{path}" if start == "[" else f"{path}:{number}"
        values = enumerate(_rows_within(parse_json(first + file.read(), where, exact_decimals), path, within), start=1)
    else:
        numbered = itertools.chain([(number, first)] if first else [], lines)
        values = ((number, parse_json(line, f"{path}:{number}", exact_decimals)) for number, line in numbered)
    for number, row in values:
        if not isinstance(row, dict):
            raise AgentBankError(f"{path}:{number}: {type(row).__name__}; expected an object.")
        yield number, row


def _rows_within(document: Any, path: str | Path, within: str | None) -> list[Any]:
    if isinstance(document, dict):
        document = document[within] if within is not None and within in document else [document]
    if not isinstance(document, list):
        raise AgentBankError(f"{path}: {type(document).__name__}; expected an object with the list '{within}'.")
    return document


def read_object(path: str | Path, fields: Mapping[str, Kinds]) -> dict[str, Any]:
    """Returns what a file of one JSON object holds; as `read_rows` otherwise, but errors name no row."""
    value = parse_json(read_text(path), f"{path}")
    if not isinstance(value, dict):
        raise AgentBankError(f"{path}: {type(value).__name__}; expected an object.")
    for name, kinds in fields.items():
        typed_field(value, name, kinds, f"{path}")
    return value


def read_csv(path: str | Path, columns: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row of a file of CSV, whose first line names the columns, with its number, from 1; see `open_text`.

    Raises:
      AgentBankError: where the file cannot be read, holds no row, or a row has no text in one of `columns`; names
        file, row and column.
    """
    expected = f"CSV with the columns {', '.join(columns)}"
    found = False
    with open_text(path, expected) as (file, _):
        try:
            for number, row in enumerate(csv.DictReader(file), start=1):
                found = True
                for name in columns:
                    if not row.get(name):
                        raise AgentBankError(f"{path}:{number}:{name}: {row.get(name)!r}; expected {expected}.")
                yield number, row
        except csv.Error as error:
            raise AgentBankError(f"{path}: {error}; expected {expected}.") from None
    if not found:
        raise AgentBankError(f"{path}: holds no row; expected {expected}.")


def parse_json(text: str, where: str, exact_decimals: bool = False) -> Any:
    """Returns a JSON value; see `read_rows`.

    Raises:
      AgentBankError: where the text is none; begins with `where`.
    """
    try:
        return json.loads(text, parse_float=Decimal if exact_decimals else None)
    except (ValueError, RecursionError) as error:
        raise AgentBankError(f"{where}: not JSON ({error}); expected one value, or one object per line.") from None


def typed_field(row: Mapping[str, Any], name: str, kinds: Kinds, where: str) -> Any:
    """Returns a field that has to be of one of some types; true and false are no numbers.

    Raises:
      AgentBankError: where it is not, or is not there; begins with `where`, and names the field.
    """
    value = row.get(name)
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_NAMES[kind] for kind in kinds)
        raise AgentBankError(f"{where}:{name}: {value!r:.40}; expected {wanted}.")
    return value


def text_field(row: Mapping[str, Any], name: str, where: str) -> str:
    """Returns a text without blanks around it; raises as `typed_field`, and where it is empty."""
    text: str = typed_field(row, name, str, where).strip()
    if not text:
        raise AgentBankError(f"{where}:{name}: {row[name]!r:.40}; expected a text.")
    return text


def question_fingerprint(question: str) -> str:
    """Hash of a question, blanks aside, by which duplicates are known."""
    return hashlib.sha256(" ".join(question.split()).encode("utf-8", "replace")).hexdigest()
