"""How a program ends: a user's mistake is one clear line on stderr, never a traceback."""

import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import CodeType, FrameType

from agentbank_jax.errors import AgentBankError, Stopped, first_line
from agentbank_jax.parallel.distributed import end_failed, is_of_a_lost_process, runs_together

BUG = 1
USER_ERROR = 2
INTERRUPTED = 130
OTHER_GONE = os.EX_UNAVAILABLE
"""Neither an error of this process nor a run that has saved: a launcher judges by how the other one ended."""

AGAIN = "the same command goes on where it was."


def report_errors(program: Callable[[], int]) -> int:
    """Runs `program` and returns the exit status: its own, 2 for a user's mistake, 130 for Ctrl-C, 75 where a run
    was pre-empted and has saved, 69 where another of its processes is gone.

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
        print(f"\ninterrupted; {AGAIN}", file=sys.stderr)
        status = INTERRUPTED
    except Exception as error:
        if not runs_together():
            raise
        if is_of_a_lost_process(error):
            print(f"stopped: another process of the run is gone ({first_line(error)[:200]}); {AGAIN}", file=sys.stderr)
            status = OTHER_GONE
        else:
            traceback.print_exc()
            status = BUG
    finally:
        sys.unraisablehook = hook
    return end_failed(status)


def _deliver(unraisable: "sys.UnraisableHookArgs") -> None:
    """Gives Ctrl-C once more where Python drops it, as in a callback of the garbage collector, which JAX has."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Thread(target=_interrupt_main, daemon=True).start()
    else:
        sys.__unraisablehook__(unraisable)


def _interrupt_main() -> None:
    main = threading.main_thread().ident
    assert main is not None
    # Within the hook it would be dropped again.
    while _is_in(sys._current_frames().get(main), _deliver.__code__):
        time.sleep(0.01)
    signal.pthread_kill(main, signal.SIGINT)


def _is_in(frame: FrameType | None, code: CodeType) -> bool:
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
