"""The report as one HTML page that needs nothing beside it: styles, charts and every episode are inside."""

from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import accumulate
from pathlib import Path

from agentbank_jax.agents.episode import TERMINATE_REASONS
from agentbank_jax.evaluation.cost_tables import (
    cost_table,
    detail_table,
    figures_table,
    reasons_table,
    task_reasons_table,
)
from agentbank_jax.evaluation.episode_data import PackedEpisodes, pack
from agentbank_jax.evaluation.gains import Estimate, Gains
from agentbank_jax.evaluation.report import MEANING, Report
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.evaluation.tables import (
    CONTAMINATED,
    NOT_RUN,
    gain_table,
    reward_table,
    skill_table,
    success_table,
    task_name,
)
from agentbank_jax.presentation.charts import Bar, Curve, bar_chart, line_chart, overlay_chart
from agentbank_jax.presentation.line_charts import Point, forest_chart, stacked_chart
from agentbank_jax.presentation.page import facts_list, page
from agentbank_jax.presentation.printable import printable
from agentbank_jax.presentation.svg import COLOURS, series_style

_HERE = Path(__file__).parent
_KINDS = ((False, "held-in"), (True, "held-out"))
_FILTERS = ("sweep", "task", "model", "outcome", "reason")


def to_html(report: Report) -> str:
    """The whole page."""
    packed = pack([sheet for sheet, _ in report.sheets], limit=report.episodes)
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        facts_list(report.facts),
        report.overview().to_html(),
    ]
    for sheet, gains in report.sheets:
        parts += _sweep(sheet, gains)
    parts.append("<h2>How to read this</h2>" + "".join(f'<p class="meaning">{escape(text)}</p>' for text in MEANING))
    if report.losses:
        curve = line_chart(report.losses, title="Training loss", x_label="step", y_label="loss")
        parts.append(f'<h2>Training loss</h2><div class="chart">{curve}</div>')
    parts += _episodes(packed, report.episodes)
    style = (_HERE / "episodes.css").read_text(encoding="utf-8")
    script = (_HERE / "episodes.js").read_text(encoding="utf-8")
    # Whoever wrote a name or a text, nothing in the page commands whoever shows it.
    return printable(page(report.title, parts, style=style, script=script))


def _sweep(sheet: Sheet, gains: Gains) -> Iterator[str]:
    yield f"<h2>Sweep ‘{escape(sheet.name)}’</h2>"
    yield from (f'<p class="alarm">{escape(note)}</p>' for note in sheet.notes)
    yield success_table(sheet).to_html()
    yield _chart("Success per task", _task_bars(sheet))
    yield skill_table(sheet).to_html()
    yield _chart("Success per skill", _skill_bars(sheet))
    if (gained := gain_table(sheet, gains)) is not None:
        yield gained.to_html()
        yield _chart("Gain on the base", _gain_points(sheet, gains))
    yield reasons_table(sheet).to_html()
    yield _chart("Why episodes ended", _reason_bars(sheet))
    yield cost_table(sheet).to_html()
    yield _chart("Success by number of steps", _step_curves(sheet))
    others = (reward_table(sheet, gains), figures_table(sheet), detail_table(sheet), task_reasons_table(sheet))
    for table in others:
        if table is not None:
            yield f'<details class="tables"><summary>{escape(table.title)}</summary>{table.to_html()}</details>'


def _chart(title: str, svg: str) -> str:
    return f'<figure class="chart" aria-label="{escape(title)}">{svg}</figure>'


def _task_bars(sheet: Sheet) -> str:
    groups = []
    for row in sheet.rows:
        bars = []
        for player in sheet.players:
            cell = row.cells.get(player.name)
            if cell is None or not cell.played:
                bars.append(Bar(value=None, label=NOT_RUN if cell and cell.not_run else "no episode"))
            else:
                label = CONTAMINATED.lower() if cell.contaminated else ""
                bars.append(Bar(value=cell.summary.success_rate, interval=cell.summary.interval, label=label))
        groups.append((task_name(row), bars))
    return bar_chart(groups, _names(sheet), title=f"Success rates, sweep {sheet.name}")


