"""Parts that pictures share: the frame, the key of colours, and the names beside lines."""

from collections.abc import Iterable, Sequence
from html import escape

COLOURS = 8
"""How many series the page's style sheet tells apart; then they begin anew."""


def open_svg(width: float, height: float, title: str) -> str:
    """The beginning of a picture; the title is for readers who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
    )


def series_style(index: int) -> str:
    """The class of a series in the page's style sheet."""
    return f"series-{index % COLOURS}"


def legend(names: Sequence[str], styles: Sequence[str], left: int, right: int) -> tuple[str, int]:
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


def room(names: Iterable[str]) -> int:
    """How wide the names beside the lines of a picture are; at most a third of it."""
    return min(250, max(60, 20 + 7 * max(map(len, names), default=0)))


def row_label(name: str, left: int, y: float, *, strong: bool = False) -> str:
    """A name beside its line; what is too long for the place is cut, and whole as a tooltip."""
    fits = (left - 8) // 7
    shown = name if len(name) <= fits else name[: fits - 1] + "…"
    kind = "label strong" if strong else "label"
    return (
        f'<text class="{kind}" x="{left - 8}" y="{y:.1f}" text-anchor="end"><title>{escape(name)}</title>'
        f"{escape(shown)}</text>"
    )
