"""`--runner` and the options of a pipeline behind `--`, of commands whose work Apache Beam can do."""

import argparse
from collections.abc import Sequence

from agentbank_jax.errors import AgentBankError


def split_pipeline(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command's own arguments, and those of the pipeline, which follow `--`."""
    place = list(arguments).index("--") if "--" in arguments else len(arguments)
    return list(arguments[:place]), list(arguments[place + 1 :])


def add_runner_flag(parser: argparse.ArgumentParser) -> None:
    """Adds `--runner`."""
    parser.add_argument("--runner", metavar="NAME", help="let Apache Beam do it, with DirectRunner, DataflowRunner, …; "
        "options of the pipeline follow after --, such as -- --temp_location=gs://bucket/temp")  # fmt: skip


def check_runner(runner: str | None, workers: int | None, of_pipeline: Sequence[str]) -> None:
    """Refuses options of a pipeline without a runner, and processes of this machine beside one.

    Raises:
      AgentBankError: where that is asked for.
    """
    if not runner and of_pipeline:
        raise AgentBankError(f"-- {of_pipeline[0]}: what follows -- is Beam's; expected a --runner before it.")
    if runner and workers is not None:
        raise AgentBankError(
            f"--workers={workers}: for processes of this machine; with --runner its own options say how many, such as "
            "-- --direct_num_workers=2."
        )
