"""The report: one JSON object with a fixed schema, and tables for a terminal.

The schema, version 2. Nothing in it depends on the time or on the number of workers, so that the
same bank and settings give the same bytes.

    schema_version  2
    settings        task, tokenizer (SHA-256 or null), max_tokens, max_characters, near_threshold,
                    ngram, region, max_examples
    files           [{path, task, layout, rows}]
    totals          rows, turns, words, characters, tokens (null without a tokenizer),
                    errors, warnings, notes
    rules           {name: {meaning, level, findings: {error, warning, note}, rows, examples}}, all
                    rules in a fixed order; examples: [{file, row, id, task, turn, field, level, detail}]
    sources         [{task, source, rows, turns, assistant_turns, trained_turns, words, characters,
                    tokens, longest, rewarded, mean_reward, least_reward, greatest_reward, licences, annotations,
                    pronouns: {he, she, they}, names: [[name, count]], places: [[name, count]]}]
    overlap         null without --against, else {ngram, files: [{path, items, too_short, met}],
                    items: [{file, item, question, rows, longest_run, share, examples: [{file, row, id}]}]}

`licences` and `annotations` count rows, under "" those that state none. `longest` is in tokens, or
in characters without a tokenizer. Of `items`, those with the longest shares come first.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.trajectories.lint.batch import LintSettings
from agentbank_jax.trajectories.lint.linter import LintResult
from agentbank_jax.trajectories.lint.mentions import PRONOUNS, top
from agentbank_jax.trajectories.lint.overlap import EvaluationItem
from agentbank_jax.trajectories.lint.rules import LEVELS, RULES
from agentbank_jax.whole_files import write_output

if TYPE_CHECKING:
    from rich.console import RenderableType

SCHEMA_VERSION = 2

_FIGURES = ["rows", "turns", "assistant_turns", "trained_turns", "words", "characters", "tokens", "longest", "rewarded"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TOP_NAMES = 20
_SHOWN_NAMES = 8
_MOST_ITEMS = 1000
_QUESTION_CHARACTERS = 200
_STYLES = {"error": "red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True)
class EvaluationFiles:
    """The files given by --against, and their items."""

    paths: Sequence[Path]
    items: Sequence[EvaluationItem]


def build_report(
    result: LintResult, settings: LintSettings, evaluation: EvaluationFiles | None = None
) -> dict[str, Any]:
    """Returns the report as the module's docstring describes it."""
    sources = [_source(task, source, result) for task, source in result.sources]
    counted = [source["tokens"] for source in sources if source["tokens"] is not None]
    totals: dict[str, Any] = {
        name: sum(source[name] for source in sources) for name in ("rows", "turns", "words", "characters")
    }
    totals["tokens"] = sum(counted) if counted else None
    totals |= {f"{level}s": result.count(level) for level in LEVELS}
    template, index = settings.template, settings.evaluation
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": {
            "task": settings.task,
            "tokenizer": template.tokenizer.fingerprint if template else None,
            "max_tokens": settings.max_tokens,
            "max_characters": settings.max_characters,
            "near_threshold": settings.near_threshold,
            "ngram": index.n if index else None,
            "region": settings.region,
            "max_examples": settings.max_examples,
        },
        "files": [
            {"path": str(file.path), "task": file.task, "layout": layout, "rows": rows}
            for file, layout, rows in zip(result.files, result.layouts, result.file_rows, strict=True)
        ],
        "totals": totals,
        "rules": {name: _rule(name, result) for name in RULES},
        "sources": sources,
        "overlap": _overlap(result, settings, evaluation),
    }


