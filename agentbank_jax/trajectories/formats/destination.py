"""Where a conversion writes: one file, or a folder of shards, whole or not at all."""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.formats.registry import Format
from agentbank_jax.trajectories.rows.errors import SkippedRow
from agentbank_jax.trajectories.rows.files import KINDS, file_kind
from agentbank_jax.trajectories.rows.writers import RowWriter, open_writer
from agentbank_jax.whole_files import whole_file, whole_folder

SKIPPED = "skipped.jsonl"
SHARD_KINDS = tuple(kind.removeprefix(".") for kind in KINDS)

_SHARD = re.compile(rf"train-\d+-of-\d+({'|'.join(map(re.escape, KINDS))})")


class Destination:
    """The place of a conversion's output, checked before anything is read."""

    def __init__(
        self,
        output: str | os.PathLike[str],
        *,
        kind: str | None,
        shard_rows: int | None,
        overwrite: bool,
        lists_skipped: bool,
    ) -> None:
        """Checks an output.

        Args:
          output: a file with one of the known endings; else a folder.
          kind: of the shards in a folder; None means parquet.
          shard_rows: trajectories per shard in a folder; None puts all in one.
          overwrite: whether what is there may be replaced.
          lists_skipped: whether `skipped.jsonl` is written too.

        Raises:
          AgentBankError: where the output cannot be written there.
        """
        text = os.fspath(output)
        self.path = Path(output)
        self._is_folder = text.endswith(os.sep) or self.path.is_dir() or not self.path.suffix
        self._shard_rows = shard_rows
        self._lists_skipped = lists_skipped
        if self._is_folder:
            if kind is not None and kind not in SHARD_KINDS:
                raise AgentBankError(f"--kind={kind} is unknown.{did_you_mean(kind, SHARD_KINDS)}")
            self._kind = f".{kind or 'parquet'}"
            if shard_rows is not None and shard_rows < 1:
                raise AgentBankError(f"--shard_rows={shard_rows}: expected at least 1.")
            self._check_folder(overwrite)
        else:
            for flag, value in (("--shard_rows", shard_rows), ("--kind", kind)):
                if value is not None:
                    raise AgentBankError(
                        f"{flag}={value}: {text} is one file; {flag} goes with a folder, a name without an ending."
                    )
            self._kind = file_kind(self.path)
            if lists_skipped and self.path.name == SKIPPED:
                raise AgentBankError(f"{self.path}: the skipped rows are listed there; choose another --output.")
            for path in (self.path, self.path.with_name(SKIPPED)) if lists_skipped else (self.path,):
                if path.exists() and not overwrite:
                    raise AgentBankError(f"{path}: exists; choose another --output or add --overwrite.")

    def _check_folder(self, overwrite: bool) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise AgentBankError(f"{self.path}: is a file; expected a folder, or a file name with an ending.")
        names = sorted(path.name for path in self.path.iterdir())
        if names and not overwrite:
            raise AgentBankError(f"{self.path}: holds {names[0]}; choose another --output or add --overwrite.")
        foreign = [name for name in names if name != SKIPPED and not _SHARD.fullmatch(name)]
        if foreign:
            raise AgentBankError(
                f"{self.path}: holds {foreign[0]}, which no conversion wrote; choose another --output or move it away."
            )

    @contextlib.contextmanager
    def open(self, layout: Format) -> Iterator["DestinationWriter"]:
        """Gives the writer of the output, which takes its place at the end; after an error nothing is left.

        Raises:
          AgentBankError: where the disk cannot be written.
        """
        try:
            with contextlib.ExitStack() as stack:
                if self._is_folder:
                    folder = stack.enter_context(whole_folder(self.path))
                    paths, skipped = (folder / f"train-{number:05d}" for number in itertools.count()), folder / SKIPPED
                else:
                    file = stack.enter_context(whole_file(self.path))
                    paths, skipped = (file for _ in range(1)), self.path.with_name(SKIPPED)
                    if self._lists_skipped:
                        skipped = stack.enter_context(whole_file(skipped))
                sink = stack.enter_context(open(skipped, "w", encoding="utf-8")) if self._lists_skipped else None
                with DestinationWriter(paths, self._kind, layout, self._shard_rows, sink) as writer:
                    yield writer
                if self._is_folder:
                    for number in range(writer.files):
                        name = f"train-{number:05d}-of-{writer.files:05d}{self._kind}"
                        os.replace(folder / f"train-{number:05d}", folder / name)
        except OSError as error:
            raise AgentBankError(f"{self.path}: cannot be written ({error.strerror or error}).") from None


class DestinationWriter:
    """Writes rows into one file after the other; a context manager.

    Fields:
      files: how many files there are.
    """

    def __init__(
        self, paths: Iterator[Path], kind: str, layout: Format, rows_per_file: int | None, sink: IO[str] | None
    ) -> None:
        self.files = 0
        self._paths = paths
        self._kind = kind
        self._layout = layout
        self._rows_per_file = rows_per_file
        self._sink = sink
        self._writer: RowWriter | None = None
        self._rows = 0

    def __enter__(self) -> "DestinationWriter":
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.__exit__(*error)

    def write(self, row: Mapping[str, Any], where: str) -> None:
        """Adds a row, as `RowWriter.write` does."""
        if self._writer is not None and self._rows == self._rows_per_file:
            # Before it is closed: an error then must not close it again.
            full, self._writer = self._writer, None
            full.__exit__(None, None, None)
        if self._writer is None:
            self._writer = open_writer(next(self._paths), self._kind, self._layout.messages, self._layout.message_types)
            self.files += 1
            self._rows = 0
        self._writer.write(row, where)
        self._rows += 1

    def list_skipped(self, row: SkippedRow) -> None:
        """Adds a row to `skipped.jsonl`, where there is one."""
        if self._sink is not None:
            self._sink.write(f"{row.to_json()}\n")
