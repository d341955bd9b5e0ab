"""Trains an agent on trajectories, lets it act, and reports: `python train.py --gin_file=samoyed_tiny.gin`."""

import sys
import time

from agentbank_jax.configuration.command_line import parse_command_line
from agentbank_jax.configuration.report_errors import report_errors


def main() -> int:
    began = time.perf_counter()
    command_line = parse_command_line(
        "train.py",
        "Trains an agent on a bank of trajectories, lets it act in environments, and writes a report.\n"
        "A run that was cut short goes on from its last checkpoint; a finished one prints its table again.",
        sys.argv[1:],
        example="python train.py --gin_file=samoyed_tiny.gin",
        checkpoint_help="start from this checkpoint's weights instead of fresh ones",
        model_dir_default="./runs/<name of the gin file>",
        trains=True,
    )
    # Imported only now: --help and a mistyped flag need not wait for JAX.
    from agentbank_jax.commands.train import train

    return train(command_line, began)


if __name__ == "__main__":
    sys.exit(report_errors(main))
