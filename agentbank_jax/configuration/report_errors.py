"""How a program ends: a user's mistake is one clear line on stderr, never a traceback."""

import sys
from collections.abc import Callable

from agentbank_jax.errors import AgentBankError

USER_ERROR = 2
INTERRUPTED = 130


def report_errors(program: Callable[[], int]) -> int:
    """Runs `program` and returns the exit status: its own, 2 for a user's mistake, 130 for Ctrl-C.

    Errors of any other kind are bugs and keep their traceback.
    """
    try:
        return program()
    except AgentBankError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED
