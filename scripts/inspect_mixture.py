"""Shows what a mixture holds: `python scripts/inspect_mixture.py --mixture=starter`; see `--help`."""

import sys
from pathlib import Path

# The script also runs from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.data.command import inspect_mixture

if __name__ == "__main__":
    sys.exit(report_errors(lambda: inspect_mixture(sys.argv[1:])))
