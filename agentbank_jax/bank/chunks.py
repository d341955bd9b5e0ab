"""Chunks of candidates: the unit of work of a build, each a file as soon as it is made.

What a build that was killed has made is so never made again, and machines that share a folder can make chunks for each
other.
"""

import itertools
import json
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Protocol

from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import row_from_trajectory, trajectory_from_row
from agentbank_jax.whole_files import whole_file
from agentbank_jax.worker_pool import WorkerPool, worker_pool

# Chunks under way for each worker: one that ends finds the next at hand.
_AHEAD = 2


class Chunk(NamedTuple):
    """The candidates with numbers `start` to `stop - 1`."""

    start: int
    stop: int

    @property
    def name(self) -> str:
        return f"chunk-{self.start:09d}-{self.stop:09d}.jsonl"


class ChunkMaker(Protocol):
    """Makes chunks; yields each, in their order, once its file is whole in the folder."""

    def __call__(self, recipe: Recipe, chunks: Sequence[Chunk], folder: Path) -> Generator[Chunk, None, None]: ...

    def close(self) -> None:
        """Ends what it has started."""


class LocalChunks:
    """A `ChunkMaker` of processes on this machine. The chunks do not depend on their number."""

    def __init__(self, workers: int) -> None:
        """Takes as many processes; 1 works in this one, unless a recipe has threads, which end with a process alone.

        Raises:
          AgentBankError: where there are none.
        """
        if workers < 1:
            raise AgentBankError(f"--workers={workers}: expected at least 1.")
        self._workers = workers
        self._pool: WorkerPool | None = None
        self._submitted: list[Future[None]] = []
        self._task: str | None = None

    def __call__(self, recipe: Recipe, chunks: Sequence[Chunk], folder: Path) -> Generator[Chunk, None, None]:
        """Makes those chunks that have no file yet; see `ChunkMaker`.

        Raises:
          BrokenProcessPool: where a worker was killed.
        """
        if self._workers == 1 and recipe.threads == 1:
            for chunk in chunks:
                make_chunk(recipe, chunk, folder)
                yield chunk
            return
        pool = self._pool_for(recipe)
        queue = iter(chunks)
        pending: deque[tuple[Chunk, Future[None]]] = deque()
        try:
            while True:
                for ahead in itertools.islice(queue, _AHEAD * self._workers - len(pending)):
                    pending.append((ahead, pool.submit(make_chunk, recipe, ahead, folder)))
                    self._submitted.append(pending[-1][1])
                if not pending:
                    return
                chunk, future = pending.popleft()
                future.result()
                yield chunk
        finally:
            for _, future in pending:
                future.cancel()
            self._submitted = [future for future in self._submitted if not future.done()]

    def close(self) -> None:
        """Ends the processes; what nobody waits for any more is left unfinished."""
        if self._pool is None:
            return
        if all(future.done() for future in self._submitted):
            self._pool.shutdown()
        else:
            self._pool.end()
        self._pool, self._task, self._submitted = None, None, []

    def _pool_for(self, recipe: Recipe) -> WorkerPool:
        """The processes; of their own where engines take much memory, which ends with them."""
        task = None if recipe.at_once is None else recipe.task
        if self._pool is None or self._task != task:
            self.close()
            self._pool = worker_pool(min(self._workers, recipe.at_once or self._workers))
            self._task = task
        return self._pool


def chunks_of(candidates: int, size: int) -> list[Chunk]:
    """All chunks of so many candidates; the last one may be shorter."""
    return [Chunk(start, min(start + size, candidates)) for start in range(0, candidates, size)]


def make_chunk(recipe: Recipe, chunk: Chunk, folder: Path) -> None:
    """Makes a chunk's file where it is not there yet."""
    path = folder / chunk.name
    if not path.exists():
        outcomes = recipe.make(chunk.start, chunk.stop)
        if not folder.is_dir():  # the bank was full before this chunk was made
            return
        with whole_file(path) as temporary:
            temporary.write_bytes(to_bytes(outcomes))


def read_chunk(recipe: Recipe, chunk: Chunk, folder: Path) -> Iterator[tuple[int, Outcome]]:
    """Yields the numbers and outcomes of a chunk's file."""
    return zip(range(chunk.start, chunk.stop), from_bytes((folder / chunk.name).read_bytes(), recipe.task), strict=True)


def to_bytes(outcomes: Sequence[Outcome]) -> bytes:
    """Outcomes as JSON lines; the same outcomes give the same bytes."""
    return b"".join(json.dumps(_to_json(outcome)).encode() + b"\n" for outcome in outcomes)


def from_bytes(content: bytes, task: str) -> list[Outcome]:
    """The inverse of `to_bytes`."""
    return [_from_json(json.loads(line), task) for line in content.split(b"\n") if line]


def _to_json(outcome: Outcome) -> dict[str, object]:
    item = outcome.item
    made: dict[str, object] = {"fingerprint": outcome.fingerprint, "difficulty": outcome.difficulty}
    if isinstance(item, Drop):
        return made | {"drop": [item.id, item.reason, item.detail]}
    return made | {"row": row_from_trajectory(item)}


def _from_json(made: dict[str, object], task: str) -> Outcome:
    fingerprint, difficulty = made["fingerprint"], made["difficulty"]
    assert isinstance(fingerprint, str) and isinstance(difficulty, int), "as _to_json writes them"
    if isinstance(drop := made.get("drop"), list):
        return Outcome(
            item=Drop(id=drop[0], reason=drop[1], detail=drop[2]), fingerprint=fingerprint, difficulty=difficulty
        )
    row = made["row"]
    assert isinstance(row, dict), "as _to_json writes it"
    trajectory = trajectory_from_row(row, where="a chunk", task=task)
    return Outcome(item=trajectory, fingerprint=fingerprint, difficulty=difficulty)
