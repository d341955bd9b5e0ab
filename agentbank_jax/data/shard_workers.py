"""Who makes the shards of a token cache: this process, or several worker processes."""

import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from agentbank_jax.data.token_shards import ShardRecipe, ShardSource, TokenCacheError, write_shard
from agentbank_jax.errors import AgentBankError
from agentbank_jax.worker_pool import worker_pool

# Shards below which starting processes takes longer than it saves.
_FEW = 8


ShardJob = tuple[ShardSource, Path]
"""A shard to make, and the folder for its file."""


class ShardMaker(Protocol):
    """Makes shards; yields each job once its file is whole in the job's folder, in any order."""

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]: ...


class InterruptedMaking(TokenCacheError):
    """What ended before all shards were made, for no fault of the sources: those that are whole are kept."""


class LocalWorkers:
    """A `ShardMaker` of processes on this machine. The shards do not depend on their number."""

    def __init__(self, workers: int | None = None) -> None:
        """Takes as many processes.

        Args:
          workers: 1 works in this process; None takes one for each core, unless there is so little to do that
            starting them would take longer.

        Raises:
          AgentBankError: where there are none.
        """
        if workers is not None and workers < 1:
            raise AgentBankError(f"workers = {workers}: expected at least 1.")
        self._workers = workers

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]:
        """Makes the shards; see `ShardMaker`.

        Raises:
          AgentBankError: as `write_shard`, or where a worker was killed.
        """
        cores = len(os.sched_getaffinity(0))
        workers = min(self._workers or (cores if len(jobs) >= _FEW else 1), len(jobs))
        if workers > 1:
            yield from _in_processes(jobs, recipe, workers)
            return
        for source, folder in jobs:
            write_shard(source, recipe, folder, num_threads=self._workers or cores)
            yield source, folder


def _in_processes(jobs: Sequence[ShardJob], recipe: ShardRecipe, workers: int) -> Generator[ShardJob, None, None]:
    with worker_pool(workers, start=_take_recipe, arguments=(recipe,)) as pool:
        futures = {pool.submit(_make, source, folder): (source, folder) for source, folder in jobs}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            raise InterruptedMaking(
                "a worker process was killed (out of memory?); the same command goes on from the shards that are "
                "complete, and --workers=1 needs the least memory."
            ) from None
        finally:
            # What has begun is finished, what has not is not begun.
            pool.shutdown(wait=False, cancel_futures=True)


# Of a worker process: sent once, and not with each shard.
_worker: dict[str, ShardRecipe] = {}


def _take_recipe(recipe: ShardRecipe) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One thread a process: the library tokenizers would start one for each core in each of them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker["recipe"] = recipe


def _make(source: ShardSource, folder: Path) -> None:
    try:
        write_shard(source, _worker["recipe"], folder, num_threads=1)
    except AgentBankError as error:
        # Some of these errors take more than their message and so cannot travel between processes.
        raise AgentBankError(str(error)) from None
