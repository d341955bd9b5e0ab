"""Copies of banks without personal data: `[EMAIL]`, `[PHONE]`, … stand in its place.

A copy is made string by string, so that it keeps what a layout says beside its texts: masks,
metadata, calls of tools. A string that is JSON, such as a call's arguments, stays JSON.
"""

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.progress import Extent
from agentbank_jax.trajectories.formats.registry import detect_format
from agentbank_jax.trajectories.lint.personal_data import DEFAULT_REGION, KINDS, PersonalData, find_personal_data
from agentbank_jax.trajectories.lint.rows import BATCH_ROWS, BankFile
from agentbank_jax.trajectories.rows.errors import RowError
from agentbank_jax.trajectories.rows.files import RowReader, file_kind
from agentbank_jax.trajectories.rows.text_columns import text_rows, with_text
from agentbank_jax.trajectories.rows.writers import ROW_GROUP, TextWriter, to_json
from agentbank_jax.trajectories.schema import TrajectoryError
from agentbank_jax.whole_files import whole_folder
from agentbank_jax.worker_pool import map_in_order

if TYPE_CHECKING:
    import pyarrow as pa

PLACEHOLDERS: Mapping[str, str] = {kind: f"[{kind.upper()}]" for kind in KINDS}

# Other files name rows by them.
_IDS = ("id", "item_id")

_VALUE_BEFORE = re.compile(r"[:,\[]\s*$")
_VALUE_AFTER = re.compile(r"\s*[,}\]]")


def redact_text(text: str, region: str = DEFAULT_REGION) -> tuple[str, Counter[str]]:
    """Returns a text without personal data, and how often each kind was replaced.

    The same text comes back where nothing is found. In the text that comes back nothing is found;
    where it is a JSON object or list, neither in the strings within, and it still is one.
    """
    counts: Counter[str] = Counter()
    while True:
        # Again until nothing is found: what stood beside a removed number may have hidden another. It
        # ends, since each round leaves fewer digits or signs that could be found.
        while found := find_personal_data(text, region):
            is_json = _parse(text) is not None
            for match in reversed(found):
                text = text[: match.start] + _placeholder(text, match, is_json) + text[match.end :]
                counts[match.kind] += 1
        inner = _parse(text)
        if inner is None:
            return text, counts
        # An escape such as `\u0040` hides data from a look at the text as it stands.
        redacted, more = _redact_value(inner, region)
        if not more:
            return text, counts
        text = json.dumps(redacted, ensure_ascii=False)
        counts += more


def redact_row(row: Mapping[str, Any], region: str = DEFAULT_REGION) -> tuple[dict[str, Any], Counter[str]]:
    """Returns a row whose strings, but for its id, hold no personal data; and the counts.

    A call of a tool is also looked at as the turn that it becomes: `phone[2125550187]` tells what
    its argument alone does not.
    """
    counts: Counter[str] = Counter()
    redacted = {}
    for key, value in row.items():
        redacted[key], found = (value, Counter[str]()) if key in _IDS else _redact_value(value, region)
        counts += found
    for piece, kind in _hidden_in_turns(redacted, region):
        placeholder = PLACEHOLDERS[kind]
        for key, value in redacted.items():
            if key not in _IDS:
                redacted[key] = _map_strings(value, lambda text: text.replace(piece, placeholder))  # noqa: B023
        counts[kind] += 1
    return redacted, counts


def check_new(output: str | os.PathLike[str]) -> None:
    """Raises AgentBankError where a copy cannot be put at `output`, since something is there."""
    if Path(output).exists():
        raise AgentBankError(
            f"--redact={os.fspath(output)}: exists already; choose a folder that does not, or remove it."
        )


def redact_files(
    files: Sequence[BankFile],
    output: str | os.PathLike[str],
    region: str = DEFAULT_REGION,
    *,
    root: str | os.PathLike[str] | None = None,
    workers: int = 1,
    progress: Callable[[float, int], None] | None = None,
) -> Counter[str]:
    """Writes redacted copies of files into the folder `output`, under their names, and returns the counts.

    Each file keeps its layout, compression and order; parquet files keep their schema. `output`
    appears when it is whole.

    Args:
      files: what to copy.
      output: the copy.
      region: as in `find_personal_data`.
      root: the folder that becomes `output`, such as the data folder; None takes the files' common one.
      workers: processes beside this one, which reads and writes; the bytes are the same for any number.
      progress: called with the part that is done, 0 to 1, and the rows so far.

    Raises:
      AgentBankError: where `output` exists already, or a file cannot be read or written.
    """
    target = Path(output)
    check_new(target)
    paths = [file.path.resolve() for file in files]
    top = Path(root).resolve() if root else Path(os.path.commonpath([path.parent for path in paths]))
    extent = Extent(paths)
    counts: Counter[str] = Counter()
    rows = 0
    try:
        with whole_folder(target) as staging:
            copied = map_in_order(_redact_part, region, _parts(paths), workers)
            for file, parts in itertools.groupby(copied, key=lambda part: part.file):
                copy = staging / paths[file].relative_to(top)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with _Copy(paths[file], copy) as writer:
                    for part in parts:
                        writer.write(part)
                        counts += part.counts
                        rows += len(part.rows)
                        if progress is not None:
                            progress(extent.fraction(file, part.fraction), rows)
    except TrajectoryError as error:
        raise AgentBankError(f"--redact={target}: nothing is copied, since {error}") from None
    except OSError as error:
        raise AgentBankError(
            f"--redact={target}: cannot be written ({error.strerror or error}); choose a folder that can."
        ) from None
    return counts


