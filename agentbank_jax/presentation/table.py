"""A table, made once and shown in the terminal, in Markdown, in HTML and in LaTeX."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import rich.console


BESIDE = " · "
"""Between a figure and what is said beside it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text cells under headings.

    Fields:
      title: what it shows.
      columns: headings; the first `text_columns` are text, the others figures.
      rows: cells, as many as there are columns.
      strong: indices of rows that sum others up.
      marked: (row, column) of cells that must not be overlooked.
      notes: what a reader must know, a line each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 2
    strong: frozenset[int] = frozenset()
    marked: frozenset[tuple[int, int]] = frozenset()
    notes: tuple[str, ...] = ()

    def to_rich(self) -> "rich.console.Group":
        """The table for a terminal, and its notes below, as wide as the terminal is."""
        import rich.box
        import rich.console
        import rich.table
        from rich.text import Text

        shown = rich.table.Table(title=Text(self.title, "table.title"), box=rich.box.SIMPLE_HEAD, title_justify="left")
        for index, column in enumerate(self.columns):
            # Names must be told apart: the figures are folded first.
            text = index < self.text_columns
            justify: Literal["left", "right"] = "left" if text else "right"
            shown.add_column(Text(column), justify=justify, no_wrap=text, overflow="fold")
        for index, row in enumerate(self.rows):
            shown.add_row(*map(Text, row), style="bold" if index in self.strong else None)
        return rich.console.Group(shown, *(Text(note) for note in self.notes))

    def to_markdown(self) -> str:
        def line(cells: Iterable[str]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

        rule = ["---"] * self.text_columns + ["---:"] * (len(self.columns) - self.text_columns)
        rows = [
            [f"**{cell}**" if index in self.strong and cell else cell for cell in row]
            for index, row in enumerate(self.rows)
        ]
        notes = [f"- {note}" for note in self.notes]
        lines = [f"### {self.title}", "", line(self.columns), line(rule), *map(line, rows), *([""] if notes else [])]
        return "\n".join([*lines, *notes])

    def to_latex(self) -> str:
        """The table for a document that uses the packages `latex.PACKAGES`."""
        from agentbank_jax.presentation.latex import table_to_latex

        return table_to_latex(self)

    def to_html(self) -> str:
        def cells(tag: str, row: tuple[str, ...], number: int | None = None) -> str:
            parts = []
            for place, cell in enumerate(row):
                kinds = ["figure"] * (place >= self.text_columns) + ["marked"] * ((number, place) in self.marked)
                kind = f' class="{" ".join(kinds)}"' if kinds else ""
                # What is said beside a figure stands below it: many columns are to fit beside each other.
                shown = escape(cell).replace(BESIDE, "<br/>") if place >= self.text_columns else escape(cell)
                parts.append(f"<{tag}{kind}>{shown}</{tag}>")
            return "".join(parts)

        kinds = [' class="strong"' if index in self.strong else "" for index in range(len(self.rows))]
        rows = "".join(
            f"<tr{kind}>{cells('td', row, number)}</tr>"
            for number, (kind, row) in enumerate(zip(kinds, self.rows, strict=True))
        )
        notes = "".join(f'<p class="note">{escape(note)}</p>' for note in self.notes)
        head = cells("th", self.columns)
        return (
            f'<h3>{escape(self.title)}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{notes}"
        )
