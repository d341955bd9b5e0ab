"""Copies of banks without personal data: `[EMAIL]`, `[PHONE]`, … stand in its place."""

import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.lint.personal_data import DEFAULT_REGION, KINDS, find_personal_data
from agentbank_jax.trajectories.lint.rows import BankFile, read_raw_rows

PLACEHOLDERS: Mapping[str, str] = {kind: f"[{kind.upper()}]" for kind in KINDS}


def redact_text(text: str, region: str = DEFAULT_REGION) -> tuple[str, Counter[str]]:
    """Returns a text without personal data, and how often each kind was replaced.

    The same text comes back where nothing is found. In the text that comes back nothing is found.
    """
    counts: Counter[str] = Counter()
    # Again until nothing is found: what stood beside a removed number may have hidden another. It
    # ends, since each round leaves fewer digits or signs that could be found.
    while found := find_personal_data(text, region):
        for match in reversed(found):
            text = text[: match.start] + PLACEHOLDERS[match.kind] + text[match.end :]
            counts[match.kind] += 1
    return text, counts


def redact_row(row: Mapping[str, Any], region: str = DEFAULT_REGION) -> tuple[dict[str, Any], Counter[str]]:
    """Returns a row whose strings, but for its id, hold no personal data; and the counts.

    Ids are left alone, since other files name rows by them.
    """
    counts: Counter[str] = Counter()

    def redact(value: Any) -> Any:
        if isinstance(value, str):
            text, found = redact_text(value, region)
            counts.update(found)
            return text
        if isinstance(value, Mapping):
            return {key: redact(each) for key, each in value.items()}
        if isinstance(value, list):
            return [redact(each) for each in value]
        return value

    return {key: value if key == "id" else redact(value) for key, value in row.items()}, counts


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
) -> Counter[str]:
    """Writes redacted copies of files into the folder `output`, under their names, and returns the counts.

    Each file keeps its layout, compression and order; parquet files keep their schema. `output`
    appears when it is whole.

    Args:
      files: what to copy.
      output: the copy.
      region: as in `find_personal_data`.
      root: the folder that becomes `output`, such as the data folder; None takes the files' common one.

    Raises:
      AgentBankError: where `output` exists already, or a file cannot be read or written.
    """
    target = Path(output)
    check_new(target)
    paths = [file.path.resolve() for file in files]
    top = Path(root).resolve() if root else Path(os.path.commonpath([path.parent for path in paths]))
    staging = target.with_name(f".{target.name}.{os.getpid()}.redacting")
    counts: Counter[str] = Counter()
    try:
        for path in paths:
            copy = staging / path.relative_to(top)
            copy.parent.mkdir(parents=True, exist_ok=True)
            counts.update(_redact_file(path, copy, region))
        os.replace(staging, target)
    except OSError as error:
        raise AgentBankError(
            f"--redact={target}: cannot be written ({error.strerror}); choose a folder that can."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return counts


def _redact_file(path: Path, copy: Path, region: str) -> Counter[str]:
    if path.suffix == ".parquet":
        return _redact_parquet(path, copy, region)
    counts: Counter[str] = Counter()
    is_lines = ".jsonl" in path.suffixes
    # Without the time of writing in its header, the same bank gives the same bytes.
    with gzip.GzipFile(copy, "wb", mtime=0) if path.suffix == ".gz" else open(copy, "wb") as file:
        file.write(b"" if is_lines else b"[")
        for number, row in enumerate(read_raw_rows(path)):
            redacted, found = redact_row(row, region)
            counts.update(found)
            line = _to_json(redacted)
            file.write(line + b"\n" if is_lines else (b",\n" if number else b"\n") + line)
        file.write(b"" if is_lines else b"\n]\n")
    return counts


def _to_json(row: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode("utf-8")
    # Half a surrogate pair, which JSON can escape and UTF-8 cannot hold.
    except UnicodeEncodeError:
        return json.dumps(row).encode("ascii")


def _redact_parquet(path: Path, copy: Path, region: str) -> Counter[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts: Counter[str] = Counter()
    with pq.ParquetFile(path) as source, pq.ParquetWriter(copy, source.schema_arrow, compression="zstd") as writer:
        for group in range(source.num_row_groups):
            rows = []
            for row in source.read_row_group(group).to_pylist():
                redacted, found = redact_row(row, region)
                counts.update(found)
                rows.append(redacted)
            writer.write_table(pa.Table.from_pylist(rows, schema=source.schema_arrow))
    return counts
