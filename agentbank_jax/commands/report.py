"""`python scripts/report.py`: what evaluations found, several runs beside each other, from their files alone."""

from collections.abc import Sequence
from pathlib import Path

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

_DESCRIPTION = """\
Reports what evaluations found: success and reward per task, skill and kind, gains on the base with intervals, why
episodes ended, what they cost, and every episode turn by turn. Writes report.md, report.html (one page that needs
nothing beside it), report.csv and report.tex. Sweeps of one name from several runs stand beside each other. They may
still be running."""
_EXAMPLES = """\
examples:
  python scripts/report.py runs/samoyed_tiny
  python scripts/report.py runs/one runs/two --base=one --output=comparison"""

_WIDTH = 140


def main(arguments: Sequence[str]) -> int:
    """Writes the report and prints its main tables; returns the exit status.

    Raises:
      AgentBankError: a folder is not there or holds no sweep, nobody is called as the base, or the report cannot be
        written; nothing is written then.
      SystemExit: after `--help`.
    """
    parser = make_parser("report.py", _DESCRIPTION, _EXAMPLES)
    parser.add_argument(
        "folders", nargs="*", metavar="FOLDER", help="of a run, of an evaluation's output, or of one sweep in it"
    )
    parser.add_argument("--output", default="report", metavar="DIR", help="where the report goes (default: report)")
    parser.add_argument(
        "--base", metavar="NAME", help="model or column that all are compared with (default: each sweep's own base)"
    )
    parser.add_argument(
        "--episodes", type=int, metavar="N", help="at most N episodes of each task and model in the page (default: all)"
    )
    parser.add_argument("--title", default="How the agents act", help="the report's heading")
    options = parse_flags(parser, arguments)
    if not options.folders:
        raise AgentBankError("no folder is named; for example: python scripts/report.py runs/samoyed_tiny")
    if options.episodes is not None and options.episodes < 0:
        raise AgentBankError(f"--episodes={options.episodes}; expected 0 or more.")
    # Imported only now: --help need not wait for them.
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.evaluation.report import Report, write_report
    from agentbank_jax.evaluation.report_sources import read_sources
    from agentbank_jax.evaluation.tables import success_table

    sources = read_sources(options.folders)
    runs = dict.fromkeys(source.run for source in sources)
    report = Report(
        title=options.title,
        facts={"runs": ", ".join(runs), "sweeps": ", ".join(dict.fromkeys(source.result.name for source in sources))},
        sources=sources,
        base=options.base,
        episodes=options.episodes,
    )
    files = write_report(report, Path(options.output).expanduser())
    console = make_console()
    console.width = max(console.width, _WIDTH)
    console.print(report.overview().to_rich())
    for sheet, _ in report.sheets:
        console.print(success_table(sheet).to_rich())
    others = ", ".join(path.name for path in files if path != files.page)
    console.print(f"report: {files.page} and {others}", highlight=False, soft_wrap=True, markup=False)
    return 0
