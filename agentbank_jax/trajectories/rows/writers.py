"""Writing rows as parquet, JSON or JSON lines, one at a time and in bounded memory.

The same rows give the same bytes (parquet: with the same pyarrow).
"""

import contextlib
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentbank_jax.errors import first_line
from agentbank_jax.trajectories.rows.errors import RowError, shorten
from agentbank_jax.trajectories.schema import TrajectoryError
from agentbank_jax.whole_files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# The columns that this project writes beside id, messages and task, in the order in which they
# stand in the file. Their types are fixed so that all shards of a bank share one schema.
METADATA_TYPES: Mapping[str, str] = {
    "skill": "string",
    "source": "string",
    "license": "string",
    "reward": "float64",
    "annotation": "string",
    "difficulty": "int64",
    "seed": "int64",
}

ROW_GROUP = 4096
"""Rows of a parquet row group, which is also what a parquet writer holds in memory."""

# Readers of parquet stop at 100.
_MOST_LEVELS = 90

# Characters that `str.splitlines` takes for line ends: escaped, so that other readers do not split there.
_LINE_ENDS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


class RowWriter(Protocol):
    """Writes rows to one file; a context manager."""

    def __enter__(self) -> "RowWriter": ...
    def __exit__(self, *error: object) -> None: ...

    def write(self, row: Mapping[str, Any], where: str) -> None:
        """Adds a row; `where` names it in errors.

        Raises:
          RowError: on a row with a value that JSON cannot hold; it can be left out.
          TrajectoryError: on rows that do not go into one parquet file, perhaps only at a later row
            or at the end.
        """


def open_writer(path: Path, kind: str, messages: str, message_types: Mapping[str, str]) -> RowWriter:
    """Returns a writer of a file.

    Args:
      path: the file, whatever its name; it is overwritten.
      kind: one of `rows.files.KINDS`.
      messages: the column that holds the list of messages.
      message_types: names and Arrow types of a message's fields, in their order in parquet; fields
        that no message has are left out there.
    """
    if kind == ".parquet":
        return _ParquetWriter(path, messages, message_types)
    return TextWriter(path, kind)


def write_rows(
    path: Path,
    kind: str,
    rows: Iterable[tuple[Mapping[str, Any], str]],
    messages: str,
    message_types: Mapping[str, str],
) -> int:
    """Writes (row, where) pairs as one file, which appears only when it is whole; returns how many."""
    count = 0
    with whole_file(path) as temporary, open_writer(temporary, kind, messages, message_types) as writer:
        for row, where in rows:
            writer.write(row, where)
            count += 1
    return count


class TextWriter:
    """Writes JSON or JSON lines, perhaps gzipped; a `RowWriter`."""

    def __init__(self, path: Path, kind: str) -> None:
        self._lines = ".jsonl" in kind
        self._open_files = contextlib.ExitStack()
        raw = self._open_files.enter_context(open(path, "wb"))  # noqa: SIM115, closed by __exit__
        self._file: io.BufferedIOBase = raw
        if kind.endswith(".gz"):
            # Neither name nor time stand in the file: the same rows give the same bytes.
            zipped = gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
            self._file = self._open_files.enter_context(zipped)
        self._empty = True

    def __enter__(self) -> "TextWriter":
        return self

    def __exit__(self, *error: object) -> None:
        with self._open_files:
            if not self._lines and error[0] is None:
                self._file.write(b"[]\n" if self._empty else b"\n]\n")

    def write(self, row: Mapping[str, Any], where: str) -> None:
        try:
            line = to_json(row)
        except (TypeError, ValueError, RecursionError):
            raise _not_json(row, where) from None
        self.write_line(line)

    def write_line(self, line: bytes) -> None:
        """Adds a row that is JSON already."""
        before = b"" if self._lines else b"[\n" if self._empty else b",\n"
        self._file.write(before + line + (b"\n" if self._lines else b""))
        self._empty = False


