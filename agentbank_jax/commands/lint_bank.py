"""`python scripts/lint_bank.py`: flags, progress, the report, and the exit status."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError, did_you_mean

if TYPE_CHECKING:
    from agentbank_jax.trajectories.lint.batch import LintSettings
    from agentbank_jax.trajectories.lint.report import EvaluationFiles
    from agentbank_jax.trajectories.lint.rows import BankFile
    from agentbank_jax.trajectories.templates.registry import ChatTemplate

CLEAN, FINDINGS = 0, 1

# The table of sources with names of common lengths.
_LEAST_WIDTH = 140

FAIL_ON = ("error", "warning", "never")

_DESCRIPTION = """\
Checks trajectories in any layout (agentbank, sharegpt, openai, agentinstruct): rows that break it,
roles, turns, endings, lengths, duplicates, overlap with evaluation files, personal data, licences;
and counts of whom they speak.

Exit status: 0 clean, 1 findings at or above the level of --fail_on, 2 a mistake in the command."""
_EXAMPLES = """\
examples:
  python scripts/lint_bank.py --mixture=starter
  python scripts/lint_bank.py data/gsm8k --against=test.jsonl --report=lint.json
  python scripts/lint_bank.py mine.jsonl --format=openai --task=webshop --redact=redacted"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    options = _parse(arguments)
    # Imported only now: --help need not wait for them.
    from rich.text import Text

    from agentbank_jax.commands.console import make_console
    from agentbank_jax.commands.requirements import check_writable
    from agentbank_jax.places import data_place, local_folder, local_path
    from agentbank_jax.progress import Progress
    from agentbank_jax.trajectories.lint.linter import lint
    from agentbank_jax.trajectories.lint.redaction import check_new, redact_files
    from agentbank_jax.trajectories.lint.report import build_report, render_report, write_report

    if options.redact:
        local_path(options.redact, "--redact")
    if options.report:
        local_path(options.report, "--report")
    files = _files(options)
    evaluation = _evaluation(options)
    settings = _settings(options, files, evaluation)
    # What could not be written is said before the work.
    if options.redact:
        check_new(options.redact)
        check_writable(Path(options.redact).absolute().parent, "--redact")
    if options.report:
        check_writable(Path(options.report).absolute().parent, "--report")
    with Progress("trajectories") as progress:
        result = lint(files, settings, workers=options.workers, progress=progress)
    report = build_report(result, settings, evaluation)
    console = make_console()
    # No word is cut in a narrow terminal, which breaks the lines itself.
    console.width = max(_LEAST_WIDTH, console.width)
    for part in render_report(report):
        # A line that names a file and a row stays one line, for whoever searches the output.
        console.print(part, soft_wrap=isinstance(part, Text))
    if options.report:
        write_report(report, options.report)
        console.print(f"report: {options.report}", soft_wrap=True, markup=False)
    if options.redact:
        # A copy of the data folder can stand in its place: --data_dir=COPY.
        root = None if options.paths else local_folder(data_place(options.data_dir))
        with Progress("trajectories copied") as progress:
            counts = redact_files(
                files, options.redact, settings.region, root=root, workers=options.workers, progress=progress
            )
        shown = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items())) or "nothing to replace"
        console.print(f"redacted copy: {options.redact} ({shown})", soft_wrap=True, markup=False)
    failing = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[options.fail_on]
    return FINDINGS if any(report["totals"][f"{level}s"] for level in failing) else CLEAN


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser("lint_bank.py", _DESCRIPTION, _EXAMPLES)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="banks' folders, files or patterns, also gs://… (default: the "
        "data folder)")  # fmt: skip
    add("--mixture", metavar="NAME", help="the tasks of a mixture, or a task, in the data folder")
    add("--data_dir", metavar="FOLDER", help="where the bank is, a folder or gs://… (default: "
        "$AGENTBANK_DATA_DIR, else ./data)")  # fmt: skip
    add("--format", metavar="LAYOUT", help="the layout of the files: agentbank, sharegpt, openai or agentinstruct "
        "(default: auto, told by each file's first rows; of a mixture its tasks')")  # fmt: skip
    add("--task", metavar="NAME", help="the task whose protocol all rows follow (default: the one that a row "
        "names, else the file's name, or its folder's for a bank's train-…)")  # fmt: skip
    add("--tokenizer", metavar="FILE", help="a SentencePiece model, to count tokens as training does")
    add("--template", default="llama2", metavar="NAME", help="a chat template, for the tokens (default: llama2)")
    add("--max_tokens", type=int, metavar="N", help="rows above are over-long; needs --tokenizer")
    add("--max_characters", type=int, metavar="N", help="rows above are over-long")
    add("--against", nargs="+", action="extend", default=[], metavar="FILE",
        help="evaluation questions (.jsonl, .json, .parquet, .txt, .gz) that must not stand in the bank")  # fmt: skip
    add("--against_field", metavar="NAME", help="the column of the question (default: question, problem, query, …)")
    add("--ngram", type=int, default=13, metavar="N", help="words in a row that are an overlap (default: 13)")
    add("--near_threshold", type=float, default=0.8, metavar="J", help="Jaccard similarity of near duplicates, "
        "0.5 to 1 (default: 0.8)")  # fmt: skip
    add("--region", default="US", metavar="CC", help="country of telephone numbers without a country code "
        "(default: US)")  # fmt: skip
    add("--redact", metavar="FOLDER", help="write a copy without personal data")
    add("--report", metavar="FILE", help="write the report as JSON")
    add("--workers", type=int, default=2, metavar="N", help="processes (default: 2); the result is the same for any")
    add("--fail_on", default="error", metavar="LEVEL", help="exit with 1 on error, on warning, or never (default: "
        "error)")  # fmt: skip
    add("--max_examples", type=int, default=5, metavar="N", help="findings shown of each rule (default: 5)")
    known = parse_flags(parser, arguments)
    if known.fail_on not in FAIL_ON:
        raise AgentBankError(f"--fail_on={known.fail_on}: expected error, warning or never.")
    if known.paths and known.mixture:
        raise AgentBankError(f"--mixture={known.mixture} and {known.paths[0]}: expected a mixture or paths, not both.")
    return known


