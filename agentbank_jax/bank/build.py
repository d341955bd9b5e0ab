"""Building a task's bank: candidates in parallel, shards in order, whole or not at all.

The shards grow in a hidden folder beside the final one, and take its place at the end. A build that was killed goes on
from the chunks of candidates that it has made. The bytes depend on the recipe alone, not on who makes the chunks or on
interruptions.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.bank.chunks import Chunk, ChunkMaker, chunks_of, read_chunk
from agentbank_jax.bank.filters.pipeline import apply_filters
from agentbank_jax.bank.outcome import DUPLICATE, Drop, Outcome
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.bank.staging import Staging, discard, finished_manifest, refuse_foreign
from agentbank_jax.errors import AgentBankError
from agentbank_jax.folder_lock import locked
from agentbank_jax.trajectories.schema import Trajectory

# A family that has not filled its bank after so many candidates per trajectory is exhausted.
_PATIENCE, _LEAST_CANDIDATES = 4, 500
_REPORT_EVERY = 50
# Below it a round of chunks is no larger.
_LEAST_RATE = 0.1

ProgressCallback = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What became of one task.

    Fields:
      task: its name.
      folder: where its shards lie.
      manifest: what is written of them.
      seconds: of this call.
      built_rows: trajectories put into shards by this call; the others were there before.
      reused: whether the finished bank was there already.
    """

    task: str
    folder: Path
    manifest: dict[str, Any]
    seconds: float
    built_rows: int
    reused: bool = False

    @property
    def rows(self) -> int:
        """Trajectories in the bank."""
        return int(self.manifest["rows"])

    @property
    def assistant_turns(self) -> int:
        """Of all trajectories together."""
        return int(self.manifest["assistant_turns"])

    @property
    def drops(self) -> dict[str, int]:
        """Candidates that were left out, by reason."""
        return dict(self.manifest["drops"])


def build(
    recipes: Sequence[Recipe],
    output: str | os.PathLike[str],
    *,
    maker: ChunkMaker,
    progress: ProgressCallback | None = None,
) -> list[BuildResult]:
    """Builds the bank of each recipe under `output/<task>/`.

    Each folder holds `train-00000-of-000NN.parquet`, `drops.jsonl` (what was left out and why) and `manifest.json`
    (parameters, shards with their SHA-256, counts, and how hard the source and what was kept of it are). A folder whose
    manifest has the recipe's parameters and whose shards are as it says is left as it is.

    Args:
      recipes: the tasks.
      output: the bank's folder.
      maker: makes the candidates; the caller closes it.
      progress: called with task, trajectories so far, and trajectories wanted.

    Raises:
      AgentBankError: where `output` cannot be written, another build is writing there, a folder holds data that this
        project did not make, or a family runs out of instances.
    """
    root = Path(output)
    report = progress or (lambda task, rows, wanted: None)
    results: list[BuildResult] = []
    # All at once, before worker processes load the code that they describe.
    all_parameters = [recipe.written_parameters() for recipe in recipes]
    with locked(root, "build_bank.py", "--output or AGENTBANK_DATA_DIR"):
        for recipe in recipes:
            refuse_foreign(root / recipe.task)
        for recipe, parameters in zip(recipes, all_parameters, strict=True):
            started = time.monotonic()
            folder = root / recipe.task
            manifest, built = finished_manifest(folder, parameters), 0
            reused = manifest is not None
            if manifest is not None:
                discard(folder)
            else:
                try:
                    manifest, built = _Build(recipe, parameters, folder, maker, report).run()
                except OSError as error:
                    raise AgentBankError(f"{folder}: cannot be written ({error.strerror or error}).") from None
                except BrokenProcessPool:
                    raise AgentBankError(
                        f"{recipe.task}: a worker process was killed (out of memory?); the same command goes on from "
                        "what is made, and --workers=1 needs the least memory."
                    ) from None
            report(recipe.task, manifest["rows"], manifest["rows"])
            seconds = time.monotonic() - started
            results.append(
                BuildResult(
                    task=recipe.task,
                    folder=folder,
                    manifest=manifest,
                    seconds=seconds,
                    built_rows=built,
                    reused=reused,
                )
            )
    return results


