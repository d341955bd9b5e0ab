"""Tables in LaTeX, in the form of the package booktabs."""

from typing import TYPE_CHECKING

from agentbank_jax.presentation.printable import printable

if TYPE_CHECKING:
    from agentbank_jax.presentation.table import Table

PACKAGES = ("booktabs", "graphicx")
"""What a document that shows the tables must use; graphicx makes wide ones fit."""

_WIDE = 6
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # At a cell's beginning, after `\\`, a bracket would be an argument.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "\n": " ",
    "\t": " ",
    "\r": " ",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "‘": "`",
    "’": "'",
    "'": "'",
    "…": r"\ldots{}",
    "\N{REPLACEMENT CHARACTER}": "?",
}


def escape_latex(text: str) -> str:
    """Returns a text that LaTeX prints as it is; characters that its fonts lack become `?`."""
    return "".join(_ESCAPES.get(one) or (one if ord(one) < 0x180 else "?") for one in printable(text))


def table_to_latex(table: "Table") -> str:
    """Returns a `table` environment with its caption; the notes stand below."""

    def line(cells: tuple[str, ...], *, strong: bool = False) -> str:
        shown = [escape_latex(cell) for cell in cells]
        return " & ".join(rf"\textbf{{{cell}}}" if strong and cell else cell for cell in shown) + r" \\"

    columns = "l" * table.text_columns + "r" * (len(table.columns) - table.text_columns)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(table.columns), r"\midrule"]
    for number, row in enumerate(table.rows):
        lines.append(line(row, strong=number in table.strong))
        if number in table.strong and number + 1 < len(table.rows):
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if len(table.columns) > _WIDE:
        lines = [r"\resizebox{\textwidth}{!}{%", *lines[:-1], lines[-1] + "}"]
    notes = [rf"\par\smallskip{{\footnotesize {escape_latex(note)}\par}}" for note in table.notes]
    head = [r"\begin{table}[htbp]", r"\centering", rf"\caption{{{escape_latex(table.title)}}}"]
    return "\n".join([*head, *lines, *notes, r"\end{table}"])
