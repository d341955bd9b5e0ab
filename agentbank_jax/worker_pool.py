"""Processes that work for this one, and end with it."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def worker_pool(
    workers: int, *, start: Callable[..., None] | None = None, arguments: Sequence[Any] = ()
) -> ProcessPoolExecutor:
    """Returns a pool of processes that do not share this one's threads or locks.

    Args:
      workers: how many.
      start: called once in each process, with `arguments`.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(start, tuple(arguments))
    )


def _start_worker(start: Callable[..., None] | None, arguments: Sequence[Any]) -> None:
    _end_with_parent()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """Lets a worker end when its parent was killed; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
