"""Who makes the shards of a token cache: this process, or several worker processes."""

import multiprocessing
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from agentbank_jax.data.token_shards import ShardRecipe, ShardSource, write_shard
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import TrajectoryError
from agentbank_jax.worker_pool import map_in_order

# Shards below which starting processes takes longer than it saves.
_FEW = 16

ShardJob = tuple[ShardSource, Path]
"""A shard to make, and the folder for its file."""


class ShardMaker(Protocol):
    """Makes shards; yields each job once its file is whole in the job's folder.

    Raises:
      TrajectoryError: on rows that cannot be used; what else ends it is no fault of theirs.
    """

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]: ...


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
            raise AgentBankError(f"--workers={workers}: expected at least 1.")
        self._workers = workers

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]:
        """Makes the shards, in order; see `ShardMaker`.

        Raises:
          AgentBankError: where a worker was killed.
        """
        cores = len(os.sched_getaffinity(0))
        workers = min(self._workers or (cores if len(jobs) >= _FEW else 1), max(len(jobs), 1))
        threads = self._workers or cores if workers == 1 else 1
        for job, refusal in zip(jobs, map_in_order(try_shard, (recipe, threads), jobs, workers), strict=True):
            if refusal:
                raise TrajectoryError(refusal)
            yield job


def try_shard(state: tuple[ShardRecipe, int], job: ShardJob) -> str:
    """Makes a shard with so many threads of the tokenizer; returns why its rows cannot be used, or an empty text."""
    recipe, threads = state
    if multiprocessing.parent_process() is not None:
        # The library tokenizers would start a thread for each core in each of the processes.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    source, folder = job
    try:
        write_shard(source, recipe, folder, num_threads=threads)
    except TrajectoryError as error:
        # Some of these take more than their message and so cannot travel between processes.
        return str(error)
    return ""
