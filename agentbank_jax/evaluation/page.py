"""The report as one HTML page that needs nothing beside it: styles and charts are inside."""

from html import escape

from agentbank_jax.evaluation.charts import Bar, bar_chart, line_chart
from agentbank_jax.evaluation.report import MEANING, Report, episode_title, episode_turns
from agentbank_jax.evaluation.sweep import SweepResult
from agentbank_jax.evaluation.tables import Table

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #60656c; --line: #d6d9dd; --back: #ffffff;
  --panel: #f5f6f8; --good: #1a7f4b; --bad: #b3382c;
  --s0: #2f6fdd; --s1: #9aa1ab; --s2: #d98a1f; --s3: #2f9e6b; --s4: #9a5bc7; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8ea; --soft: #a0a6ad; --line: #3a3f45; --back: #16181b;
  --panel: #202327; --good: #4fc38a; --bad: #ee7d70; --s0: #6b9dff; --s1: #7f868f; --s2: #eaa548; --s3: #52c592;
  --s4: #bd8be0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2.2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1.2em; } dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th.figure, td.figure { text-align: right; } tr.strong { font-weight: 650; }
.note, .meaning { color: var(--soft); font-size: .92em; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg .axis { fill: var(--soft); font-size: 11px; } svg .label { fill: var(--text); }
svg .grid { stroke: var(--line); } svg .whisker { stroke: var(--text); stroke-opacity: .55; }
svg .curve { fill: none; stroke: var(--s0); stroke-width: 1.8; }
svg .series-0 { fill: var(--s0); } svg .series-1 { fill: var(--s1); } svg .series-2 { fill: var(--s2); }
svg .series-3 { fill: var(--s3); } svg .series-4 { fill: var(--s4); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5em 0; }
summary { cursor: pointer; padding: .45em .8em; } .success { color: var(--good); } .failure { color: var(--bad); }
.turn { margin: .6em .8em; padding: .5em .8em; border-radius: 6px; background: var(--panel); }
.turn.agent { border-left: 4px solid var(--s0); } .turn.environment { border-left: 4px solid var(--s1); }
.turn.error { border-left: 4px solid var(--bad); }
.speaker { color: var(--soft); font-size: .8em; } .turn pre { margin: 0; font: 13px/1.45 ui-monospace, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def to_html(report: Report) -> str:
    """The whole page."""
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts.items())
    parts = [f"<h1>{escape(report.title)}</h1><dl>{facts}</dl>"]
    for result in report.results:
        parts.append(f"<h2>Success per skill, sweep ‘{escape(result.config.name)}’</h2>{_bars(result)}")
        parts += [_table(table) for table in report.tables(result)]
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
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _bars(result: SweepResult) -> str:
    groups = []
    for task in result.tasks:
        bars = []
        for model in result.models:
            summary = task.summaries.get(model)
            if summary is None or not summary.episodes:
                bars.append(Bar(value=None, label="not run" if task.not_run else "no episode"))
            else:
                bars.append(Bar(value=summary.success_rate, interval=summary.interval))
        mark = " (contaminated)" if task.contaminated else ""
        groups.append((f"{task.spec.name}{mark}", bars))
    return bar_chart(groups, result.models, title=f"Success rates, sweep {result.config.name}")


def _table(table: Table) -> str:
    def cells(tag: str, row: tuple[str, ...]) -> str:
        kinds = [""] * table.text_columns + [' class="figure"'] * (len(row) - table.text_columns)
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    kinds = [' class="strong"' if index in table.strong else "" for index in range(len(table.rows))]
    rows = "".join(f"<tr{kind}>{cells('td', row)}</tr>" for kind, row in zip(kinds, table.rows, strict=True))
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll"><table><thead><tr>{cells("th", table.columns)}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{notes}"
    )
