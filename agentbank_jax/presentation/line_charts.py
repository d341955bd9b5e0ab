"""Charts with a line for each that is compared: differences about zero, and wholes in parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agentbank_jax.presentation import svg


@dataclass(frozen=True, kw_only=True)
class Point:
    """A difference with its interval, if it has one; a strong one sums others up, and a note stands beside it."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    series: int = 0
    strong: bool = False
    note: str = ""


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
    left, width, line = svg.room(point.label for point in points), 480, 20
    right = 60 + 7 * max((len(point.note) for point in points), default=0)
    key, top = svg.legend(series, styles, left, left + width + right)
    ends = [0.0, *(end for point in points for end in (point.interval or (point.value, point.value)))]
    spread = max(ends) - min(ends)
    # The fifth of the smallest float is 0, which has no logarithm.
    step = _round_step(spread if spread > 1e-12 else 1.0)
    low, high = step * math.floor(min(ends) / step), step * math.ceil(max(ends) / step)
    high = high if high > low else low + step
    bottom = top + line * len(points)
    parts = [svg.open_svg(left + width + right, bottom + 42, title), key]

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
            parts.append(svg.row_label(point.label, left, y + 4, strong=point.strong))
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
    left, width, right, bar, gap = svg.room(name for name, _ in rows), 480, 60, 18, 6
    shown = [place for place in range(len(parts)) if any(counts[place] for _, counts in rows)]
    key, top = svg.legend([parts[at] for at in shown], [styles[at] for at in shown], left, left + width + right)
    pieces = [svg.open_svg(left + width + right, top + (bar + gap) * len(rows) + 6, title), key]
    for number, (name, counts) in enumerate(rows):
        y, x, total = top + (bar + gap) * number, float(left), sum(counts)
        pieces.append(svg.row_label(name, left, y + bar - 5))
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


def _round_step(spread: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a spread into about five."""
    power = 10.0 ** math.floor(math.log10(spread / 5))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= spread / 5)
