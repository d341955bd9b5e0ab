"""Rows that break their layout: how each is named, and what becomes of it."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.trajectories.schema import TrajectoryError


class RowError(TrajectoryError):
    """One row that cannot be read or written; the message names file, row and field.

    Fields:
      field: the field at fault, such as `conversations[2].value`; None where the row is no row at all.
      expected: what should have been there; rows at fault for the same reason share it.
    """

    def __init__(self, where: str, field: str | None, found: str, expected: str) -> None:
        place = where if field is None else f"{where}, field {field}"
        super().__init__(f"{place}: {found}; expected {expected}.")
        self.field = field
        self.expected = expected


@dataclass(frozen=True, kw_only=True)
class SkippedRow:
    """A row that was left out.

    Fields:
      file: where it stands.
      row: its number in the file, from 0.
      field: the field at fault, or None.
      message: the whole error.
    """

    file: str
    row: int
    field: str | None
    message: str

    def to_json(self) -> str:
        """One line of `skipped.jsonl`, without its end."""
        return json.dumps({"file": self.file, "row": self.row, "field": self.field, "message": self.message})


Reject = Callable[[Path, int, RowError], None]
"""What is called with file, row number and error of a row that cannot be used."""


def raise_error(path: Path, number: int, error: RowError) -> None:
    """The `Reject` of `--on_error=raise`: the first bad row ends the reading."""
    raise error


class SkippedRows:
    """The `Reject` of `--on_error=skip`: counts bad rows by reason, keeps the first, and passes all on.

    Fields:
      reasons: how many rows were skipped for each reason.
      first: the first `keep` of them.
    """

    def __init__(self, keep: int | None = None, sink: Callable[[SkippedRow], None] | None = None) -> None:
        """Keeps every row by default; `sink` is called with each, for lists too long for memory."""
        self.reasons: Counter[str] = Counter()
        self.first: list[SkippedRow] = []
        self._keep = keep
        self._sink = sink

    def __call__(self, path: Path, number: int, error: RowError) -> None:
        # Positions are left out, so that rows with the same mistake are counted together.
        field = "" if error.field is None else re.sub(r"\[\d+\]", "[]", error.field) + ": "
        self.reasons[f"{field}expected {error.expected}"] += 1
        skipped = SkippedRow(file=str(path), row=number, field=error.field, message=str(error))
        if self._keep is None or len(self.first) < self._keep:
            self.first.append(skipped)
        if self._sink is not None:
            self._sink(skipped)

    def __len__(self) -> int:
        return self.reasons.total()


def shorten(value: object) -> str:
    """`repr`, cut to what fits into an error message; safe to print."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"{type(value).__name__}, nested too deeply"
    # A lone surrogate can be read from JSON but not be printed.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= 60 else f"{text[:57]}..."
