"""Charts as inline SVG: no scripts, no fonts, no files beside them.

Colours and text come from the page's style sheet (`.axis`, `.series-0` …), so that one picture
suits a light and a dark page.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agentbank_jax.presentation import svg

_LARGEST = 1e30


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: a rate from 0 to 1, or None, with its interval, if it has one, and a label beside it."""

    value: float | None
    interval: tuple[float, float] | None = None
    label: str = ""


def bar_chart(groups: Sequence[tuple[str, Sequence[Bar]]], series: Sequence[str], *, title: str) -> str:
    """Horizontal bars of rates, grouped; whiskers show the intervals.

    Args:
      groups: (name, one bar for each series).
      series: names, in the order of the bars.
      title: for readers who cannot see the picture.
    """
    left, width, bar, gap = svg.room(name for name, _ in groups), 480, 13, 14
    labels = [value.label for _, bars in groups for value in bars if value.value is not None]
    right = 60 + 7 * max(map(len, labels), default=0)
    styles = list(map(svg.series_style, range(len(series))))
    key, top = svg.legend(series, styles, left, left + width + right)
    height = top + sum(len(bars) * bar + gap for _, bars in groups) + 24
    parts = [svg.open_svg(left + width + right, height, title), key]
    bottom = height - 20
    for percent in (0, 25, 50, 75, 100):
        at = left + width * percent / 100
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{top - 6}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{at:.1f}" y="{height - 6}" text-anchor="middle">{percent} %</text>')
    y = float(top)
    for name, bars in groups:
        middle = y + len(bars) * bar / 2 + 4
        parts.append(svg.row_label(name, left, middle))
        for index, value in enumerate(bars):
            parts.append(_bar(value, index, series[index], name, left, width, y, bar))
            y += bar
        y += gap
    return "".join([*parts, "</svg>"])


def _bar(value: Bar, index: int, series: str, group: str, left: int, width: int, y: float, size: int) -> str:
    if value.value is None:
        return f'<text class="axis" x="{left + 4}" y="{y + size - 3:.1f}">{escape(value.label)}</text>'
    length = width * min(max(value.value, 0.0), 1.0)
    text = f"{group}, {series}: {100 * value.value:.1f} %"
    whisker, end = "", left + length
    if value.interval is not None:
        low, high = (left + width * bound for bound in value.interval)
        middle, end = y + size / 2, max(end, high)
        whisker = f'<line class="whisker" x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}"/>'
    shown = f"{100 * value.value:.0f} {escape(value.label)}".strip()
    return (
        f"<g><title>{escape(text)}</title>"
        f'<rect class="{svg.series_style(index)}" x="{left}" y="{y + 1:.1f}" width="{max(length, 1.5):.1f}" '
        f'height="{size - 2}" rx="2"/>{whisker}'
        f'<text class="axis" x="{end + 5:.1f}" y="{y + size - 3:.1f}">{shown}</text></g>'
    )