def _skill_bars(sheet: Sheet) -> str:
    groups = []
    for held_out, kind in _KINDS:
        for skill in (*dict.fromkeys(row.facts.skill for row in sheet.rows_of(held_out=held_out)), None):
            means = [sheet.mean(name, held_out=held_out, skill=skill) for name in _names(sheet)]
            if any(means):
                bars = [
                    Bar(value=mean.success_rate, interval=mean.interval) if mean else Bar(value=None, label="no task")
                    for mean in means
                ]
                groups.append((f"{skill or 'all'}, {kind}", bars))
    return bar_chart(groups, _names(sheet), title=f"Success per skill, sweep {sheet.name}")


def _gain_points(sheet: Sheet, gains: Gains) -> str:
    points = []
    for held_out, kind in _KINDS:
        for row in sheet.rows_of(held_out=held_out):
            for series, name in enumerate(gains.bases):
                note = CONTAMINATED.lower() if gains.is_contaminated(name, row) else ""
                points += _point(task_name(row), series, gains.task(name, row), note=note)
        for series, name in enumerate(gains.bases):
            points += _point(f"{kind} mean", series, gains.mean(name, held_out=held_out), strong=True)
    pairs = [f"{name} − {base}" for name, base in gains.bases.items()]
    # In the colour that a model has in the other pictures.
    styles = [series_style(_names(sheet).index(name)) for name in gains.bases]
    title = f"Gains on the base, sweep {sheet.name}"
    return forest_chart(points, pairs, styles, title=title, x_label="gain in points of success (95 % interval)")


def _point(label: str, series: int, gain: Estimate | None, *, strong: bool = False, note: str = "") -> list[Point]:
    if gain is None:
        return []
    interval = gain.success_interval
    return [
        Point(
            label=label,
            value=100 * gain.success,
            interval=None if interval is None else (100 * interval[0], 100 * interval[1]),
            series=series,
            strong=strong,
            note=note,
        )
    ]


def _reason_bars(sheet: Sheet) -> str:
    rows = []
    for player in sheet.players:
        summaries = [cell.summary for _, cell in sheet.cells(player.name)]
        rows.append((player.name, [sum(one.reasons.get(each, 0) for one in summaries) for each in TERMINATE_REASONS]))
    names = [reason.replace("_", " ") for reason in TERMINATE_REASONS]
    styles = [f"reason-{reason.replace('_', '-')}" for reason in TERMINATE_REASONS]
    return stacked_chart(rows, names, styles, title=f"Why episodes ended, sweep {sheet.name}")


def _step_curves(sheet: Sheet) -> str:
    """The share of all episodes of a player that succeed within so many steps."""
    curves = []
    for number, player in enumerate(sheet.players):
        records = [one for _, cell in sheet.cells(player.name) for one in cell.records if not one.trained_on]
        won = Counter(record.steps for record in records if record.success)
        steps = range(max((record.steps for record in records), default=0) + 1)
        shares = accumulate(100 * won[step] / max(len(records), 1) for step in steps)
        style = f"line-{number % COLOURS}"
        curves.append(Curve(points=list(zip(steps, shares, strict=True)), name=player.name, style=style))
    title = f"Success by number of steps, sweep {sheet.name}"
    label = "% of all episodes that succeed within"
    return overlay_chart(curves, title=title, x_label="steps (replies)", y_label=label, legend=True)


def _names(sheet: Sheet) -> list[str]:
    return [player.name for player in sheet.players]


def _episodes(packed: PackedEpisodes, limit: int | None) -> Iterator[str]:
    yield "<h2>Episodes</h2>"
    if packed.shown < packed.known:
        yield (
            f'<p class="note">The first {limit} of each task and model: {packed.shown:,} of {packed.known:,} episodes '
            "are in this page; all of them count in the figures.</p>"
        )
    chosen = "".join(
        f'<label>{name}<select id="{name}"><option value="">all</option></select></label>' for name in _FILTERS
    )
    hint = "in ids, replies, observations"
    search = f'<label class="wide">text<input id="text" type="search" placeholder="{hint}" /></label>'
    yield f'<div id="filters">{chosen}{search}<button id="reset" type="button">Show all</button></div>'
    yield '<p id="status" role="status">Episodes are shown by a script of this page, which did not run.</p>'
    yield '<div id="episodes"></div><button id="more" type="button" hidden="">Show more</button>'
    yield packed.html
