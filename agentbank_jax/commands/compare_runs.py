"""`python scripts/compare_runs.py`: several runs beside each other, on the terminal and as a page."""

from collections.abc import Sequence

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

_UNBOUNDED = 10_000
_LEAST_WIDTH = 120


def main(arguments: Sequence[str]) -> int:
    """Compares runs; returns the exit status.

    Raises:
      AgentBankError: a run is not there or has no metrics yet, or the page cannot be written.
    """
    parser = make_parser(
        "compare_runs.py",
        "Overlays the curves of runs in one HTML page, which needs nothing beside it, and shows their last\n"
        "values and the settings in which they differ. They may still be running.",
        "example: python scripts/compare_runs.py runs/one runs/two",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder of a run (--model_dir of train.py)")
    parser.add_argument(
        "--html", default="comparison.html", metavar="FILE", help="where the page goes (default: comparison.html)"
    )
    options = parse_flags(parser, arguments)
    if not options.runs:
        raise AgentBankError("no run is named; for example: python scripts/compare_runs.py runs/one runs/two")
    # Imported only now: --help need not wait for them.
    from rich.console import Console

    from agentbank_jax.configuration.settings import read_settings
    from agentbank_jax.training.comparison import compare
    from agentbank_jax.training.comparison_page import to_html
    from agentbank_jax.whole_files import write_output

    comparison = compare(options.runs, read_settings)
    write_output("--html", options.html, to_html(comparison))
    tables = [table.to_rich() for table in comparison.tables()]
    # No word or figure is cut: not in a file, nor in a narrow terminal, which breaks the lines itself.
    needed = [Console(width=_UNBOUNDED).measure(table) for table in tables]
    figures, settings = needed[:2], needed[2:]
    widths = [*(each.maximum for each in figures), *(each.minimum for each in settings)]
    console = Console(width=max(*widths, _LEAST_WIDTH, Console().width), highlight=False)
    for table in tables:
        console.print(table)
    console.print(f"html: {options.html}", soft_wrap=True, markup=False)
    return 0