class _Build:
    """One task on its way from candidates to a folder of shards."""

    def __init__(
        self,
        recipe: Recipe,
        parameters: dict[str, Any],
        folder: Path,
        maker: ChunkMaker,
        report: ProgressCallback,
    ) -> None:
        wanted = recipe.wanted if recipe.wanted is not None else recipe.candidates
        assert wanted is not None, "a recipe without end needs a number of trajectories"
        self._recipe, self._maker, self._report, self._wanted = recipe, maker, report, wanted
        self._staging = Staging(folder, parameters)
        # Each candidate of a recipe that asks a server may cost money.
        least = _LEAST_CANDIDATES if recipe.threads == 1 else recipe.chunk
        end = recipe.candidates if recipe.candidates is not None else _PATIENCE * wanted + least
        self._chunks = chunks_of(end, max(1, min(recipe.chunk, wanted)))
        self._shard_rows = recipe.shard_rows or max(wanted, 1)
        self._kept: list[Trajectory] = []
        self._dropped: list[Drop] = []
        self._seen: list[tuple[str, int]] = []

    def run(self) -> tuple[dict[str, Any], int]:
        """Returns the manifest, and how many trajectories this call has put into shards."""
        staging, wanted = self._staging, self._wanted
        resumed = staging.rows
        self._report(self._recipe.task, staging.rows, wanted)
        candidate = staging.next_candidate
        for candidate, outcome in self._outcomes():
            if staging.rows + len(self._kept) >= wanted:
                break
            self._take(outcome)
            total = staging.rows + len(self._kept)
            if len(self._kept) == self._shard_rows or (total == wanted and self._kept):
                self._close_shard(candidate + 1)
                if staging.rows >= wanted:
                    break
        if self._recipe.candidates is None and staging.rows < wanted:
            self._exhausted()
        if self._kept or self._dropped or not staging.shards:
            self._close_shard(candidate + 1)
        self._compare()
        return staging.finish(), max(0, staging.rows - resumed)

    def _take(self, outcome: Outcome) -> None:
        fingerprint = outcome.fingerprint[:16]
        if fingerprint in self._staging.fingerprints:
            self._dropped.append(Drop(id=outcome.item.id, reason=DUPLICATE, detail=outcome.fingerprint))
            return
        self._staging.fingerprints.add(fingerprint)
        self._seen.append((fingerprint, outcome.difficulty))
        if isinstance(outcome.item, Drop):
            self._dropped.append(outcome.item)
            return
        self._kept.append(outcome.item)
        total = self._staging.rows + len(self._kept)
        if total % _REPORT_EVERY == 0:
            self._report(self._recipe.task, total, self._wanted)

    def _outcomes(self) -> Iterator[tuple[int, Outcome]]:
        """Yields the candidates that no shard has seen yet, in order."""
        begin = self._staging.next_candidate
        left = [chunk for chunk in self._chunks if chunk.stop > begin]
        while left:
            chosen = self._enough(left)
            left = left[len(chosen) :]
            for chunk in self._maker(self._recipe, chosen, self._staging.chunks):
                for candidate, outcome in read_chunk(self._recipe, chunk, self._staging.chunks):
                    if candidate >= begin:
                        yield candidate, outcome

    def _enough(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Chunks that will fill the bank if as many of their candidates are kept as of those before them."""
        if self._recipe.wanted is None:
            return chunks
        kept, seen = self._staging.rows + len(self._kept), chunks[0].start
        rate = max(kept / seen, _LEAST_RATE) if seen else 1.0
        size = chunks[0].stop - chunks[0].start
        return chunks[: max(1, math.ceil((self._wanted - kept) / rate / size))]

    def _close_shard(self, next_candidate: int) -> None:
        self._staging.write_shard(self._kept, self._dropped, self._seen, next_candidate)
        for held in (self._kept, self._dropped, self._seen):
            held.clear()

    def _compare(self) -> None:
        """Lets those filters that compare trajectories see all of them."""
        filters = self._recipe.bank_filters
        if not filters:
            return
        filtered = apply_filters(self._staging.read(self._recipe.task), filters)
        if filtered.drops:
            self._staging.replace(filtered.kept, filtered.drops, self._shard_rows)

    def _exhausted(self) -> None:
        staging = self._staging
        reasons = Counter(drop.reason for drop in [*staging.drops, *self._dropped])
        counted = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "nothing dropped"
        kept = staging.rows + len(self._kept)
        remedy = "ask for fewer with --trajectories" if kept else "another annotator or another model is needed"
        raise AgentBankError(
            f"{self._recipe.task}: only {kept:,} of {self._wanted:,} trajectories among "
            f"{self._chunks[-1].stop:,} instances ({counted}); {remedy}."
        )
