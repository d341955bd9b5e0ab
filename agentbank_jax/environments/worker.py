"""A process that holds one environment and answers what is asked of it; it ends with the process that made it."""

import contextlib
import multiprocessing
import os
import pickle
import signal
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from agentbank_jax.environments.held import Failed, Held
from agentbank_jax.errors import AgentBankError
from agentbank_jax.worker_pool import die_with_parent, end_with_parent

_MAX_LOG_BYTES = 1 << 20

READY = "ready"


def serve(connection: Connection, log: Path) -> None:
    """Answers until the other side closes the connection.

    Args:
      connection: gives `READY`; then takes `Begin` and `Act`, and gives `Seen` or `Failed` for each.
      log: gets what the engine prints; emptied when it is long.
    """
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of them. A group of its own: what an
    # engine starts can be ended with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.setsid()
    die_with_parent()
    end_with_parent()
    _let_fork_server_end()
    with log.open("ab", buffering=0) as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        connection.send(READY)
        held = Held()
        with contextlib.suppress(EOFError, OSError):
            while True:
                answer = held.answer(connection.recv())
                try:
                    connection.send(answer)
                except (pickle.PicklingError, TypeError, AttributeError) as error:
                    connection.send(Failed(error=f"what the environment told cannot be sent: {error}"))
                if file.tell() > _MAX_LOG_BYTES:
                    file.truncate(0)
        held.close()


def _let_fork_server_end() -> None:
    """Closes what keeps the process that this one was forked from alive after the sweep was killed.

    That process then ends, and the kernel ends this one, even where an engine holds the interpreter's lock and nothing
    of ours can run. Whoever is forked is handed the descriptor so that it might fork too; a worker never does.
    """
    descriptor = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if descriptor is not None:
        os.close(descriptor)


def start(connection: Connection, log: Path) -> BaseProcess:
    """Starts a process that serves; raises AgentBankError where none can be started."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    # What every worker needs is read once, in the process that they are forked from.
    context.set_forkserver_preload([__name__, "agentbank_jax.environments.registry"])
    process = context.Process(target=serve, args=(connection, log), daemon=True)  # type: ignore[attr-defined]
    try:
        process.start()
    except OSError as error:
        raise AgentBankError(f"no process can be started for an environment ({error}); close other programs.") from None
    return cast(BaseProcess, process)
