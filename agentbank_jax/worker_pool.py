"""Processes that work for this one, and end with it."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from agentbank_jax.errors import AgentBankError

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1

# Of a worker process: sent once, and not with each item.
_state: list[Any] = []


def map_in_order(
    function: Callable[[State, Item], Result], state: State, items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yields `function(state, item)` of each item, in their order, however many processes compute them.

    Args:
      function: of a module, with a result that can be pickled.
      state: sent to each process once.
      items: read here, a few ahead of the results.
      workers: processes beside this one; 1 computes in this one.

    Raises:
      AgentBankError: on a number of workers below 1, or a worker that was killed.
    """
    if workers < 1:
        raise AgentBankError(f"--workers={workers}: expected at least 1.")
    if workers == 1:
        for item in items:
            yield function(state, item)
        return
    pending: deque[tuple[Item, Future[Result]]] = deque()

    def finished() -> Result:
        item, future = pending.popleft()
        try:
            return future.result()
        # What is nested too deeply to be sent to a process.
        except RecursionError:
            return function(state, item)

    try:
        with worker_pool(workers, start=_take_state, arguments=(state,)) as pool:
            try:
                for item in items:
                    pending.append((item, pool.submit(_apply, function, item)))
                    if len(pending) > 2 * workers:
                        yield finished()
                while pending:
                    yield finished()
            finally:
                for _, future in pending:
                    future.cancel()
    except BrokenProcessPool:
        raise AgentBankError(
            "a worker process was killed (out of memory?); --workers=1 needs the least memory."
        ) from None


def _take_state(state: Any) -> None:
    _state.append(state)


def _apply(function: Callable[[Any, Item], Result], item: Item) -> Result:
    return function(_state[-1], item)


class WorkerPool(ProcessPoolExecutor):
    """A pool of processes that can be ended in the midst of their work."""

    def __init__(self, workers: int, start: Callable[..., None] | None, arguments: Sequence[Any]) -> None:
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        ended, self._end = context.Pipe(duplex=False)
        super().__init__(
            workers, mp_context=context, initializer=_start_worker, initargs=(start, tuple(arguments), ended)
        )

    def end(self) -> None:
        """Ends the processes at once, whatever they do; what was submitted gets no result."""
        self._end.close()
        self.shutdown(cancel_futures=True)


def worker_pool(workers: int, *, start: Callable[..., None] | None = None, arguments: Sequence[Any] = ()) -> WorkerPool:
    """Returns a pool of processes that do not share this one's threads or locks.

    Args:
      workers: how many.
      start: called once in each process, with `arguments`.
    """
    return WorkerPool(workers, start, arguments)


def _start_worker(start: Callable[..., None] | None, arguments: Sequence[Any], ended: Connection) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(ended)
    if start is not None:
        start(*arguments)


def die_with_parent() -> None:
    """Lets the kernel kill this process when the one that made it ends, however it does and whatever runs here (Linux).

    What that one makes ends so as well where it calls this itself, or ends when its standard input closes.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with_parent(ended: Connection | None = None) -> None:
    """Lets a worker end when its parent was killed; else it would wait for work for ever.

    Args:
      ended: of a pipe; the worker also ends when the parent closes the other end.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel, *([] if ended is None else [ended])])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