class _Part(NamedTuple):
    """Some rows of a file: as read, or as lines of JSON; a table's rows are a batch."""

    file: int
    path: Path
    first: int
    rows: "Sequence[Any] | pa.RecordBatch"
    fraction: float
    counts: Counter[str]


def _parts(paths: Sequence[Path]) -> Iterator[_Part]:
    """Yields the rows of files, at least one part of each."""
    for file, path in enumerate(paths):
        read = _read_batches if file_kind(path) == ".parquet" else _read_rows
        first = 0
        for rows, fraction in read(path):
            yield _Part(file, path, first, rows, fraction, Counter())
            first += len(rows)


def _read_rows(path: Path) -> Iterator[tuple[Sequence[Any], float]]:
    reader = RowReader(path)
    rows = []
    for _, row in reader:
        rows.append(row)
        if len(rows) == BATCH_ROWS:
            yield rows, reader.fraction
            rows = []
    yield rows, 1.0


def _read_batches(path: Path) -> "Iterator[tuple[pa.RecordBatch, float]]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise TrajectoryError(f"{path}: holds two columns of one name; expected each name once.")
            number = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                number += len(batch)
                yield batch, number / file.metadata.num_rows
            if not number:
                yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow), 1.0
    except (pa.ArrowException, OSError) as error:
        raise TrajectoryError(f"{path}: cannot be read as parquet ({first_line(error)}).") from None


def _redact_part(region: str, part: _Part) -> _Part:
    counts: Counter[str] = Counter()
    is_table = file_kind(part.path) == ".parquet"
    redacted: list[dict[str, Any]] = []
    lines: list[bytes] = []
    try:
        for row in text_rows(part.rows) if is_table else part.rows:
            clean, found = redact_row(row, region)
            counts += found
            redacted.append(clean)
            if not is_table:
                lines.append(_to_json(clean))
    except RecursionError:
        where = f"{part.path}, row {part.first + len(lines)}"
        raise TrajectoryError(f"{where}: nested too deeply; expected a row that can be copied.") from None
    except ValueError as error:
        # Of a table: text that is not UTF-8, a time that Python does not know.
        where = f"{part.path}, one of the rows {part.first} to {part.first + len(part.rows) - 1}"
        raise TrajectoryError(f"{where}: {first_line(error)}; expected rows that can be copied.") from None
    return part._replace(rows=with_text(part.rows, redacted) if is_table else lines, counts=counts)


class _Copy:
    """Writes the copy of a file; a context manager."""

    def __init__(self, path: Path, copy: Path) -> None:
        import pyarrow.parquet as pq

        self._batches: list[pa.RecordBatch] = []
        self._table: pq.ParquetWriter | None = None
        self._text: TextWriter | None = None
        kind = file_kind(path)
        if kind == ".parquet":
            self._table = pq.ParquetWriter(copy, pq.read_schema(path), compression="zstd")
        else:
            self._text = TextWriter(copy, kind)

    def __enter__(self) -> "_Copy":
        return self

    def __exit__(self, *error: object) -> None:
        if self._text is not None:
            self._text.__exit__(*error)
        if self._table is not None:
            with self._table:
                if error[0] is None:
                    self._flush()

    def write(self, part: _Part) -> None:
        if self._text is not None:
            for line in part.rows:
                self._text.write_line(line)
            return
        self._batches.append(part.rows)
        if sum(map(len, self._batches)) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        assert self._table is not None
        if self._batches:
            self._table.write_table(pa.Table.from_batches(self._batches), row_group_size=ROW_GROUP)
            self._batches.clear()


def _placeholder(text: str, match: PersonalData, is_json: bool) -> str:
    """Returns what stands for a match; a number that is a value of JSON becomes a string there."""
    placeholder = PLACEHOLDERS[match.kind]
    is_value = is_json and _VALUE_BEFORE.search(text, 0, match.start) and _VALUE_AFTER.match(text, match.end)
    return f'"{placeholder}"' if is_value else placeholder


def _parse(text: str) -> Any:
    """Returns the object or list that a text is as JSON; None where it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _redact_value(value: Any, region: str) -> tuple[Any, Counter[str]]:
    counts: Counter[str] = Counter()

    def redact(text: str) -> str:
        text, found = redact_text(text, region)
        counts.update(found)
        return text

    return _map_strings(value, redact), counts


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_strings(each, change) for key, each in value.items()}
    # The entries of a table's map are pairs.
    if isinstance(value, list | tuple):
        return type(value)(_map_strings(each, change) for each in value)
    return value


def _hidden_in_turns(row: Mapping[str, Any], region: str) -> list[tuple[str, str]]:
    """Returns (text, kind) of the personal data in turns that stand in no message as they are."""
    try:
        layout = detect_format(row)
        turns = layout.turns_from_row(row, "row")
    except RowError:
        return []
    plain = {text for message in row[layout.messages] for text in message.values() if isinstance(text, str)}
    return [
        (turn.content[match.start : match.end], match.kind)
        for turn in turns
        if turn.content not in plain
        for match in find_personal_data(turn.content, region)
    ]


def _to_json(row: Mapping[str, Any]) -> bytes:
    try:
        return to_json(row, allow_nan=True)
    # Half a surrogate pair, which JSON can escape and UTF-8 cannot hold.
    except UnicodeEncodeError:
        return json.dumps(row).encode("ascii")