def _files(options: argparse.Namespace) -> "list[BankFile]":
    from agentbank_jax.data.remote import fetch_paths
    from agentbank_jax.places import data_place
    from agentbank_jax.trajectories.formats.registry import AUTO, get_format
    from agentbank_jax.trajectories.lint.protocols import PROTOCOLS
    from agentbank_jax.trajectories.lint.rows import BankFile, find_bank_files

    if options.task and options.task not in PROTOCOLS:
        raise AgentBankError(
            f"--task={options.task}: no protocol has this name.{did_you_mean(options.task, PROTOCOLS)} Without --task "
            "a task of your own is checked by the rules that all share."
        )
    if options.format not in (None, AUTO):
        get_format(options.format)
    if options.mixture:
        from agentbank_jax.data.declarations import get_mixture, get_task
        from agentbank_jax.data.sources import task_files

        names = get_mixture(options.mixture).rates
        place = data_place(options.data_dir)
        tasks = [get_task(name) for name in names]
        return [
            BankFile(path, task.name, options.format or task.layout)
            for task in tasks
            for path in task_files(task, place)
        ]
    paths = fetch_paths(options.paths or [data_place(options.data_dir)], nested=True)
    return find_bank_files(paths, options.task, options.format or AUTO)


def _evaluation(options: argparse.Namespace) -> "EvaluationFiles | None":
    if not options.against:
        return None
    from agentbank_jax.data.remote import fetch_paths
    from agentbank_jax.trajectories.lint.overlap import read_items
    from agentbank_jax.trajectories.lint.report import EvaluationFiles

    return EvaluationFiles(*read_items(fetch_paths(options.against), options.against_field))


def _settings(
    options: argparse.Namespace, files: "Sequence[BankFile]", evaluation: "EvaluationFiles | None"
) -> "LintSettings":
    from agentbank_jax.trajectories.lint.batch import LintSettings
    from agentbank_jax.trajectories.lint.overlap import EvaluationIndex

    template = _template(options)
    return LintSettings(
        task=options.task,
        template=template,
        instructions=_instructions({file.task for file in files}) if template else {},
        max_tokens=options.max_tokens,
        max_characters=options.max_characters,
        near_threshold=options.near_threshold,
        evaluation=EvaluationIndex(evaluation.items, options.ngram) if evaluation else None,
        region=options.region.upper(),
        max_examples=options.max_examples,
    )


def _template(options: argparse.Namespace) -> "ChatTemplate | None":
    if not options.tokenizer:
        return None
    from agentbank_jax.trajectories.templates.registry import get_template
    from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

    return get_template(options.template, Tokenizer.load(options.tokenizer))


def _instructions(tasks: "set[str]") -> dict[str, str]:
    """Returns the system turns that training adds to the trajectories of declared tasks."""
    from agentbank_jax.data.declarations import get_task, task_names

    found = {name: get_task(name).resolve_instruction() for name in sorted(tasks & set(task_names()))}
    return {name: instruction for name, instruction in found.items() if instruction}
