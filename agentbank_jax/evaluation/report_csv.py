"""The report as a table for programs: one row for each task and player, with all figures."""

import csv
import io
from collections.abc import Mapping

from agentbank_jax.agents.episode import TERMINATE_REASONS
from agentbank_jax.evaluation.gains import Estimate, Gains
from agentbank_jax.evaluation.report import Report
from agentbank_jax.evaluation.sheet import Cell, Player, Row, Sheet
from agentbank_jax.presentation.printable import printable


def to_csv(report: Report) -> str:
    """Returns CSV with a heading (RFC 4180). Rates are from 0 to 1; what does not apply is empty."""
    rows = [
        _row(sheet, gains, row, player, cell)
        for sheet, gains in report.sheets
        for row in sheet.rows
        for player in sheet.players
        if (cell := row.cells.get(player.name)) is not None
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    # What only some environments measure stands last.
    ordered = sorted(columns, key=lambda name: name.startswith("figure_"))
    text = io.StringIO()
    writer = csv.DictWriter(text, ordered, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return printable(text.getvalue())


def _row(sheet: Sheet, gains: Gains, row: Row, player: Player, cell: Cell) -> Mapping[str, object]:
    summary, base = cell.summary, player.base
    facts = {
        "sweep": sheet.name,
        "run": player.run,
        "model": player.model,
        "agent": player.agent,
        "column": player.name,
        "skill": row.facts.skill,
        "task": row.facts.name,
        "row": row.name,
        "held_out": int(row.facts.held_out),
        "protocol": row.facts.protocol,
        "answers": row.answers,
        "split": row.split,
        "seeds": sheet.seeds,
        "licence": row.facts.licence,
        "max_steps": row.facts.max_steps,
        "success_threshold": row.facts.success_threshold,
        "contaminated": int(cell.contaminated),
        "not_run": cell.not_run or "",
        "episodes_expected": cell.expected if cell.not_run is None else "",
        "episodes_so_far": len(cell.records) if cell.not_run is None else "",
        "stale": cell.stale,
        "base": base or "",
    }
    names = ("episodes", "instances", "left_out", "environment_errors", "success_rate", "average_reward", "steps",
             "invalid_rate", "tokens", "prompt_tokens", "seconds")  # fmt: skip
    counts = ("episodes", "instances", "left_out", "environment_errors")
    figures: dict[str, object] = {
        name: getattr(summary, name) if cell.played or (name in counts and cell.summary.episodes) else ""
        for name in names
    }
    low, high = summary.interval if cell.played else ("", "")
    figures |= {"success_low": low, "success_high": high}
    figures |= _ends("reward", _interval(gains.reached(player.name, row), "reward"))
    gain = gains.task(player.name, row)
    figures |= {
        "gain_instances": gain.instances if gain else "",
        "gain_success": gain.success if gain else "",
        **_ends("gain_success", _interval(gain, "success")),
        "gain_reward": gain.reward if gain else "",
        **_ends("gain_reward", _interval(gain, "reward")),
    }
    reasons = {f"ended_{reason}": summary.reasons.get(reason, 0) if cell.played else "" for reason in TERMINATE_REASONS}
    measured = {f"figure_{name}": value for name, value in summary.figures.items()}
    return {**facts, **figures, **reasons, **measured}


def _interval(estimate: Estimate | None, measure: str) -> tuple[float, float] | None:
    return None if estimate is None else getattr(estimate, f"{measure}_interval")


def _ends(name: str, interval: tuple[float, float] | None) -> dict[str, object]:
    low, high = interval or ("", "")
    return {f"{name}_low": low, f"{name}_high": high}
