"""Charts as inline SVG: no scripts, no fonts, no files beside them.

Colours and text come from the page's style sheet (`.axis`, `.series-0` …), so that one picture
suits a light and a dark page.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = 8
"""How many series the page's style sheet tells apart; then they begin anew."""

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
    left, width, bar, gap = _room(name for name, _ in groups), 480, 13, 14
    labels = [value.label for _, bars in groups for value in bars if value.value is not None]
    right = 60 + 7 * max(map(len, labels), default=0)
    styles = list(map(series_style, range(len(series))))
    legend, top = _legend(series, styles, left, left + width + right)
    height = top + sum(len(bars) * bar + gap for _, bars in groups) + 24
    parts = [_open(left + width + right, height, title), legend]
    bottom = height - 20
    for percent in (0, 25, 50, 75, 100):
        at = left + width * percent / 100
        parts.append(f'<line class="grid" x1="{at:.1f}" y1="{top - 6}" x2="{at:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{at:.1f}" y="{height - 6}" text-anchor="middle">{percent} %</text>')
    y = float(top)
    for name, bars in groups:
        middle = y + len(bars) * bar / 2 + 4
        parts.append(_row_label(name, left, middle))
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
        f'<rect class="{series_style(index)}" x="{left}" y="{y + 1:.1f}" width="{max(length, 1.5):.1f}" '
        f'height="{size - 2}" rx="2"/>{whisker}'
        f'<text class="axis" x="{end + 5:.1f}" y="{y + size - 3:.1f}">{shown}</text></g>'
    )


@dataclass(frozen=True, kw_only=True)
class Point:
    """A difference with its interval, if it has one; a strong one sums others up, and a note stands beside it."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    series: int = 0
    strong: bool = False
    note: str = ""


def series_style(index: int) -> str:
    """The class of a series in the page's style sheet."""
    return f"series-{index % COLOURS}"


def forest_chart(
    points: Sequence[Point], series: Sequence[str], styles: Sequence[str], *, title: str, x_label: str
) -> str:
    """Differences as points with intervals, a line each, about a line at 0.

    Args:
      points: from above to below; of finite values. A label that is that of the point above is not repeated.
      series: names; each point says which is its.
      styles: their classes in the page's style sheet.
      title: for readers who cannot see the picture.
      x_label: what the values are.
    """
    left, width, line = _room(point.label for point in points), 480, 20
    right = 60 + 7 * max((len(point.note) for point in points), default=0)
    legend, top = _legend(series, styles, left, left + width + right)
    ends = [0.0, *(end for point in points for end in (point.interval or (point.value, point.value)))]
    step = _round_step((max(ends) - min(ends)) or 1.0)
    low, high = step * math.floor(min(ends) / step), step * math.ceil(max(ends) / step)
    high = high if high > low else low + step
    bottom = top + line * len(points)
    parts = [_open(left + width + right, bottom + 42, title), legend]

    def at(value: float) -> float:
        return left + width * (value - low) / (high - low)

    for tick in range(round((high - low) / step) + 1):
        value = low + tick * step
        kind, shown = ("zero", "0") if abs(value) < step / 2 else ("grid", f"{value:+g}")
        parts.append(f'<line class="{kind}" x1="{at(value):.1f}" y1="{top - 6}" x2="{at(value):.1f}" y2="{bottom}"/>')
        place = f'x="{at(value):.1f}" y="{bottom + 16}" text-anchor="middle"'
        parts.append(f'<text class="axis" {place}>{shown}</text>')
    for number, point in enumerate(points):
        y = top + line * (number + 0.5)
        told = f"{point.label}, {series[point.series]}: {point.value:+.1f}"
        if not number or points[number - 1].label != point.label:
            parts.append(_row_label(point.label, left, y + 4, strong=point.strong))
        parts.append(f"<g><title>{escape(told)}</title>")
        if point.interval is not None:
            x1, x2 = map(at, point.interval)
            parts.append(f'<line class="whisker" x1="{x1:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y:.1f}"/>')
        size = 6 if point.strong else 4.5
        parts.append(f'<circle class="{styles[point.series]}" cx="{at(point.value):.1f}" cy="{y:.1f}" r="{size}"/></g>')
        place = f'x="{left + width + 8}" y="{y + 4:.1f}"'
        parts.append(f'<text class="axis" {place}>{point.value:+.1f} {escape(point.note)}</text>')
    place = f'x="{left + width / 2:.0f}" y="{bottom + 36}" text-anchor="middle"'
    return "".join([*parts, f'<text class="label" {place}>{escape(x_label)}</text></svg>'])


