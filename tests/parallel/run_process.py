"""One of several processes: starts with the flags of train.py, and adds up a number of each.

python -m tests.parallel.run_process [FLAGS]

FAILING names processes that end with an error afterwards, while the others go on adding.
"""

import os
import sys

from agentbank_jax.configuration.command_line import parse_command_line
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.distributed import start_processes, writes_logs


def main() -> int:
    command_line = parse_command_line(
        "run_process.py",
        "Starts.",
        ["--gin_file=none.gin", *sys.argv[1:]],
        example="none",
        checkpoint_help="none",
        model_dir_default="none",
    )
    start_processes(command_line.distributed)
    import jax
    import jax.numpy as jnp
    from jax.experimental.multihost_utils import process_allgather

    total = int(process_allgather(jnp.asarray(1 + jax.process_index())).sum())
    place = f"process {jax.process_index()} of {jax.process_count()}, {jax.device_count()} devices"
    # One write, so that lines of processes that share a terminal do not mix.
    sys.stdout.write(f"{place}, sum {total}{', writes logs' if writes_logs() else ''}\n")
    failing = os.environ.get("FAILING", "").split()
    if str(jax.process_index()) in failing:
        raise AgentBankError("a mistake.")
    while failing:
        process_allgather(jnp.asarray(1))
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(main))
