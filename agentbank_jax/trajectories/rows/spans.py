"""Where in a file which rows stand, so that several processes can read one file."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.trajectories.rows.files import BYTE_ORDER_MARK, WHOLE_FILE, RowSpan, file_kind, open_text
from agentbank_jax.trajectories.schema import TrajectoryError

_SPACE = re.compile(r"[ \t\r\n]*")


def find_spans(path: Path, rows: int) -> list[RowSpan]:
    """Divides a file into spans of `rows` rows; the last may have fewer.

    A parquet file is not read for it, JSON lines are only split, and a JSON list is parsed. What
    cannot be divided, because it is empty, damaged or no list, comes back as one span of the whole
    file, so that its reader tells what is wrong.

    Raises:
      TrajectoryError: on an unknown kind of file.
    """
    kind = file_kind(path)
    find = _of_parquet if kind == ".parquet" else _of_lines if kind.startswith(".jsonl") else _of_list
    try:
        return list(find(path, rows)) or [WHOLE_FILE]
    except (TrajectoryError, ValueError, RecursionError):
        return [WHOLE_FILE]


def _of_parquet(path: Path, rows: int) -> Iterator[RowSpan]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        total = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise ValueError(error) from None
    for first in range(0, total, rows):
        yield RowSpan(first=first, count=min(rows, total - first))


def _of_lines(path: Path, rows: int) -> Iterator[RowSpan]:
    first = number = place = begin = 0
    line = 1
    with open_text(path) as (file, _):
        for line_number, content in enumerate(file, start=1):
            text = content.removeprefix(BYTE_ORDER_MARK) if line_number == 1 else content
            if text.strip():
                if number == first + rows:
                    yield RowSpan(first=first, count=rows, begin=begin, line=line)
                    first, begin, line = number, place, line_number
                number += 1
            place += len(content)
    if number > first:
        yield RowSpan(first=first, count=number - first, begin=begin, line=line)


def _of_list(path: Path, rows: int) -> Iterator[RowSpan]:
    with open_text(path) as (file, _):
        content = file.read()
    text = content.decode("utf-8-sig")
    begin = len(BYTE_ORDER_MARK) if content.startswith(BYTE_ORDER_MARK) else 0
    del content
    decoder = json.JSONDecoder()

    def behind_space(place: int) -> int:
        match = _SPACE.match(text, place)
        assert match is not None
        return match.end()

    place = behind_space(0)
    if not text.startswith("[", place):
        raise ValueError("no list")
    row = behind_space(place + 1)
    if text.startswith("]", row):
        return
    # Places count characters, spans count bytes.
    begin += len(text[:row].encode())
    first = number = 0
    start = row
    while True:
        _, end = decoder.raw_decode(text, row)
        number += 1
        row = behind_space(end)
        is_last = not text.startswith(",", row)
        if is_last and (not text.startswith("]", row) or behind_space(row + 1) != len(text)):
            raise ValueError("no list")
        if is_last or number == first + rows:
            size = len(text[start:end].encode())
            yield RowSpan(first=first, count=number - first, begin=begin, end=begin + size)
            if is_last:
                return
            row = behind_space(row + 1)
            begin += size + len(text[end:row].encode())
            first, start = number, row
        else:
            row = behind_space(row + 1)