def stacked_chart(
    rows: Sequence[tuple[str, Sequence[int]]], parts: Sequence[str], styles: Sequence[str], *, title: str
) -> str:
    """Horizontal bars of one length, each divided as its counts are.

    Args:
      rows: (name, one count for each part).
      parts: what is counted; those of which no row has any are not shown.
      styles: their classes in the page's style sheet.
      title: for readers who cannot see the picture.
    """
    left, width, right, bar, gap = _room(name for name, _ in rows), 480, 60, 18, 6
    shown = [place for place in range(len(parts)) if any(counts[place] for _, counts in rows)]
    legend, top = _legend([parts[at] for at in shown], [styles[at] for at in shown], left, left + width + right)
    pieces = [_open(left + width + right, top + (bar + gap) * len(rows) + 6, title), legend]
    for number, (name, counts) in enumerate(rows):
        y, x, total = top + (bar + gap) * number, float(left), sum(counts)
        pieces.append(_row_label(name, left, y + bar - 5))
        for place in shown:
            length = width * counts[place] / max(total, 1)
            if counts[place]:
                told = f"{name}, {parts[place]}: {counts[place]:,} of {total:,}"
                pieces.append(
                    f'<g><title>{escape(told)}</title><rect class="{styles[place]}" x="{x:.1f}" y="{y}" '
                    f'width="{max(length - 1, 1):.1f}" height="{bar}"/></g>'
                )
                x += length
        pieces.append(f'<text class="axis" x="{left + width + 8}" y="{y + bar - 5}">{total:,}</text>')
    return "".join([*pieces, "</svg>"])


def _legend(names: Sequence[str], styles: Sequence[str], left: int, right: int) -> tuple[str, int]:
    """The names beside their colours, in as many lines as they need, and where the picture begins below them."""
    parts, x, y = [], float(left), 6
    for name, style in zip(names, styles, strict=True):
        size = 34 + 7 * len(name)
        if x > left and x + size > right:
            x, y = float(left), y + 18
        parts.append(f'<rect class="{style}" x="{x:.1f}" y="{y}" width="11" height="11" rx="2"/>')
        parts.append(f'<text class="label" x="{x + 16:.1f}" y="{y + 10}">{escape(name)}</text>')
        x += size
    return "".join(parts), y + 28


def _room(names: Iterable[str]) -> int:
    """How wide the names beside the lines of a picture are; at most a third of it."""
    return min(250, max(60, 20 + 7 * max(map(len, names), default=0)))


def _row_label(name: str, left: int, y: float, *, strong: bool = False) -> str:
    """A name beside its line; what is too long for the place is cut, and whole as a tooltip."""
    fits = (left - 8) // 7
    shown = name if len(name) <= fits else name[: fits - 1] + "…"
    kind = "label strong" if strong else "label"
    return (
        f'<text class="{kind}" x="{left - 8}" y="{y:.1f}" text-anchor="end"><title>{escape(name)}</title>'
        f"{escape(shown)}</text>"
    )


def _round_step(spread: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a spread into about five."""
    power = 10.0 ** math.floor(math.log10(spread / 5))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= spread / 5)


def histogram(edges: Sequence[int], counts: Sequence[int], *, title: str, x_label: str, y_label: str) -> str:
    """Upright bars of counts; bar `i` reaches from `edges[i]` to `edges[i + 1]`.

    Args:
      edges: one more than there are counts, ascending.
      counts: 0 or more each.
      title: for readers who cannot see the picture.
      x_label, y_label: what edges and counts are.
    """
    left, top, width, height = 62, 20, 660, 220
    parts = [_open(left + width + 20, top + height + 46, title)]
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
    key, top = _legend(names, styles, left, left + width) if legend else ("", 14)
    parts = [_open(left + width + 20, top + height + 46, title), key]
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


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
    )
