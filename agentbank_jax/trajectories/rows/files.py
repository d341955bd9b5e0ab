"""Files of rows, whatever the rows mean: parquet, JSON and JSON lines, the last two also gzipped.

Parquet and JSON lines are read a part at a time; a JSON array is read whole, as the standard library
does it. JSON lines are split at "\\n" alone: contents may hold other characters that count as line
ends.
"""

import contextlib
import glob
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.errors import first_line
from agentbank_jax.trajectories.rows.errors import Reject, RowError, raise_error, shorten
from agentbank_jax.trajectories.schema import TrajectoryError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

KINDS = (".parquet", ".json", ".jsonl", ".json.gz", ".jsonl.gz")

_READ_BATCH = 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Returns the files that `paths` (a file, a glob pattern, or several of them) name, sorted.

    Raises:
      TrajectoryError: where a path or pattern matches no file.
    """
    found: list[Path] = []
    for pattern in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        text = os.fspath(pattern)
        matches = [text] if os.path.isfile(text) else [match for match in glob.glob(text) if os.path.isfile(match)]
        if not matches:
            raise TrajectoryError(f"{text}: no such file; expected trajectories as .parquet, .json or .jsonl.")
        found += [Path(match) for match in sorted(matches)]
    return sorted(set(found))


def file_kind(path: Path) -> str:
    """Returns the one of `KINDS` that a file's name ends in.

    Raises:
      TrajectoryError: where it ends in none.
    """
    name = path.name.lower()
    for kind in KINDS:
        if name.endswith(kind):
            return kind
    raise TrajectoryError(f"{path}: unknown kind of file; expected {', '.join(KINDS[:-1])} or {KINDS[-1]}.")


@dataclass(frozen=True, kw_only=True)
class RowSpan:
    """Neighbouring rows of a file, and where they stand in it; as it is, the whole file.

    Fields:
      first: the number of the first row.
      count: how many rows; None for all from the first on.
      begin, end: the bytes of a text file, unzipped, from which and up to which they reach; None for the file's end.
      line: the number of the line at `begin`, from 1.
    """

    first: int = 0
    count: int | None = None
    begin: int = 0
    end: int | None = None
    line: int = 1


WHOLE_FILE = RowSpan()


class RowReader:
    """Iterates over (number, row) of a file; numbers count from 0, empty lines do not count.

    `for number, row in RowReader(Path("train.jsonl")): …`

    Fields:
      fraction: how much of the file has been read, 0 to 1.
    """

    def __init__(
        self, path: Path, *, columns: Sequence[str] = (), reject: Reject = raise_error, span: RowSpan = WHOLE_FILE
    ) -> None:
        """Prepares to read `path`.

        Args:
          path: the file.
          columns: those that a parquet file must have.
          reject: called with what is no row at all, such as a line that is not JSON.
          span: the rows to read, as `row_spans.find_spans` gives them; numbers stay those of the whole file.

        Raises:
          TrajectoryError: on an unknown kind of file; while iterating, on a file that cannot be read.
        """
        self.fraction = 0.0
        self._path = path
        self._kind = file_kind(path)
        self._columns = columns
        self._reject = reject
        self._span = span

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if self._kind == ".parquet":
            rows = self._read_parquet()
        elif self._kind in (".json", ".json.gz"):
            rows = iter(self._read_json())
        else:
            rows = self._read_json_lines()
        for number, row in enumerate(rows, start=self._span.first):
            if isinstance(row, dict):
                yield number, row
                continue
            if not isinstance(row, RowError):
                row = self._not_a_row(number, shorten(row), "an object with the columns of a trajectory")
            self._reject(self._path, number, row)
        self.fraction = 1.0

    def _not_a_row(self, number: int, found: str, expected: str) -> RowError:
        return RowError(f"{self._path}, row {number}", None, found, expected)

    def _read_parquet(self) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path) as file:
                names = file.schema_arrow.names
                twice = sorted({name for name in names if names.count(name) > 1})
                if twice:
                    raise TrajectoryError(f"{self._path}: holds two columns {twice[0]}; expected each name once.")
                missing = [name for name in self._columns if name not in names]
                if missing:
                    raise TrajectoryError(
                        f"{self._path}: column {', '.join(missing)} is missing; found {', '.join(names)}; "
                        f"expected {' and '.join(self._columns)}."
                    )
                groups, number, end = self._row_groups(file.metadata)
                for batch in file.iter_batches(batch_size=_READ_BATCH, row_groups=groups):
                    if number + batch.num_rows > self._span.first and number < end:
                        skipped = max(self._span.first - number, 0)
                        yield from self._rows_of(batch.slice(skipped, end - number - skipped), number + skipped)
                    number += batch.num_rows
                    self.fraction = number / file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise TrajectoryError(f"{self._path}: cannot be read as parquet ({first_line(error)}).") from None

    def _row_groups(self, metadata: "pq.FileMetaData") -> tuple[list[int], int, int]:
        """Returns the row groups of the span, the number of their first row, and that behind the span's last."""
        first, count = self._span.first, self._span.count
        end = metadata.num_rows if count is None else first + count
        groups, start, begins = [], 0, []
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if start + rows > first and start < end:
                groups.append(group)
                begins.append(start)
            start += rows
        return groups, begins[0] if begins else first, end

    def _rows_of(self, batch: "pa.RecordBatch", number: int) -> Iterator[Any]:
        try:
            yield from batch.to_pylist()
            return
        except (ValueError, OverflowError):
            # Parquet does not check its strings, and its times are longer and finer than Python's; one by
            # one, the rows at fault are found.
            pass
        for offset in range(batch.num_rows):
            try:
                yield batch.slice(offset, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield self._not_a_row(number + offset, f"not UTF-8 ({error})", "text in UTF-8")
            except (ValueError, OverflowError) as error:
                yield self._not_a_row(number + offset, f"cannot be read ({first_line(error)})", "values of Python")

    def _read_json(self) -> list[Any]:
        with open_text(self._path, self._span.begin) as (file, _):
            if self._span.end is None:
                content = file.read().removeprefix(BYTE_ORDER_MARK)
            else:
                content = b"[%b]" % file.read(self._span.end - self._span.begin)
        try:
            rows = json.loads(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise TrajectoryError(f"{self._path}: cannot be read as UTF-8 text ({error}).") from None
        except (ValueError, RecursionError) as error:
            # Many a file of JSON lines is called .json.
            lines = " (JSON lines? Then call it .jsonl)" if str(error).startswith("Extra data") else ""
            raise TrajectoryError(f"{self._path}: not JSON ({error}); expected a list of rows{lines}.") from None
        if not isinstance(rows, list):
            raise TrajectoryError(f"{self._path}: holds {type(rows).__name__}; expected a list of rows.")
        return rows

    def _read_json_lines(self) -> Iterator[Any]:
        number = self._span.first
        end = None if self._span.count is None else number + self._span.count
        with open_text(self._path, self._span.begin) as (file, raw):
            size = max(1, os.fstat(raw.fileno()).st_size)
            for line_number, line in enumerate(file, start=self._span.line):
                if number == end:
                    return
                self.fraction = raw.tell() / size
                if line_number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError) as error:
                    encoding = "UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
                    where = f"{self._path}, row {number}, line {line_number}"
                    row = RowError(where, None, f"not {encoding} ({error})", "one row as JSON, in UTF-8, on each line")
                yield row
                number += 1


@contextlib.contextmanager
def open_text(path: Path, begin: int = 0) -> Iterator[tuple[io.BufferedIOBase, io.BufferedIOBase]]:
    """Opens a text file, unzipped from the byte `begin` on.

    Gives it, and the file on disk beneath it, whose position tells the progress.

    Raises:
      TrajectoryError: where it cannot be read, then or later.
    """
    try:
        with open(path, "rb") as raw, contextlib.ExitStack() as stack:
            file: io.BufferedIOBase = raw
            if file_kind(path).endswith(".gz"):
                file = stack.enter_context(gzip.GzipFile(fileobj=raw))
            file.seek(begin)
            yield file, raw
    except (OSError, EOFError, zlib.error) as error:
        raise TrajectoryError(f"{path}: cannot be read ({first_line(error)}).") from None
