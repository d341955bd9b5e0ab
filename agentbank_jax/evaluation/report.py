"""The report of evaluations: what is in it, and its Markdown form.

`page`, `report_csv` and `report_latex` make the others.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from agentbank_jax.evaluation.cost_tables import cost_table, detail_table, figures_table, reasons_table
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.episode_data import episode_turns
from agentbank_jax.evaluation.failure import explain
from agentbank_jax.evaluation.gains import Gains
from agentbank_jax.evaluation.joining import Source, join
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.evaluation.tables import gain_table, overview_table, reward_table, skill_table, success_table
from agentbank_jax.presentation.printable import printable
from agentbank_jax.presentation.table import Table
from agentbank_jax.whole_files import unwritten, whole_file

MEANING = (
    "Success: reward at or above the environment's threshold. Success rates and average rewards are sums over all "
    "episodes, divided by their number; one that an error of the environment ended counts as 0 and is listed. A "
    "task that did not run counts nowhere. Means are over tasks, each with the same weight; a held-out task that a "
    "model was trained on is not in its mean, and instances that were trained on are in no held-in figure.",
    "Intervals hold 95 %. Those of success are Wilson's, of as many independent episodes as tell as much: several "
    "seeds of one instance are alike, so that their number is divided by the design effect, with instances as "
    "clusters; with one seed it is the number of episodes. Those of rewards and gains are bootstrap percentiles of "
    "10,000 resamples with a fixed seed: instances are drawn anew within each task, all episodes of one together. "
    "No interval is shown where all instances are alike, since resampling then has nothing to vary.",
    "A gain is model minus base, paired by instance: over the instances that both played, the difference of the "
    "means over their seeds. The intervals are about other instances of the same tasks, not about other tasks.",
    "Invalid: share of replies that held no action or one that the environment refused. The oracle plays the "
    "expert's actions.",
)
"""What figures and intervals mean, in paragraphs."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report shows.

    Fields:
      title: its heading.
      facts: name → value, shown first.
      sources: the sweeps, fresh or read from files.
      base: with whom every model is compared; None takes each sweep's own base.
      losses: (step, training loss); may be empty.
      episodes: the page holds at most so many episodes of each task and model; None for all.
    """

    title: str
    facts: Mapping[str, str]
    sources: tuple[Source, ...]
    base: str | None = None
    losses: Sequence[tuple[float, float]] = ()
    episodes: int | None = None

    @cached_property
    def sheets(self) -> tuple[tuple[Sheet, Gains], ...]:
        """The sweeps, those of one name joined.

        Raises:
          AgentBankError: nobody is called as `base` is.
        """
        return tuple((sheet, Gains(sheet)) for sheet in join(self.sources, base=self.base))

    def overview(self) -> Table:
        return overview_table(self.sheets)

    def tables(self, sheet: Sheet, gains: Gains) -> tuple[Table, ...]:
        """What every form of the report shows."""
        tables = (
            success_table(sheet),
            reward_table(sheet, gains),
            skill_table(sheet),
            gain_table(sheet, gains),
            reasons_table(sheet),
            cost_table(sheet),
            detail_table(sheet),
            figures_table(sheet),
        )
        return tuple(table for table in tables if table is not None)

    def examples(self) -> list[EpisodeRecord]:
        """The first success and the first failure of each task, of the first column of each sweep."""
        chosen = []
        for sheet, _ in self.sheets:
            for row in sheet.rows:
                cell = row.cells.get(sheet.players[0].name)
                records = cell.records if cell is not None else ()
                for outcome in (True, False):
                    chosen += [record for record in records if record.success is outcome][:1]
        return chosen


class ReportFiles(NamedTuple):
    """Where a report is."""

    markdown: Path
    page: Path
    csv: Path
    latex: Path


def write_report(report: Report, folder: Path) -> ReportFiles:
    """Writes `report.md`, `report.html`, `report.csv` and `report.tex`, each whole or not at all.

    Raises:
      AgentBankError: the folder cannot be written, or nobody is called as the base is.
    """
    from agentbank_jax.evaluation.page import to_html
    from agentbank_jax.evaluation.report_csv import to_csv
    from agentbank_jax.evaluation.report_latex import to_latex

    files = ReportFiles(*(folder / f"report.{suffix}" for suffix in ("md", "html", "csv", "tex")))
    contents = (to_markdown(report), to_html(report), to_csv(report), to_latex(report))
    for path, content in zip(files, contents, strict=True):
        try:
            with whole_file(path) as temporary:
                temporary.write_text(content, encoding="utf-8", errors="replace", newline="")
        except OSError as error:
            raise unwritten(path, error.strerror, "choose another folder") from error
    return files


def to_markdown(report: Report) -> str:
    """The report as Markdown; the loss curve is told as its first and last values."""
    parts = [f"# {report.title}", "\n".join(f"- **{name}**: {value}" for name, value in report.facts.items())]
    if report.losses:
        (first, loss), (last, final) = report.losses[0], report.losses[-1]
        parts.append(f"Training loss: {loss:.3f} at step {first:,.0f}, {final:.3f} at step {last:,.0f}.")
    parts.append(report.overview().to_markdown())
    for sheet, gains in report.sheets:
        parts.append(f"## Sweep {sheet.name}")
        parts += [table.to_markdown() for table in report.tables(sheet, gains)]
    parts += ["## How to read this", *MEANING, "## Episodes"]
    parts.append("The first success and the first failure of each task; report.html has every episode.")
    for record in report.examples():
        parts += [f"### {episode_title(record)}", " ".join(explain(record))]
        for speaker, text in episode_turns(record):
            fence = _fence(text)
            parts.append(f"**{speaker}**\n\n{fence}text\n{text}\n{fence}")
    return printable("\n\n".join(parts) + "\n")


def episode_title(record: EpisodeRecord) -> str:
    """One line that says which episode it is and how it ended."""
    verdict = "success" if record.success else "failure"
    reason = "" if record.terminate_reason == "success" else f" ({record.terminate_reason.replace('_', ' ')})"
    return f"{record.id}: {verdict}{reason}, reward {record.reward:.2f}, {record.steps} steps"


def _fence(text: str) -> str:
    """A code fence longer than any run of backticks in the text."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)
