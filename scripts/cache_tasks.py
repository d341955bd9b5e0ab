"""Makes the token cache of a mixture: `python scripts/cache_tasks.py --mixture=starter`; see `--help`."""

import sys
from pathlib import Path

# The script also runs from a checkout that is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.data.command import cache_tasks

if __name__ == "__main__":
    sys.exit(report_errors(lambda: cache_tasks(sys.argv[1:])))
