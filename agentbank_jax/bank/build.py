"""Building a task's bank: candidates in parallel, shards in order, whole or not at all.

The shards grow in a hidden folder beside the final one, which takes their place at the end. A
build that was killed goes on from its complete shards. The bytes depend on the recipe alone, not
on the number of workers or on interruptions.
"""

import contextlib
import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.bank.outcome import DUPLICATE, Drop, Outcome
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.bank.staging import finish, finished_manifest, refuse_foreign, resume, write_shard
from agentbank_jax.errors import AgentBankError
from agentbank_jax.folder_lock import locked
from agentbank_jax.trajectories.schema import Trajectory
from agentbank_jax.worker_pool import worker_pool

# Consecutive candidates share worlds, so that a worker takes many at once.
_CHUNK = 500
# A family that has not filled its bank after so many candidates per trajectory is exhausted.
_PATIENCE = 4

ProgressCallback = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What became of one task.

    Fields:
      task: its name.
      folder: where its shards lie.
      rows: trajectories in the bank.
      assistant_turns: of all of them together.
      drops: candidates that were left out, by reason.
      seconds: of this call.
      built_rows: trajectories made by this call; the others were there before.
      reused: whether the finished bank was there already.
    """

    task: str
    folder: Path
    rows: int
    assistant_turns: int
    drops: dict[str, int]
    seconds: float
    built_rows: int
    reused: bool = False


def build(
    recipes: Sequence[Recipe],
    output: str | os.PathLike[str],
    *,
    workers: int = 2,
    progress: ProgressCallback | None = None,
) -> list[BuildResult]:
    """Builds the bank of each recipe under `output/<task>/`.

    Each folder holds `train-00000-of-000NN.parquet`, `drops.jsonl` (what was left out and why) and
    `manifest.json` (parameters, shards with their SHA-256, counts). A folder whose manifest has
    the recipe's parameters and whose shards are as it says is left as it is.

    Args:
      recipes: the tasks.
      output: the bank's folder.
      workers: processes; 1 works in this one.
      progress: called with task, trajectories so far, and trajectories wanted.

    Raises:
      AgentBankError: where `output` cannot be written, another build is writing there, a folder
        holds data that this project did not make, or a family runs out of instances.
    """
    if workers < 1:
        raise AgentBankError(f"--workers={workers}: expected at least 1.")
    root = Path(output)
    report = progress or (lambda task, rows, wanted: None)
    results: list[BuildResult] = []
    # All at once, before worker processes load the code that they describe.
    all_parameters = [dict(recipe.parameters()) for recipe in recipes]
    with locked(root, "build_bank.py", "--output or AGENTBANK_DATA_DIR"), contextlib.ExitStack() as stack:
        pool: ProcessPoolExecutor | None = None
        for recipe, parameters in zip(recipes, all_parameters, strict=True):
            started = time.monotonic()
            folder = root / recipe.task
            finished = finished_manifest(folder, parameters)
            if finished is not None:
                report(recipe.task, finished["rows"], finished["rows"])
                results.append(_result(recipe.task, folder, finished, started, built_rows=0, reused=True))
                continue
            refuse_foreign(folder)
            if workers > 1 and pool is None:
                pool = stack.enter_context(worker_pool(workers))
            try:
                manifest, built = _build_task(recipe, parameters, folder, pool, workers, report)
            except OSError as error:
                raise AgentBankError(f"{folder}: cannot be written ({error.strerror or error}).") from None
            except BrokenProcessPool:
                raise AgentBankError(
                    f"{recipe.task}: a worker process was killed (out of memory?); the same command goes on from the "
                    "complete shards, and --workers=1 needs the least memory."
                ) from None
            results.append(_result(recipe.task, folder, manifest, started, built_rows=built))
    return results


def _build_task(
    recipe: Recipe,
    parameters: dict[str, Any],
    folder: Path,
    pool: ProcessPoolExecutor | None,
    workers: int,
    report: ProgressCallback,
) -> tuple[dict[str, Any], int]:
    """Builds one task; returns its manifest and how many trajectories this call made."""
    staging = folder.with_name(f".{folder.name}.building")
    state = resume(staging, parameters)
    resumed = state.rows
    wanted = recipe.wanted if recipe.wanted is not None else recipe.candidates
    assert wanted is not None, "a recipe without end needs a number of trajectories"
    shard_rows = recipe.shard_rows or wanted
    shards = 1 if recipe.shard_rows is None else -(-wanted // shard_rows)
    end = recipe.candidates if recipe.candidates is not None else _PATIENCE * wanted + _CHUNK
    chunk = max(1, min(_CHUNK, -(-wanted // workers)))
    kept: list[Trajectory] = []
    dropped: list[Drop] = []
    fingerprints: list[str] = []
    report(recipe.task, state.rows, wanted)

    def close_shard(candidate: int) -> None:
        name = f"train-{len(state.shards):05d}-of-{shards:05d}.parquet"
        write_shard(staging, name, kept, dropped, fingerprints, candidate, state)
        for held in (kept, dropped, fingerprints):
            held.clear()

    candidate = state.next_candidate
    for candidate, outcome in _outcomes(recipe, state.next_candidate, end, chunk, pool, workers):
        if state.rows + len(kept) >= wanted:
            break
        fingerprint = outcome.fingerprint[:16]
        if fingerprint in state.fingerprints:
            item = outcome.item
            dropped.append(Drop(id=item.id, reason=DUPLICATE, detail=outcome.fingerprint))
            continue
        state.fingerprints.add(fingerprint)
        fingerprints.append(fingerprint)
        if isinstance(outcome.item, Drop):
            dropped.append(outcome.item)
            continue
        kept.append(outcome.item)
        total = state.rows + len(kept)
        if total % 50 == 0 or total == wanted:
            report(recipe.task, total, wanted)
        if len(kept) == shard_rows or total == wanted:
            close_shard(candidate + 1)
            if state.rows >= wanted:
                break
    if recipe.candidates is None and state.rows < wanted:
        reasons = Counter(drop.reason for drop in [*state.drops, *dropped])
        raise AgentBankError(
            f"{recipe.task}: only {state.rows + len(kept):,} of {wanted:,} trajectories among {end:,} instances "
            f"({_counts(reasons)}); ask for fewer with --trajectories."
        )
    if kept or dropped or not state.shards:
        close_shard(candidate + 1)
    manifest = finish(staging, folder, parameters, state)
    report(recipe.task, state.rows, state.rows)
    return manifest, state.rows - resumed


def _outcomes(
    recipe: Recipe, start: int, end: int, chunk: int, pool: ProcessPoolExecutor | None, workers: int
) -> Iterator[tuple[int, Outcome]]:
    """Yields candidates and their outcomes in order, however many processes make them."""
    spans = [(low, min(low + chunk, end)) for low in range(start, end, chunk)]
    if pool is None:
        for low, high in spans:
            yield from zip(range(low, high), recipe.make(low, high), strict=True)
        return
    queue = iter(spans)
    pending: deque[tuple[int, int, Future[Sequence[Outcome]]]] = deque()
    try:
        while True:
            for low, high in itertools.islice(queue, workers + 1 - len(pending)):
                pending.append((low, high, pool.submit(_make, recipe, low, high)))
            if not pending:
                return
            low, high, future = pending.popleft()
            yield from zip(range(low, high), future.result(), strict=True)
    finally:
        for _, _, future in pending:
            future.cancel()


def _make(recipe: Recipe, start: int, stop: int) -> Sequence[Outcome]:
    return recipe.make(start, stop)


def _result(
    task: str, folder: Path, manifest: dict[str, Any], started: float, *, built_rows: int, reused: bool = False
) -> BuildResult:
    return BuildResult(
        task=task,
        folder=folder,
        rows=manifest["rows"],
        assistant_turns=manifest["assistant_turns"],
        drops=manifest["drops"],
        seconds=time.monotonic() - started,
        built_rows=built_rows,
        reused=reused,
    )


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "nothing dropped"
