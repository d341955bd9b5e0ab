"""Tokenised trajectories on disk, made once and read through memory maps.

A task's cache is a folder `<task>-<key>` of flat files: `tokens.bin`, `trained.bin` (one byte a
token), `offsets.bin` (int64), `turns.bin` (int32, assistant turns), `ids.json` and
`manifest.json`. The key is a hash of everything that decides the content, so that a cache of
other sources, instructions, templates or tokenizers is never read. While it is made, its shards
stand in a hidden folder beside it; what was killed goes on from those that are complete.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.data.declarations import TaskDeclaration, get_mixture, get_task
from agentbank_jax.data.over_long import OverLongPolicy, whole_id
from agentbank_jax.data.shard_workers import LocalWorkers, ShardJob, ShardMaker
from agentbank_jax.data.sources import task_files
from agentbank_jax.data.token_files import join_shards, read_token_files, sha256
from agentbank_jax.data.token_shards import (
    SHARD_ROWS,
    ShardRecipe,
    ShardSource,
    TokenCacheError,
    TokenShard,
    divide_into_shards,
)
from agentbank_jax.folder_lock import locked
from agentbank_jax.trajectories.schema import TrajectoryError
from agentbank_jax.trajectories.templates.registry import ChatTemplate
from agentbank_jax.whole_files import whole_folder

FORMAT = f"token_cache/2, shards of {SHARD_ROWS} rows"

Progress = Callable[[float, int], None]
"""Called with the part that is done, 0 to 1, and how many trajectories that is; first, how much was done before."""


@dataclass(frozen=True, kw_only=True)
class TaskTokens:
    """The tokenised trajectories of one task.

    Fields:
      task: the declaration.
      tokens: token ids of all trajectories, one after the other.
      trained: whether each token is trained.
      offsets: trajectory `i` is `tokens[offsets[i]:offsets[i + 1]]`.
      turns: assistant turns of each trajectory.
      ids: the trajectories' ids.
      manifest: key, counts, shards and checksums. Of the trajectories `read`, some were `dropped`, `truncated` or
        `split`; `kept` counts rows, the parts of those that were split too, and `lost_turns` the trained
        assistant turns of trajectories that were not dropped but are in none of their parts.
    """

    task: TaskDeclaration
    tokens: Int[np.ndarray, " tokens"]
    trained: Bool[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " trajectories_plus_1"]
    turns: Int[np.ndarray, " trajectories"]
    ids: tuple[str, ...]
    manifest: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> Int[np.ndarray, " trajectories"]:
        """Tokens of each trajectory."""
        return np.diff(self.offsets)

    @cached_property
    def trained_counts(self) -> Int[np.ndarray, " trajectories"]:
        """Trained tokens of each trajectory."""
        # One by one: NumPy's sums by segment would widen the whole mask to eight bytes a token.
        trained, bounds = np.asarray(self.trained), pairwise(self.offsets.tolist())
        return np.fromiter((np.count_nonzero(trained[begin:end]) for begin, end in bounds), np.int64, len(self))


@dataclass(frozen=True, kw_only=True)
class TokenCache:
    """The tokenised trajectories of a mixture.

    Fields:
      mixture: the mixture's name.
      tasks: its tasks, in the order of the declaration.
      rates: passes over each task in one epoch.
      max_length: places of the rows that each trajectory fits into.
      template_fingerprint, tokenizer_fingerprint: what made the ids.
    """

    mixture: str
    tasks: tuple[TaskTokens, ...]
    rates: tuple[float, ...]
    max_length: int
    template_fingerprint: str
    tokenizer_fingerprint: str

    def __len__(self) -> int:
        return sum(len(task) for task in self.tasks)

    @property
    def fingerprint(self) -> str:
        """Changes whenever any id, mask or rate does."""
        keys = [[task.manifest["key"], rate] for task, rate in zip(self.tasks, self.rates, strict=True)]
        return hashlib.sha256(json.dumps([FORMAT, keys]).encode()).hexdigest()

    @cached_property
    def starts(self) -> Int[np.ndarray, " tasks_plus_1"]:
        """The index of each task's first trajectory within the mixture."""
        return np.concatenate([[0], np.cumsum([len(task) for task in self.tasks])]).astype(np.int64)

    @cached_property
    def lengths(self) -> Int[np.ndarray, " trajectories"]:
        """Tokens of each trajectory of the mixture."""
        return np.concatenate([task.lengths for task in self.tasks])

    def example(self, index: int) -> tuple[Int[np.ndarray, " length"], Bool[np.ndarray, " length"]]:
        """Returns tokens and mask of trajectory `index` of the mixture."""
        number = int(self.starts.searchsorted(index, side="right")) - 1
        task = self.tasks[number]
        local = index - int(self.starts[number])
        begin, end = int(task.offsets[local]), int(task.offsets[local + 1])
        return task.tokens[begin:end], task.trained[begin:end]

    def seen(self) -> dict[str, list[str]]:
        """Returns the ids of each task's trajectories, for the manifest that travels with a model."""
        return {task.task.name: list(dict.fromkeys(map(whole_id, task.ids))) for task in self.tasks}


