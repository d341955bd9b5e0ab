"""Rows in the released layout, made to hold one thing or not."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.trajectories.lint.batch import LintSettings
from agentbank_jax.trajectories.lint.linter import LintResult, lint
from agentbank_jax.trajectories.lint.rows import BankFile

GOOD_TURNS = (
    ("human", "What is 12 times 24?"),
    ("gpt", "Thought: I multiply.\nAction: 12 * 24"),
    ("human", "Observation: 288"),
    ("gpt", "Thought: That is it.\nFinal Answer: 288"),
)


def make_row(*turns: tuple[str, str], id: str = "row", **columns: Any) -> dict[str, Any]:
    """A row of `turns`, or of `GOOD_TURNS` where none are given, with a licence."""
    conversations = [{"from": speaker, "value": text} for speaker, text in turns or GOOD_TURNS]
    return {"id": id, "conversations": conversations, "license": "CC0-1.0", **columns}


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def lint_rows(tmp_path: Path, rows: Sequence[Mapping[str, Any]], *, task: str = "gsm8k", **settings: Any) -> LintResult:
    """Lints rows of a task in this process."""
    path = write_rows(tmp_path / "rows.jsonl", rows)
    return lint([BankFile(path, task)], LintSettings(**settings))


def found(result: LintResult) -> dict[str, int]:
    """Findings by rule, those that there are."""
    counts: dict[str, int] = {}
    for (rule, _), count in sorted(result.tally.findings.items()):
        counts[rule] = counts.get(rule, 0) + count
    return counts
