"""How a program ends: a user's mistake is one clear line on stderr, never a traceback."""

import io
import sys
from collections.abc import Callable

from agentbank_jax.errors import AgentBankError, Stopped

USER_ERROR = 2
INTERRUPTED = 130


def report_errors(program: Callable[[], int]) -> int:
    """Runs `program` and returns the exit status: its own, 2 for a user's mistake, 130 for Ctrl-C, 75 where a run
    was pre-empted and has saved.

    Errors of any other kind are bugs and keep their traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal of few characters shows the others by their numbers, instead of ending a long run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return program()
    except AgentBankError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return stopped.status
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