def write_report(report: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a report as JSON; the file appears when it is whole.

    Raises:
      AgentBankError: where it cannot be written.
    """
    write_output("--report", path, json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def render_report(report: dict[str, Any]) -> "list[RenderableType]":
    """Returns the parts of a report: tables of findings, sources, mentions and overlaps, and lines of text."""
    from rich.text import Text

    totals = report["totals"]
    parts: list[RenderableType] = [_findings_table(report), *_examples(report), _sources_table(report)]
    parts.append(_mentions_table(report))
    if report["overlap"] is not None:
        parts.append(_overlap_table(report))
    counts = ", ".join(f"{level}s {totals[f'{level}s']:,}" for level in LEVELS)
    parts.append(Text(f"trajectories {totals['rows']:,}, files {len(report['files']):,}, {counts}"))
    return parts


def _rule(name: str, result: LintResult) -> dict[str, Any]:
    tally = result.tally
    return {
        "meaning": RULES[name].meaning,
        "level": RULES[name].level,
        "findings": {level: tally.findings[name, level] for level in LEVELS},
        "rows": tally.rows[name],
        "examples": [
            {key: getattr(finding, key) for key in ("file", "row", "id", "task", "turn", "field", "level", "detail")}
            for finding in tally.examples.get(name, ())
        ],
    }


def _source(task: str, source: str, result: LintResult) -> dict[str, Any]:
    statistics, mentions = result.sources[task, source]
    names, places = mentions.names_and_places()
    figures = asdict(statistics)
    total = figures.pop("reward_sum")
    return {
        "task": task,
        "source": source,
        **{key: figures[key] for key in _FIGURES},
        "mean_reward": total / statistics.rewarded if statistics.rewarded else None,
        "least_reward": statistics.reward_least,
        "greatest_reward": statistics.reward_greatest,
        "licences": dict(top(statistics.licences, len(statistics.licences))),
        "annotations": dict(top(statistics.annotations, len(statistics.annotations))),
        "pronouns": {group: mentions.pronouns[group] for group in PRONOUNS},
        "names": [list(entry) for entry in top(names, _TOP_NAMES)],
        "places": [list(entry) for entry in top(places, _TOP_NAMES)],
    }


def _overlap(result: LintResult, settings: LintSettings, evaluation: EvaluationFiles | None) -> dict[str, Any] | None:
    index = settings.evaluation
    if index is None or evaluation is None:
        return None
    items = evaluation.items
    order = sorted(result.overlaps.items(), key=lambda pair: (-pair[1].share, -pair[1].words, pair[0]))
    return {
        "ngram": index.n,
        "files": [
            {
                "path": str(path),
                "items": sum(item.file == number for item in items),
                "too_short": sum(items[item].file == number for item in index.too_short),
                "met": sum(items[item].file == number for item in result.overlaps),
            }
            for number, path in enumerate(evaluation.paths)
        ],
        "items": [
            {
                "file": str(evaluation.paths[items[item].file]),
                "item": items[item].number,
                "question": items[item].text[:_QUESTION_CHARACTERS],
                "rows": met.rows,
                "longest_run": met.words,
                "share": met.share,
                "examples": [{"file": file, "row": row, "id": identifier} for file, row, identifier in met.first],
            }
            for item, met in order[:_MOST_ITEMS]
        ],
    }


def _table(title: str, *columns: str, right: Sequence[str] = ()) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _plain(text: str) -> Any:
    """Returns text from the bank as it stands: `[x]` is no markup, and what UTF-8 cannot hold is a question mark.

    Characters that steer a terminal are shown as such that do not.
    """
    from rich.text import Text

    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode("utf-8")))


def _findings_table(report: dict[str, Any]) -> Any:
    table = _table("findings", "rule", "level", "findings", "rows", "meaning", right=("findings", "rows"))
    for name, rule in report["rules"].items():
        for level in LEVELS:
            if rule["findings"][level]:
                count = f"{rule['findings'][level]:,}"
                table.add_row(name, level, count, f"{rule['rows']:,}", rule["meaning"], style=_STYLES[level])
    if not table.row_count:
        table.add_row("none", "", "", "", "")
    return table


def _examples(report: dict[str, Any]) -> list[Any]:
    lines = []
    for name, rule in report["rules"].items():
        for example in rule["examples"]:
            place = f"{example['file']}, row {example['row']}" if example["row"] >= 0 else example["file"]
            turn = "" if example["turn"] is None else f", turn {example['turn']}"
            field = "" if example["field"] is None else f", field {example['field']}"
            which = f" '{example['id']}'" if example["id"] else ""
            line = _plain(f"{name}: {place}{which}{turn}{field}: {example['detail']}")
            line.stylize(_STYLES[example["level"]])
            lines.append(line)
    return lines


def _sources_table(report: dict[str, Any]) -> Any:
    numbers = ("rows", "turns", "words", "tokens", "longest", "reward")
    table = _table("sources", "task", "source", *numbers, "licence", "annotation", right=numbers)
    for source in report["sources"]:
        tokens, reward = source["tokens"], source["mean_reward"]
        table.add_row(
            _plain(source["task"]),
            _plain(source["source"] or "-"),
            f"{source['rows']:,}",
            f"{source['turns']:,}",
            f"{source['words']:,}",
            "-" if tokens is None else f"{tokens:,}",
            f"{source['longest']:,}",
            "-" if reward is None else f"{reward:.3f}",
            _plain(_shares(source["licences"])),
            _plain(_shares(source["annotations"])),
        )
    return table


def _shares(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts)) or "none"
    total = sum(counts.values())
    return ", ".join(f"{name or 'none'} {count / total:.0%}" for name, count in counts.items())


def _mentions_table(report: dict[str, Any]) -> Any:
    groups = tuple(PRONOUNS)
    title = "spoken of (pronouns per 1,000 words; capitalised words, which no model has looked at)"
    table = _table(title, "task", "source", *groups, "names", "places", right=groups)
    for source in report["sources"]:
        rates = [f"{1000 * source['pronouns'][group] / max(1, source['words']):.2f}" for group in groups]
        found = [
            ", ".join(f"{name} {count:,}" for name, count in source[kind][:_SHOWN_NAMES])
            for kind in ("names", "places")
        ]
        table.add_row(_plain(source["task"]), _plain(source["source"] or "-"), *rates, *found)
    return table


def _overlap_table(report: dict[str, Any]) -> Any:
    overlap = report["overlap"]
    numbers = ("items", "met", "share", "too short")
    table = _table(
        f"overlap with evaluation items ({overlap['ngram']} words in a row)", "file", *numbers, right=numbers
    )
    for file in overlap["files"]:
        checked = file["items"] - file["too_short"]
        share = f"{file['met'] / checked:.1%}" if checked else "-"
        table.add_row(_plain(file["path"]), f"{file['items']:,}", f"{file['met']:,}", share, f"{file['too_short']:,}")
    return table