def histogram(edges: Sequence[int], counts: Sequence[int], *, title: str, x_label: str, y_label: str) -> str:
    """Upright bars of counts; bar `i` reaches from `edges[i]` to `edges[i + 1]`.

    Args:
      edges: one more than there are counts, ascending.
      counts: 0 or more each.
      title: for readers who cannot see the picture.
      x_label, y_label: what edges and counts are.
    """
    left, top, width, height = 62, 20, 660, 220
    parts = [svg.open_svg(left + width + 20, top + height + 46, title)]
    most, step = max(*counts, 1), width / len(counts)
    for part in range(5):
        y = top + height * (1 - part / 4)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        shown = f"{most * part / 4:,.0f}" if most >= 8 else f"{most * part / 4:g}"
        parts.append(f'<text class="axis" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}</text>')
    for index, count in enumerate(counts):
        x, size = left + index * step, height * count / most
        parts.append(
            f"<g><title>{edges[index]:,} to {edges[index + 1] - 1:,}: {count:,}</title>"
            f'<rect class="series-0" x="{x + 1:.1f}" y="{top + height - size:.1f}" width="{step - 2:.1f}" '
            f'height="{size:.1f}"/></g>'
        )
    # Not so many labels that they touch.
    every = -(-len(edges) // 12)
    for index in range(0, len(edges), every):
        place = f'x="{left + index * step:.1f}" y="{top + height + 18}" text-anchor="middle"'
        parts.append(f'<text class="axis" {place}>{edges[index]:,}</text>')
    return "".join([*parts, _axis_labels(left, top, width, height, x_label, y_label), "</svg>"])


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve: its points by ascending x, its name, and its class in the page's style sheet."""

    points: Sequence[tuple[float, float]]
    name: str
    style: str = "curve"


def line_chart(points: Sequence[tuple[float, float]], *, title: str, x_label: str, y_label: str) -> str:
    """A curve with a logarithmic y axis where all values are above 0, else a linear one.

    Points that are not finite, or beyond all scale, are left out; more than 600 are thinned to means of neighbours.
    """
    finite = [(x, y) for x, y in points if math.isfinite(x) and abs(y) < _LARGEST]
    if len(finite) < 2:
        finite = []
    curve = Curve(points=_thin(finite, 600) if finite else [], name=title)
    logarithmic = all(y > 0 for _, y in finite)
    return overlay_chart([curve], title=title, x_label=x_label, y_label=y_label, logarithmic=logarithmic)


def overlay_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    logarithmic: bool = False,
    legend: bool = False,
) -> str:
    """Curves over each other, each with its name as a tooltip; a curve of one point is a dot.

    Args:
      curves: points that are not finite, beyond all scale, or without a logarithm where it is needed, are left out.
      title: for readers who cannot see the picture.
      x_label, y_label: what the axes are.
      logarithmic: the scale of the y axis.
      legend: whether the names also stand above.
    """
    left, width, height = 62, 660, 240
    names, styles = [curve.name for curve in curves], [curve.style for curve in curves]
    key, top = svg.legend(names, styles, left, left + width) if legend else ("", 14)
    parts = [svg.open_svg(left + width + 20, top + height + 46, title), key]
    scaled = [
        [
            (x, math.log10(y) if logarithmic else y)
            for x, y in curve.points
            if math.isfinite(x) and abs(y) < _LARGEST and (y > 0 or not logarithmic)
        ]
        for curve in curves
    ]
    xs, ys = [x for points in scaled for x, _ in points], [y for points in scaled for _, y in points]
    if not xs:
        return "".join([*parts, f'<text class="label" x="{left}" y="{top + 20}">Too few points.</text></svg>'])
    low, high = min(ys), max(ys)
    margin = max(0.05 * (high - low), 1e-6 * max(1.0, abs(high)))
    low, high = low - margin, high + margin
    x_low, x_spread = min(xs), (max(xs) - min(xs)) or 1.0
    for step in range(5):
        value, x_value = low + (high - low) * step / 4, x_low + x_spread * step / 4
        x, y = left + width * step / 4, top + height * (1 - step / 4)
        shown = 10**value if logarithmic else value
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{shown:.3g}</text>')
        place = f'x="{x:.1f}" y="{top + height + 18}" text-anchor="middle"'
        parts.append(f'<text class="axis" {place}>{x_value:,.0f}</text>')
    # Half units, so that whole numbers, each from the one before, draw fine enough: they are most of a page.
    parts.append(f'<g transform="translate({left} {top}) scale(.5)">')
    for curve, points in zip(curves, scaled, strict=True):
        places = [
            (round(2 * width * (x - x_low) / x_spread), round(2 * height * (high - y) / (high - low)))
            for x, y in points
        ]
        if places:
            path = f'<path class="{curve.style}" d="{_path(places)}"/>'
            parts.append(f"<g><title>{escape(curve.name)}</title>{path}</g>")
    return "".join([*parts, "</g>", _axis_labels(left, top, width, height, x_label, y_label), "</svg>"])


def _path(places: Sequence[tuple[int, int]]) -> str:
    """The commands of an SVG path: the first place, and the way from each to the next."""
    x, y = places[0]
    ways = [f"M{x} {y}", "l0 0"]
    for next_x, next_y in places[1:]:
        ways.append(f"{next_x - x} {next_y - y}")
        x, y = next_x, next_y
    return " ".join(ways)


def _axis_labels(left: int, top: int, width: int, height: int, x_label: str, y_label: str) -> str:
    return (
        f'<text class="label" x="{left + width / 2:.0f}" y="{top + height + 38}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
        f'<text class="label" x="14" y="{top + height / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {top + height / 2:.0f})">{escape(y_label)}</text>'
    )


def _thin(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    size = -(-len(points) // most)
    chunks = (points[start : start + size] for start in range(0, len(points), size))
    return [(sum(x for x, _ in chunk) / len(chunk), sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]
