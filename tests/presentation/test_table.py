"""One table in four forms."""

import io
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agentbank_jax.presentation.latex import escape_latex
from agentbank_jax.presentation.page import page
from agentbank_jax.presentation.table import Table

TABLE = Table(
    title="A_title",
    columns=("skill", "task", "m", "n"),
    rows=(("math", "a&b", "50.0 (9–91) · CONTAMINATED", "–"), ("", "mean", "1", "2")),
    strong=frozenset({1}),
    marked=frozenset({(0, 2)}),
    notes=("100 % <sure>",),
)


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attributes) -> None:
        if tag in ("td", "th"):
            self.cells.append((dict(attributes).get("class") or "", ""))

    def handle_data(self, data: str) -> None:
        if self.cells:
            kind, text = self.cells[-1]
            self.cells[-1] = kind, f"{text}|{data}" if text else data


def test_html_marks_what_must_not_be_overlooked_and_puts_what_is_said_beside_a_figure_below_it() -> None:
    parser = Cells()
    parser.feed(TABLE.to_html().split("</table>")[0])
    assert parser.cells[4:8] == [
        ("", "math"),
        ("", "a&b"),
        ("figure marked", "50.0 (9–91)|CONTAMINATED"),
        ("figure", "–"),
    ]
    assert '<tr class="strong">' in TABLE.to_html()


def test_in_a_terminal_notes_are_as_wide_as_it_is_and_names_are_whole() -> None:
    note = "t was not run: name the folder with --gin.BenchmarkConfig.data_dir=PATH or AGENTBANK_BENCHMARKS"
    names = tuple(f"model_{number}, reflexion" for number in range(9))
    row = ("math", "starter_mathematics (held out)", *["100.0 (98–100)"] * 9)
    for table in (
        Table(title="t", columns=("skill", "task", "m"), rows=(("math", "t", "1"),), notes=(note,)),
        Table(title="t", columns=("skill", "task", *names), rows=(row,), notes=(note,)),
    ):
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(table.to_rich())
        text = console.export_text()
        assert note in text.split("\n") and table.rows[0][1] in text and "…" not in text


def test_markdown_keeps_every_cell_in_its_column() -> None:
    lines = TABLE.to_markdown().split("\n")
    assert (
        lines[4] == "| math | a&b | 50.0 (9–91) · CONTAMINATED | – |" and lines[5] == "|  | **mean** | **1** | **2** |"
    )


def test_latex_is_a_booktabs_table() -> None:
    assert TABLE.to_latex() == "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            r"\caption{A\_title}",
            r"\begin{tabular}{llrr}",
            r"\toprule",
            r"skill & task & m & n \\",
            r"\midrule",
            r"math & a\&b & 50.0 (9--91) $\cdot$ CONTAMINATED & -- \\",
            r" & \textbf{mean} & \textbf{1} & \textbf{2} \\",
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip{\footnotesize 100 \% \textless{}sure\textgreater{}\par}",
            r"\end{table}",
        ]
    )


def test_wide_latex_tables_are_made_to_fit() -> None:
    wide = Table(title="t", columns=tuple("abcdefgh"), rows=(tuple("12345678"),))
    assert r"\resizebox{\textwidth}{!}{%" in wide.to_latex() and r"\end{tabular}}" in wide.to_latex()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("50 %", r"50 \%"), ("a_b", r"a\_b"), (r"\input{x}", r"\textbackslash{}input\{x\}"), ("[x]*", "{[}x{]}{*}"),
     ("$1 & #2 ~ ^", r"\$1 \& \#2 \textasciitilde{} \textasciicircum{}"), ("🙂é", "?é"), ("−3 ±", r"$-$3 $\pm$")],
)  # fmt: skip
def test_what_latex_would_obey_is_printed(text: str, shown: str) -> None:
    assert escape_latex(text) == shown


@given(st.text())
def test_no_text_can_command_latex(text: str) -> None:
    shown = escape_latex(text)
    for known in (r"\textbackslash{}", r"\textasciicircum{}", r"\textasciitilde{}", r"\textless{}", r"\textgreater{}",
                  r"\textbar{}", r"\ldots{}", r"$-$", r"$\pm$", r"$\cdot$", "{[}", "{]}", "{*}"):  # fmt: skip
        shown = shown.replace(known, "")
    for escaped in (r"\{", r"\}", r"\$", r"\&", r"\#", r"\%", r"\_"):
        shown = shown.replace(escaped, "")
    assert not set(shown) & set("\\{}$&#%_^~\n\r\t")


def test_a_page_without_a_script_allows_none() -> None:
    assert "script-src 'none'" in page("t", []) and "<script" not in page("t", [])
