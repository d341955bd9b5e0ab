"""All checks that need one row alone, on a batch of rows: what a worker process does."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt32

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.registry import FORMATS
from agentbank_jax.trajectories.lint.duplicates import (
    PERMUTATIONS,
    SHINGLE_WORDS,
    THRESHOLD,
    exact_key,
    shingles,
    signature,
)
from agentbank_jax.trajectories.lint.mentions import Mentions
from agentbank_jax.trajectories.lint.overlap import EvaluationIndex, Overlap
from agentbank_jax.trajectories.lint.personal_data import DEFAULT_REGION, check_region, find_personal_data, mask
from agentbank_jax.trajectories.lint.rows import BankFile, Batch, Fault, Row, loose_row
from agentbank_jax.trajectories.lint.rules import Finding, Level
from agentbank_jax.trajectories.lint.statistics import SourceStatistics
from agentbank_jax.trajectories.lint.structure import check_length, check_licence, check_structure, make_finding
from agentbank_jax.trajectories.lint.words import split_words
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn
from agentbank_jax.trajectories.templates.registry import ChatTemplate

_QUESTION_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class LintSettings:
    """What is checked, and how.

    Fields:
      task: the task of all rows; None takes each row's own, else its file's.
      template: counts tokens as in training; None counts none.
      instructions: by task, the system turn that training adds, for the count.
      max_tokens, max_characters: the longest rows that are not over-long; None means any.
      near_threshold: the least estimated Jaccard similarity of near duplicates.
      evaluation: items that must not stand in the bank; None checks none.
      region: country of telephone numbers without a country code, ISO 3166.
      max_examples: findings of each rule that the report shows.

    Raises:
      AgentBankError: on a value out of range.
    """

    task: str | None = None
    template: ChatTemplate | None = None
    instructions: Mapping[str, str] = field(default_factory=dict)
    max_tokens: int | None = None
    max_characters: int | None = None
    near_threshold: float = THRESHOLD
    evaluation: EvaluationIndex | None = None
    region: str = DEFAULT_REGION
    max_examples: int = 5

    def __post_init__(self) -> None:
        if not 0.5 <= self.near_threshold <= 1:
            raise AgentBankError(f"--near_threshold={self.near_threshold}: expected 0.5 to 1.")
        if self.max_tokens is not None and self.template is None:
            raise AgentBankError("--max_tokens needs a tokenizer; name its model with --tokenizer.")
        check_region("--region", self.region)
        for name in ("max_tokens", "max_characters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise AgentBankError(f"--{name}={value}: expected at least 1.")
        if self.max_examples < 0:
            raise AgentBankError(f"--max_examples={self.max_examples}: expected 0 or more.")


@dataclass
class Tally:
    """Findings counted, and the first of each rule kept.

    Fields:
      findings: how many of each rule and level.
      rows: how many rows break each rule.
      examples: the first findings of each rule.
    """

    most: int
    findings: Counter[tuple[str, Level]] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Finding]] = field(default_factory=dict)

    def add_row(self, findings: Sequence[Finding]) -> None:
        """Counts all findings about one row."""
        for finding in findings:
            self.findings[finding.rule, finding.level] += 1
            kept = self.examples.setdefault(finding.rule, [])
            if len(kept) < self.most:
                kept.append(finding)
        self.rows.update({finding.rule for finding in findings})

    def merge(self, other: "Tally") -> None:
        """Adds the findings of the rows that follow."""
        self.findings.update(other.findings)
        self.rows.update(other.rows)
        for rule, examples in other.examples.items():
            kept = self.examples.setdefault(rule, [])
            kept += examples[: self.most - len(kept)]


@dataclass
class BatchResult:
    """What is known of a batch.

    Fields:
      file, layout, numbers, faults, fraction: as in `Batch`.
      tally: findings about single rows.
      ids: task and id of each row.
      keys: what exact duplicates share; empty for a row that is malformed.
      signatures: minima of each row.
      overlaps: for each row with any, its place in the batch and the evaluation items in it.
      sources: figures by task and source.
    """

    file: int
    layout: str
    numbers: Sequence[int]
    faults: Sequence[Fault]
    fraction: float
    tally: Tally
    ids: list[tuple[str, str]]
    keys: list[bytes]
    signatures: UInt32[np.ndarray, "rows permutations"]
    overlaps: list[tuple[int, list[Overlap]]]
    sources: dict[tuple[str, str], tuple[SourceStatistics, Mentions]]


def check_batch(batch: Batch, file: BankFile, settings: LintSettings) -> BatchResult:
    """Runs all checks that need one row alone."""
    rows = [
        loose_row(raw, file=file, number=number, layout=FORMATS[batch.layout], forced_task=settings.task)
        for number, raw in zip(batch.numbers, batch.rows, strict=True)
    ]
    result = BatchResult(
        file=batch.file,
        layout=batch.layout,
        numbers=batch.numbers,
        faults=batch.faults,
        fraction=batch.fraction,
        tally=Tally(settings.max_examples),
        ids=[(row.task, row.id) for row in rows],
        keys=[],
        signatures=np.zeros((len(rows), PERMUTATIONS), np.uint32),
        overlaps=[],
        sources={},
    )
    for place, (row, tokens) in enumerate(zip(rows, _token_counts(rows, settings), strict=True)):
        words = split_words(row.text)
        runs = shingles(words)
        findings = [
            *check_structure(row),
            *check_length(row, tokens=tokens, max_tokens=settings.max_tokens, max_characters=settings.max_characters),
            *check_licence(row),
            *_check_personal_data(row, settings.region),
        ]
        result.keys.append(b"" if row.fault else exact_key(row.text))
        result.signatures[place] = signature(runs)
        if settings.evaluation is not None and len(words) >= SHINGLE_WORDS:
            overlaps = settings.evaluation.match(words, runs)
            if overlaps:
                result.overlaps.append((place, overlaps))
                findings.append(_overlap_finding(row, overlaps, settings.evaluation))
        result.tally.add_row(findings)
        statistics, mentions = result.sources.setdefault((row.task, row.source), (SourceStatistics(), Mentions()))
        statistics.add(row, words=len(words), tokens=tokens)
        mentions.add(row.text, words)
    return result


def _overlap_finding(row: Row, overlaps: Sequence[Overlap], evaluation: EvaluationIndex) -> Finding:
    longest = max(overlaps, key=lambda overlap: overlap.words)
    others = f", and runs of {len(overlaps) - 1:,} other items" if len(overlaps) > 1 else ""
    question = " ".join(evaluation.items[longest.item].text.split())[:_QUESTION_CHARACTERS]
    detail = f"{longest.words} words in a row ({longest.share:.0%}) of '{question}…'{others}"
    return make_finding(row, "evaluation-overlap", detail)


def _check_personal_data(row: Row, region: str) -> Iterator[Finding]:
    for position, turn in enumerate(row.turns):
        for match in find_personal_data(turn.content, region):
            shown = mask(turn.content[match.start : match.end])
            yield make_finding(row, f"personal-{match.kind}", f"{shown} in the {turn.role}'s turn", turn=position)
    for field_name, value in (*row.unread, *row.metadata.items()):
        for text in _strings(value):
            for match in find_personal_data(text, region):
                shown = mask(text[match.start : match.end])
                yield make_finding(row, f"personal-{match.kind}", f"{shown} beside the turns", field=field_name)


def _strings(value: object) -> Iterator[str]:
    # Without recursion: JSON may be nested more deeply than Python calls.
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            waiting += reversed([*each.values()])
        elif isinstance(each, list | tuple):
            waiting += reversed(each)


def _token_counts(rows: Sequence[Row], settings: LintSettings) -> list[int | None]:
    """Returns each row's tokens as training would make them; None where it is no trajectory."""
    counts: list[int | None] = [None] * len(rows)
    if settings.template is None:
        return counts
    places, trajectories = [], []
    for place, row in enumerate(rows):
        trajectory = _trajectory(row, settings.instructions.get(row.task))
        if trajectory is not None:
            places.append(place)
            trajectories.append(trajectory)
    for place, encoded in zip(places, settings.template.encode_batch(trajectories), strict=True):
        counts[place] = len(encoded.tokens)
    return counts


def _trajectory(row: Row, instruction: str | None) -> Trajectory | None:
    turns = list(row.turns)
    if instruction and turns and turns[0].role != "system":
        turns.insert(0, Turn.system(instruction))
    try:
        return Trajectory(id=row.id, task=row.task, turns=tuple(turns))
    except TrajectoryError:
        return None