def to_json(value: object, *, allow_nan: bool = False) -> bytes:
    """Returns a value as one line of JSON.

    Raises:
      TypeError, ValueError, RecursionError: where JSON cannot hold it.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=allow_nan).translate(_LINE_ENDS).encode("utf-8")


def _not_json(row: Mapping[str, Any], where: str) -> RowError:
    """Names the column that JSON cannot hold."""
    for name, value in row.items():
        try:
            to_json({name: value})
        except (TypeError, ValueError, RecursionError) as error:
            expected = f"a value that JSON can hold ({first_line(error)})"
            return RowError(where, shorten(name)[1:-1], shorten(value), expected)
    raise AssertionError("a row that cannot be written has a column that cannot be")


class _ParquetWriter:
    """Groups of rows, each a table; where a later one has other columns, those before are written anew."""

    def __init__(self, path: Path, messages: str, message_types: Mapping[str, str]) -> None:
        self._path = path
        self._messages = messages
        self._message_types = message_types
        self._group: list[tuple[Mapping[str, Any], str]] = []
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_ParquetWriter":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None and (self._group or self._writer is None):
                self._flush()
        finally:
            if self._writer is not None:
                self._writer.close()

    def write(self, row: Mapping[str, Any], where: str) -> None:
        self._group.append((row, where))
        if len(self._group) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        table = self._table()
        if self._schema is None:
            self._open(self._path, table.schema)
        elif table.schema != self._schema:
            wider = self._unify(self._schema, table.schema)
            if wider != self._schema:
                self._rewrite(wider)
            table = self._conform(table, wider)
        assert self._writer is not None
        self._writer.write_table(table, row_group_size=ROW_GROUP)
        self._group.clear()

    def _open(self, path: Path, schema: "pa.Schema") -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def _table(self) -> "pa.Table":
        import pyarrow as pa

        messages = [message for row, _ in self._group for message in row[self._messages]]
        present = {name for message in messages for name in message} or set(self._message_types)
        fields = [(name, pa.type_for_alias(alias)) for name, alias in self._message_types.items() if name in present]
        types = {name: pa.type_for_alias(alias) for name, alias in METADATA_TYPES.items()}
        types |= {"id": pa.string(), self._messages: pa.list_(pa.struct(fields)), "task": pa.string()}
        columns = {"id", self._messages, "task"}.union(*(row for row, _ in self._group))
        return pa.table({name: self._array(name, types.get(name)) for name in self._ordered(columns)})

    def _ordered(self, columns: Iterable[str]) -> list[str]:
        """`id`, messages, `task`, the known metadata, then other columns by name."""
        first = ("id", self._messages, "task", *METADATA_TYPES)
        present = set(columns)
        return [*(name for name in first if name in present), *sorted(present.difference(first))]

    def _array(self, name: str, type_: "pa.DataType | None") -> "pa.Array":
        import pyarrow as pa

        values = [row.get(name) for row, _ in self._group]

        def build(count: int) -> "pa.Array":
            array = pa.array(values[:count], type=type_)
            if _is_unwritable(array.type):
                raise TypeError("what parquet refuses")
            return array

        failures = (pa.ArrowException, TypeError, ValueError, OverflowError)
        try:
            return build(len(values))
        except failures:
            # The first row that does not go with those before it: fewer rows build, more do not.
            good, bad = 0, len(values)
            while bad - good > 1:
                middle = (good + bad) // 2
                try:
                    build(middle)
                    good = middle
                except failures:
                    bad = middle
            known = type_ if type_ is not None else build(good).type
            raise self._error(name, good, "one type of value" if pa.types.is_null(known) else str(known)) from None

    def _error(self, name: str, index: int, type_: str) -> TrajectoryError:
        row, where = self._group[index]
        return TrajectoryError(
            f"{where}, field {name}: {shorten(row.get(name))}; expected {type_}, since a parquet column holds one "
            "type (.jsonl holds any)."
        )

    def _unify(self, former: "pa.Schema", new: "pa.Schema") -> "pa.Schema":
        import pyarrow as pa

        fields = {field.name: field for field in former}
        for field in new:
            schemas = [pa.schema([each]) for each in (fields.get(field.name, field), field)]
            try:
                fields[field.name] = pa.unify_schemas(schemas, promote_options="permissive").field(0)
            except pa.ArrowException:
                index = next(i for i, (row, _) in enumerate(self._group) if row.get(field.name) is not None)
                raise self._error(field.name, index, str(fields[field.name].type)) from None
        return pa.schema([fields[name] for name in self._ordered(fields)])

    def _conform(self, table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
        import pyarrow as pa

        try:
            return pa.Table.from_pylist(table.to_pylist(), schema=schema)
        except (pa.ArrowException, OverflowError) as error:
            reason = first_line(error)
            raise TrajectoryError(
                f"{self._group[0][1]}: this row and those after it do not go into one parquet file with the rows "
                f"before ({reason}); write .jsonl."
            ) from None

    def _rewrite(self, schema: "pa.Schema") -> None:
        """Puts what has been written so far into a file with more columns or fields."""
        import pyarrow.parquet as pq

        assert self._writer is not None
        self._writer.close()
        with whole_file(self._path) as wider:
            self._open(wider, schema)
            with pq.ParquetFile(self._path) as former:
                for group in range(former.num_row_groups):
                    table = self._conform(former.read_row_group(group), schema)
                    self._writer.write_table(table, row_group_size=ROW_GROUP)


def _is_unwritable(type_: "pa.DataType", depth: int = 1) -> bool:
    """Whether parquet refuses a type: an object without fields, or one that is nested too deeply to be read again."""
    import pyarrow as pa

    if depth > _MOST_LEVELS:
        return True
    if pa.types.is_struct(type_):
        return type_.num_fields == 0 or any(_is_unwritable(field.type, depth + 1) for field in type_)
    # A list is two levels in a file.
    return pa.types.is_list(type_) and _is_unwritable(type_.value_type, depth + 2)
