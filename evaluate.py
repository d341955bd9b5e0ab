"""Lets a trained agent act: `python evaluate.py --gin_file=eval/held_in.gin --checkpoint=runs/samoyed_tiny`."""

import sys

from agentbank_jax.configuration.command_line import parse_command_line
from agentbank_jax.configuration.report_errors import report_errors


def main() -> int:
    command_line = parse_command_line(
        "evaluate.py",
        "Lets a trained agent, other models and baselines act in environments, and writes a report.\n"
        "Episodes that were finished earlier are kept.",
        sys.argv[1:],
        example="python evaluate.py --gin_file=eval/held_in.gin --checkpoint=runs/samoyed_tiny",
        checkpoint_help="the checkpoint to evaluate, or the folder of a run: its last one, or with @best behind it its "
        "best; not needed where the sweeps name who plays",
        model_dir_default="a folder in that of the checkpoint's run, or in ./runs without one",
    )
    # Imported only now: --help and a mistyped flag need not wait for what plays.
    from agentbank_jax.commands.evaluate import evaluate

    return evaluate(command_line)


if __name__ == "__main__":
    sys.exit(report_errors(main))
