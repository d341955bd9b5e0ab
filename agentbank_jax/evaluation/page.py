"""The report as one HTML page that needs nothing beside it: styles and charts are inside."""

from html import escape

from agentbank_jax.evaluation.report import MEANING, Report, episode_title, episode_turns
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.presentation.charts import Bar, bar_chart, line_chart
from agentbank_jax.presentation.page import facts_list, page


def to_html(report: Report) -> str:
    """The whole page."""
    parts = [f"<h1>{escape(report.title)}</h1>{facts_list(report.facts)}"]
    for result in report.results:
        parts.append(f"<h2>Success per skill, sweep ‘{escape(result.name)}’</h2>{_bars(result)}")
        parts += [table.to_html() for table in report.tables(result)]
    parts.append(f'<p class="meaning">{escape(MEANING)}</p>')
    if report.losses:
        curve = line_chart(report.losses, title="Training loss", x_label="step", y_label="loss")
        parts.append(f"<h2>Training loss</h2>{curve}")
    parts.append(f"<h2>Episodes of {escape(report.model)}</h2>")
    parts.append('<p class="note">The first success and the first failure of each task; open one to read it.</p>')
    for record in report.episodes():
        kind = "success" if record.success else "failure"
        turns = "".join(
            f'<div class="turn {speaker}"><div class="speaker">{speaker}</div><pre>{escape(text)}</pre></div>'
            for speaker, text in episode_turns(record)
        )
        parts.append(f'<details><summary class="{kind}">{escape(episode_title(record))}</summary>{turns}</details>')
    return page(report.title, parts)


def _bars(result: SweepResult) -> str:
    groups = []
    for task in result.tasks:
        bars = []
        for model in (column.name for column in result.columns):
            summary = task.summaries.get(model)
            if summary is None or not summary.episodes:
                bars.append(Bar(value=None, label="not run" if task.not_run else "no episode"))
            else:
                bars.append(Bar(value=summary.success_rate, interval=summary.interval))
        mark = " (contaminated)" if task.contaminated else ""
        groups.append((f"{task.facts.name}{mark}", bars))
    return bar_chart(groups, [column.name for column in result.columns], title=f"Success rates, sweep {result.name}")