def build_cache(
    mixture: str,
    template: ChatTemplate,
    *,
    max_length: int,
    data_dir: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    over_long: OverLongPolicy = "drop",
    make: ShardMaker | None = None,
    progress: Progress | None = None,
) -> TokenCache:
    """Opens the token cache of a mixture, first making what is missing of it.

    A process that is killed leaves complete shards, from which the next one goes on. Of several
    that make the same cache one works, and the others wait for it. The files are the same however
    they came about.

    Args:
      mixture: name of a declared mixture or task.
      template: turns trajectories into ids; holds the tokenizer.
      max_length: places of a row; a trajectory of n tokens takes n - 1 of them.
      data_dir: folder of the banks.
      cache_dir: folder of the caches; made where it is missing.
      over_long: what becomes of trajectories that do not fit.
      make: makes the shards; None takes `LocalWorkers()`.
      progress: called now and then while shards are made.

    Raises:
      AgentBankError: on an unknown mixture, missing or malformed files, a damaged cache, or a task
        of which no trajectory fits.
    """
    declaration = get_mixture(mixture)
    recipe = ShardRecipe(template=template, max_length=max_length, over_long=over_long)
    caches = [_TaskCache(get_task(name), recipe, data_dir, Path(cache_dir)) for name in declaration.rates]
    missing = [cache for cache in caches if not cache.folder.is_dir()]
    if missing:
        _make(missing, recipe, make or LocalWorkers(), progress or (lambda part, count: None))
    return TokenCache(
        mixture=mixture,
        tasks=tuple(cache.open() for cache in caches),
        rates=tuple(float(rate) for rate in declaration.rates.values()),
        max_length=max_length,
        template_fingerprint=template.fingerprint,
        tokenizer_fingerprint=template.tokenizer.fingerprint,
    )


