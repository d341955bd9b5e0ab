"""The report's tables in LaTeX, for `\\input` in a paper."""

from agentbank_jax.evaluation.report import MEANING, Report
from agentbank_jax.presentation.latex import PACKAGES, escape_latex


def to_latex(report: Report) -> str:
    """Returns the tables; a comment says which packages the document needs."""
    packages = "".join(rf"\usepackage{{{name}}}" for name in PACKAGES)
    parts = [
        f"% {escape_latex(report.title)}\n% The document's preamble needs {packages}",
        report.overview().to_latex(),
    ]
    for sheet, gains in report.sheets:
        parts += [table.to_latex() for table in report.tables(sheet, gains)]
    parts += [rf"\par\noindent {escape_latex(paragraph)}" for paragraph in MEANING]
    return "\n\n".join(parts) + "\n"
