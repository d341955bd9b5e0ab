"""The report of an evaluation: what is in it, and its Markdown form. `page` makes the HTML."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import detail_table, reasons_table, success_table
from agentbank_jax.presentation.printable import printable
from agentbank_jax.presentation.table import Table
from agentbank_jax.whole_files import whole_file

MEANING = (
    "Success: reward at or above the environment's threshold. Average reward and success rate are sums over all "
    "episodes; one that an error of the environment ended counts as 0. Intervals: 95 %, "
    "Wilson's. Invalid: share of replies that held no action or one that the environment "
    "refused. All models play the same instances; the oracle plays the expert's actions."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a report shows.

    Fields:
      title: its heading.
      facts: name → value, shown first.
      model: the model whose episodes are shown.
      results: the sweeps.
      losses: (step, training loss); may be empty.
      episodes_per_outcome: at most so many successes and so many failures per task are shown whole.
    """

    title: str
    facts: Mapping[str, str]
    model: str
    results: tuple[SweepResult, ...]
    losses: Sequence[tuple[float, float]] = ()
    episodes_per_outcome: int = 1

    def tables(self, result: SweepResult) -> tuple[Table, ...]:
        return success_table(result), detail_table(result), reasons_table(result)

    def episodes(self) -> list[EpisodeRecord]:
        """The episodes to show: the first successes and the first failures of each task."""
        chosen = []
        for result in self.results:
            for task in result.tasks:
                records = task.records.get(self.model, ())
                for outcome in (True, False):
                    chosen += [r for r in records if r.success is outcome][: self.episodes_per_outcome]
        return chosen


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Writes `report.md` and `report.html`, each whole or not at all, and returns their paths.

    Raises:
      AgentBankError: the folder cannot be written.
    """
    from agentbank_jax.evaluation.page import to_html

    contents = {folder / "report.md": to_markdown(report), folder / "report.html": to_html(report)}
    for path, content in contents.items():
        try:
            with whole_file(path) as temporary:
                temporary.write_text(content, encoding="utf-8", errors="replace")
        except OSError as error:
            raise AgentBankError(
                f"{path}: cannot write the report ({error.strerror}); expected a folder that can be written, "
                "choose another with --model_dir."
            ) from error
    markdown, page = contents
    return markdown, page


def to_markdown(report: Report) -> str:
    """The report as Markdown; the loss curve is told as its first and last values."""
    parts = [f"# {report.title}", "\n".join(f"- **{name}**: {value}" for name, value in report.facts.items())]
    if report.losses:
        (first, loss), (last, final) = report.losses[0], report.losses[-1]
        parts.append(f"Training loss: {loss:.3f} at step {first:,.0f}, {final:.3f} at step {last:,.0f}.")
    for result in report.results:
        parts += [table.to_markdown() for table in report.tables(result)]
    parts.append(f"_{MEANING}_")
    parts.append("## Episodes")
    for record in report.episodes():
        parts.append(f"### {episode_title(record)}")
        for speaker, text in episode_turns(record):
            fence = _fence(text)
            parts.append(f"**{speaker}**\n\n{fence}text\n{text}\n{fence}")
    return "\n\n".join(parts) + "\n"


def episode_title(record: EpisodeRecord) -> str:
    """One line that says which episode it is and how it ended."""
    verdict = "success" if record.success else "failure"
    reason = "" if record.terminate_reason == "success" else f" ({record.terminate_reason.replace('_', ' ')})"
    return f"{record.id}: {verdict}{reason}, reward {record.reward:.2f}, {record.steps} steps"


def episode_turns(record: EpisodeRecord) -> list[tuple[str, str]]:
    """(speaker, text) of each turn, and what came after the last action."""
    speakers = {"human": "environment", "gpt": "agent"}
    turns = [(speakers[turn["from"]], turn["value"]) for turn in record.conversations]
    if record.final_observation is not None:
        turns.append(("environment", record.final_observation))
    if record.error:
        turns.append(("error", record.error))
    return [(speaker, printable(text)) for speaker, text in turns]


def _fence(text: str) -> str:
    """A code fence longer than any run of backticks in the text."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)
