"""Plays a bank again: `python scripts/replay_bank.py`; see `--help`."""

import sys
from pathlib import Path

# The script also runs from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.commands.replay_bank import main
from agentbank_jax.configuration.report_errors import report_errors

if __name__ == "__main__":
    sys.exit(report_errors(lambda: main(sys.argv[1:])))
