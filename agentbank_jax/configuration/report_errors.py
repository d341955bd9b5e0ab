"""How a program ends: a user's mistake is one clear line on stderr, never a traceback."""

import io
import signal
import sys
import threading
import traceback
from collections.abc import Callable

from agentbank_jax.errors import AgentBankError, Stopped
from agentbank_jax.parallel.distributed import end_failed, runs_together

BUG = 1
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
    hook, sys.unraisablehook = sys.unraisablehook, _deliver
    try:
        return program()
    except AgentBankError as error:
        print(f"error: {error}", file=sys.stderr)
        status = USER_ERROR
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        return stopped.status
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on where it was.", file=sys.stderr)
        status = INTERRUPTED
    except Exception:
        if not runs_together():
            raise
        traceback.print_exc()
        status = BUG
    finally:
        sys.unraisablehook = hook
    return end_failed(status)


def _deliver(unraisable: "sys.UnraisableHookArgs") -> None:
    """Gives Ctrl-C once more where Python drops it, as in a callback of the garbage collector, which JAX has."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)
