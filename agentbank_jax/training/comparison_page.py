"""A comparison of runs as one HTML page: every view of every curve is in it, and its style sheet chooses.

There is no script in it, so that nothing that a run or its metrics are called could become one.
"""

from collections.abc import Iterator
from html import escape

import numpy as np
from jaxtyping import Float

from agentbank_jax.presentation.charts import Curve, overlay_chart
from agentbank_jax.presentation.page import page
from agentbank_jax.presentation.points import smooth, thin
from agentbank_jax.presentation.printable import printable
from agentbank_jax.training.comparison import AXES, Comparison, Run

SMOOTHING = {"none": 0.0, "0.9": 0.9, "0.99": 0.99}
"""Weights of TensorBoard's smoothing, by what they are called."""

SCALES = ("linear", "logarithmic")
COLOURS = (
    ("#2f6fdd", "#6b9dff"),
    ("#c8571b", "#f0924f"),
    ("#1e8a4c", "#52c592"),
    ("#c23b5a", "#ff7d93"),
    ("#7d4fc4", "#bd8be0"),
    ("#8a5a3c", "#c9a184"),
    ("#b8379b", "#f07fd3"),
    ("#5f6a75", "#a9b1ba"),
    ("#7f7a00", "#cfc94a"),
    ("#0e8296", "#4cc7dc"),
)
"""Of the curves, on a light and on a dark page; where there are more curves, they are dashed too."""

_BUCKETS, _SMOOTHED_BUCKETS = 160, 80
_OPEN = 4
_DASHES = (("solid", ""), ("dashed", "7 4"), ("dotted", "2 4"))


def to_html(comparison: Comparison) -> str:
    """Returns the whole page."""
    title = f"{len(comparison.runs)} runs" if len(comparison.runs) > 1 else "1 run"
    names = ", ".join(run.name for run in comparison.runs)
    charts = (
        f"<details{' open' * (place < _OPEN)}><summary>{escape(printable(metric))}</summary>"
        f"{''.join(_views(comparison, metric))}</details>"
        for place, metric in enumerate(comparison.metrics)
    )
    runs, *others = comparison.tables()
    return page(
        f"{title}: {names}",
        [
            f"<h1>{title}</h1>{runs.to_html()}",
            "<h2>Curves</h2>",
            _controls(comparison),
            *charts,
            "<h2>Figures</h2>",
            *(table.to_html() for table in others),
        ],
        style=_style(comparison),
    )


def _views(comparison: Comparison, metric: str) -> Iterator[str]:
    shown = printable(metric)
    sampled = [(index, run, _sampled(run, metric)) for index, run in enumerate(comparison.runs)]
    for axis in AXES:
        curves = [
            Curve(points=list(zip(x.tolist(), y.tolist(), strict=True)), name=run.name, style=f"run-{index} {style}")
            for index, run, samples in sampled
            for style, steps, y in samples
            if (x := run.places(steps, axis)) is not None
        ]
        for scale in SCALES:
            title, logarithmic = f"{shown} by {axis}, {scale}", scale == "logarithmic"
            chart = overlay_chart(curves, title=title, x_label=axis, y_label=shown, logarithmic=logarithmic)
            yield f'<div class="view x-{axis} y-{scale}">{chart}</div>'


def _sampled(run: Run, metric: str) -> list[tuple[str, Float[np.ndarray, " k"], Float[np.ndarray, " k"]]]:
    """The class, steps and values of the curve and its smoothed forms, of which fewer points tell as much."""
    steps, values = run.values(metric)
    samples = []
    for number, weight in enumerate(SMOOTHING.values()):
        y = smooth(values, weight) if weight else values
        kept = thin(steps, y, _SMOOTHED_BUCKETS if weight else _BUCKETS)
        samples.append((f"smooth-{number}", steps[kept], y[kept]))
    return samples


def _controls(comparison: Comparison) -> str:
    groups = [("x", "by", list(AXES)), ("y", "scale", list(SCALES)), ("smooth", "smoothing", list(SMOOTHING))]
    chosen = "".join(
        f"<fieldset><legend>{legend}</legend>"
        + "".join(
            f'<label><input type="radio" name="{name}" id="{name}-{number}"{" checked" * (number == 0)} />{choice}'
            "</label>"
            for number, choice in enumerate(choices)
        )
        + "</fieldset>"
        for name, legend, choices in groups
    )
    runs = "".join(
        f'<label><input type="checkbox" id="run-{index}" checked /><span class="key key-{index}"></span>'
        f"{escape(run.name)}</label>"
        for index, run in enumerate(comparison.runs)
    )
    return f'<form class="controls">{chosen}<fieldset><legend>runs</legend>{runs}</fieldset></form>'


def _style(comparison: Comparison) -> str:
    light, dark = (
        " ".join(f"--c{number}: {colour[theme]};" for number, colour in enumerate(COLOURS)) for theme in (0, 1)
    )
    rules = [
        f":root {{ {light} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
        ".controls { position: sticky; top: 0; background: var(--back); padding: .4em 0; z-index: 1; "
        "display: flex; flex-wrap: wrap; gap: .5em; }",
        "fieldset { border: 1px solid var(--line); border-radius: 6px; max-height: 9em; overflow-y: auto; }",
        "legend { color: var(--soft); font-size: .85em; } label { margin-right: .9em; overflow-wrap: anywhere; }",
        ".key { display: inline-block; width: 1.6em; margin-right: .3em; vertical-align: middle; "
        "border-top: 3px solid; }",
        "details > .view { padding: 0 .8em; }",
    ]
    for index in range(len(comparison.runs)):
        colour, (line, dashes) = index % len(COLOURS), _DASHES[index // len(COLOURS) % len(_DASHES)]
        rules += [
            f"svg .run-{index} {{ stroke: var(--c{colour});{f' stroke-dasharray: {dashes};' if dashes else ''} }}",
            f".key-{index} {{ border-top: 3px {line} var(--c{colour}); }}",
            f"body:has(#run-{index}:not(:checked)) svg .run-{index} {{ display: none; }}",
        ]
    for name, choices in (("x", AXES), ("y", SCALES)):
        for number, choice in enumerate(choices):
            rules.append(f"body:has(#{name}-{number}:checked) .view:not(.{name}-{choice}) {{ display: none; }}")
    for number in range(len(SMOOTHING)):
        # What is smoothed stays visible behind, faintly.
        rules.append(
            f"body:has(#smooth-{number}:checked) svg :is({_others(number)}) {{ display: none; }}"
            + (f" body:has(#smooth-{number}:checked) svg .smooth-0 {{ stroke-opacity: .2; }}" if number else "")
        )
    return "\n".join(rules)


def _others(number: int) -> str:
    return ", ".join(f".smooth-{other}" for other in range(1, len(SMOOTHING)) if other != number)