class _TaskCache:
    """The cache of one task: its name, where it is, and how it is put together.

    Fields:
      folder: of the finished files.
      pending: of the shards, until there are finished files.
      shards: all that it takes, once they were planned, and
      wanted: the names of those that are still missing.
    """

    def __init__(
        self, task: TaskDeclaration, recipe: ShardRecipe, data_dir: str | os.PathLike[str], cache_dir: Path
    ) -> None:
        self._task = task
        self._recipe = recipe
        self._data_dir = data_dir
        self._instruction = task.resolve_instruction()
        self._files = task_files(task, data_dir)
        parts = [
            FORMAT,
            task.name,
            self._instruction,
            # Tasks with files of their own may be read in several layouts.
            *([task.layout] if task.files else []),
            recipe.template.fingerprint,
            recipe.template.tokenizer.fingerprint,
            recipe.max_length,
            recipe.over_long,
            [[file.name, _checksum(file)] for file in self._files],
        ]
        self._key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self.folder = cache_dir / f"{task.name}-{self._key[:16]}"
        self.pending = cache_dir / f".{self.folder.name}.shards"
        self.shards: list[ShardSource] = []
        self.wanted: set[str] = set()

    def lock(self) -> contextlib.AbstractContextManager[None]:
        def say() -> None:
            print(f"waiting for another process, which makes {self.folder}", file=sys.stderr)

        return locked(self.pending, "cache_tasks.py", "--cache_dir", wait=say)

    def plan(self) -> None:
        """Finds out which shards are missing."""
        self.shards = divide_into_shards(
            self._task.name, self._files, instruction=self._instruction or None, layout=self._task.layout
        )
        self.wanted = {shard.name for shard in self.shards if not _keep_if_whole(self.pending / shard.name)}

    def join(self) -> None:
        """Makes the finished files of the shards.

        Raises:
          TokenCacheError: where there is no trajectory at all, or none that fits.
        """
        name, max_length = self._task.name, self._recipe.max_length
        facts = {"format": FORMAT, "key": self._key, "task": name}
        paths = [self.pending / shard.name for shard in self.shards]
        with whole_folder(self.folder) as files:
            counts = join_shards(paths, files, dtype=self._recipe.dtype, facts=facts)
            if not counts["read"]:
                remedy = self._task.remedy_for(self._data_dir)
                raise TokenCacheError(f"task '{name}': its files hold no trajectory; {remedy}.")
            if not counts["kept"]:
                raise TokenCacheError(
                    f"task '{name}': none of {counts['read']} trajectories fits into {max_length} tokens; expected at "
                    "least one. Raise max_length."
                )
        self.discard()

    def discard(self) -> None:
        """Removes the shards."""
        shutil.rmtree(self.pending, ignore_errors=True)

    def open(self) -> TaskTokens:
        """Reads the finished files; see `read_token_files`."""
        files = read_token_files(self.folder, task=self._task.name, key=self._key)
        return TaskTokens(task=self._task, **files._asdict())


def _make(missing: list[_TaskCache], recipe: ShardRecipe, make: ShardMaker, progress: Progress) -> None:
    with contextlib.ExitStack() as stack:
        # In one order everywhere: else two processes could wait for each other.
        for cache in sorted(missing, key=lambda cache: cache.folder):
            stack.enter_context(cache.lock())
        unfinished = []
        for cache in missing:
            if cache.folder.is_dir():
                # Another process has made it in the meantime.
                cache.discard()
            else:
                unfinished.append(cache)
        try:
            for cache in unfinished:
                cache.plan()
            with contextlib.closing(_finished(unfinished, recipe, make, progress)) as finished:
                for cache in finished:
                    cache.join()
                    unfinished.remove(cache)
        except (TrajectoryError, TokenCacheError):
            # A mistake in the sources: other sources have another key.
            for cache in unfinished:
                cache.discard()
            raise
        except OSError as error:
            raise TokenCacheError(
                f"{error.filename}: the token cache cannot be written ({error.strerror}); name another folder."
            ) from None


def _finished(
    caches: list[_TaskCache], recipe: ShardRecipe, make: ShardMaker, progress: Progress
) -> Generator[_TaskCache, None, None]:
    """Yields each cache as soon as it has all its shards."""
    jobs: list[ShardJob] = []
    owners: dict[Path, _TaskCache] = {}
    done = total = 0
    for cache in caches:
        owners[cache.pending] = cache
        for shard in cache.shards:
            total += _rows(shard)
            if shard.name in cache.wanted:
                jobs.append((shard, cache.pending))
            else:
                done += _rows(shard)
    if jobs:
        progress(done / total, done)
    yield from (cache for cache in list(caches) if not cache.wanted)
    with contextlib.closing(make(jobs, recipe)) as made:
        for shard, folder in made:
            cache = owners[folder]
            cache.wanted.remove(shard.name)
            done += _rows(shard)
            progress(done / total, done)
            if not cache.wanted:
                yield cache


def _rows(shard: ShardSource) -> int:
    # Of a file that could not be divided the number is not known.
    return shard.span.count or 1


def _checksum(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise TokenCacheError(f"{file}: cannot be read ({error.strerror}); expected a file that can.") from None


def _keep_if_whole(path: Path) -> bool:
    """Whether a shard is there and as it was written; else it is removed."""
    try:
        TokenShard.from_file(path)
    except TokenCacheError:
        path.unlink(missing_ok=True)
        return False
    return True
