"""Lints a bank: batches to worker processes, their results in order, then what needs all rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentbank_jax.progress import Extent
from agentbank_jax.trajectories.lint.batch import BatchResult, LintSettings, Tally, check_batch
from agentbank_jax.trajectories.lint.duplicates import Duplicate, exact_duplicates, near_duplicates
from agentbank_jax.trajectories.lint.mentions import Mentions
from agentbank_jax.trajectories.lint.overlap import Overlap
from agentbank_jax.trajectories.lint.rows import BankFile, Batch, read_batches
from agentbank_jax.trajectories.lint.rules import RULES, Finding, Level
from agentbank_jax.trajectories.lint.statistics import SourceStatistics
from agentbank_jax.worker_pool import map_in_order

ProgressCallback = Callable[[float, int], None]
"""Called with the part of the files' bytes that has been read, 0 to 1, and the rows so far."""


@dataclass
class LintResult:
    """What is known of a bank.

    Fields:
      files: those that were checked.
      file_rows: rows read of each.
      layouts: name of each one's layout.
      tally: all findings.
      sources: figures by task and source, in the order of the bank.
      overlaps: for each evaluation item that was met, how many rows hold it, the longest run, its
        share of the item's words, and the first rows that hold it.
    """

    files: Sequence[BankFile]
    tally: Tally
    file_rows: list[int]
    layouts: list[str]
    sources: dict[tuple[str, str], tuple[SourceStatistics, Mentions]] = field(default_factory=dict)
    overlaps: dict[int, "ItemOverlap"] = field(default_factory=dict)

    def count(self, level: Level) -> int:
        """Returns how many findings have a level."""
        return sum(count for (_, each), count in self.tally.findings.items() if each == level)


@dataclass
class ItemOverlap:
    """Where an evaluation item stands in the bank."""

    rows: int = 0
    words: int = 0
    share: float = 0.0
    first: list[tuple[str, int, str]] = field(default_factory=list)  # file, row, id

    def add(self, overlap: Overlap, place: tuple[str, int, str], most: int) -> None:
        self.rows += 1
        self.words = max(self.words, overlap.words)
        self.share = max(self.share, overlap.share)
        if len(self.first) < most:
            self.first.append(place)


def lint(
    files: Sequence[BankFile],
    settings: LintSettings,
    *,
    workers: int = 1,
    progress: ProgressCallback | None = None,
) -> LintResult:
    """Checks files; the result does not depend on the number of workers.

    Memory: about 0.8 KB a row, and a few batches of rows.

    Args:
      workers: processes beside this one, which reads; 1 checks in this one.
      progress: called after each batch.

    Raises:
      AgentBankError: on a number of workers below 1, or a worker that was killed.
    """
    extent = Extent([file.path for file in files])
    result = LintResult(
        files=files, tally=Tally(settings.max_examples), file_rows=[0] * len(files), layouts=[""] * len(files)
    )
    bank = _Rows(result, settings)
    for part in map_in_order(_check, (files, settings), read_batches(files), workers):
        bank.add(part)
        if progress is not None:
            progress(extent.fraction(part.file, part.fraction), len(bank.ids))
    bank.finish()
    return result


class _Rows:
    """Collects the results of batches, in order, and checks what needs all rows."""

    def __init__(self, result: LintResult, settings: LintSettings) -> None:
        self._result = result
        self._settings = settings
        self.ids: list[tuple[str, str]] = []
        self._places: list[tuple[int, int]] = []  # file and row
        self._first_of_id: dict[tuple[str, str], int] = {}
        self._keys: list[bytes] = []
        self._signatures: list[np.ndarray] = []

    def add(self, part: BatchResult) -> None:
        result = self._result
        result.layouts[part.file] = part.layout
        file = str(result.files[part.file].path)
        result.tally.merge(part.tally)
        for number, identity in zip(part.numbers, part.ids, strict=True):
            index = len(self.ids)
            self.ids.append(identity)
            self._places.append((part.file, number))
            earlier = self._first_of_id.setdefault(identity, index)
            if earlier != index and identity[1]:
                self._report(index, "duplicate-id", f"the id of {self._name(earlier)}")
        for place, overlaps in part.overlaps:
            for overlap in overlaps:
                where = (file, part.numbers[place], part.ids[place][1])
                result.overlaps.setdefault(overlap.item, ItemOverlap()).add(overlap, where, self._settings.max_examples)
        for source, (statistics, mentions) in part.sources.items():
            all_statistics, all_mentions = result.sources.setdefault(source, (SourceStatistics(), Mentions()))
            all_statistics.merge(statistics)
            all_mentions.merge(mentions)
        self._keys += part.keys
        self._signatures.append(part.signatures)
        result.file_rows[part.file] += len(part.ids)
        for fault in part.faults:
            task = result.files[part.file].task
            level = RULES["unreadable"].level
            result.tally.add_row([Finding("unreadable", level, file, fault.row, "", task, None, None, fault.message)])

    def finish(self) -> None:
        """Finds the rows that repeat others."""
        exact = exact_duplicates(self._keys)
        self._report_duplicates("exact-duplicate", exact)
        if not self._signatures:
            return
        signatures = np.concatenate(self._signatures)
        self._signatures.clear()
        skip = [duplicate.row for duplicate in exact] + [row for row, key in enumerate(self._keys) if not key]
        near = near_duplicates(signatures, threshold=self._settings.near_threshold, skip=skip)
        self._report_duplicates("near-duplicate", near)

    def _report_duplicates(self, rule: str, duplicates: Sequence[Duplicate]) -> None:
        for duplicate in duplicates:
            detail = f"repeats {self._name(duplicate.of)}"
            if rule == "near-duplicate":
                detail += f", estimated Jaccard similarity {duplicate.similarity:.2f}"
            self._report(duplicate.row, rule, detail)

    def _report(self, index: int, rule: str, detail: str) -> None:
        file, number = self._places[index]
        task, identifier = self.ids[index]
        path = str(self._result.files[file].path)
        finding = Finding(rule, RULES[rule].level, path, number, identifier, task, None, None, detail)
        self._result.tally.add_row([finding])

    def _name(self, index: int) -> str:
        file, number = self._places[index]
        return f"'{self.ids[index][1]}' ({self._result.files[file].path.name}, row {number})"


def _check(state: tuple[Sequence[BankFile], LintSettings], batch: Batch) -> BatchResult:
    files, settings = state
    return check_batch(batch, files[batch.file], settings)
