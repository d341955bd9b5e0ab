"""The cache of one task while it is made: its key, its shards, and how they are joined."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from agentbank_jax.data.declarations import TaskDeclaration
from agentbank_jax.data.shard_workers import ShardJob, ShardMaker
from agentbank_jax.data.sources import Split, task_files
from agentbank_jax.data.token_files import TokenFiles, join_shards, read_token_files, sha256
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
from agentbank_jax.whole_files import whole_folder

logger = logging.getLogger(__name__)

FORMAT = f"token_cache/2, shards of {SHARD_ROWS} rows"

Progress = Callable[[float, int], None]
"""Called with the part that is done, 0 to 1, and how many trajectories that is; first, how much was done before."""


class TaskCache:
    """The cache of one task: its name, where it is, and how it is put together.

    Fields:
      task: the declaration.
      folder: of the finished files.
      pending: of the shards, until there are finished files.
      shards: all that it takes, once they were planned, and
      wanted: the names of those that are still missing.
    """

    def __init__(
        self,
        task: TaskDeclaration,
        recipe: ShardRecipe,
        data_dir: str | os.PathLike[str],
        cache_dir: Path,
        split: Split = "train",
    ) -> None:
        self.task = task
        self._recipe = recipe
        self._data_dir = data_dir
        self._instruction = task.resolve_instruction()
        self._files = task_files(task, data_dir, split)
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
            # Of another split than `train`, the files' names say it.
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
            self.task.name, self._files, instruction=self._instruction or None, layout=self.task.layout
        )
        self.wanted = {shard.name for shard in self.shards if not _keep_if_whole(self.pending / shard.name)}

    def join(self) -> None:
        """Makes the finished files of the shards.

        Raises:
          TokenCacheError: where there is no trajectory at all, or none that fits.
        """
        name, max_length = self.task.name, self._recipe.max_length
        facts = {"format": FORMAT, "key": self._key, "task": name}
        paths = [self.pending / shard.name for shard in self.shards]
        with whole_folder(self.folder) as files:
            counts = join_shards(paths, files, dtype=self._recipe.dtype, facts=facts)
            if not counts["read"]:
                remedy = self.task.remedy_for(self._data_dir)
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

    def read(self) -> TokenFiles:
        """Opens the finished files; see `read_token_files`."""
        return read_token_files(self.folder, task=self.task.name, key=self._key)

    def read_if_whole(self) -> TokenFiles | None:
        """Opens the finished files, or gives None where there are none; damaged ones are set aside."""
        if not self.folder.is_dir():
            return None
        try:
            return self.read()
        except TokenCacheError as error:
            with self.lock():
                # Unless another process has made them again in the meantime.
                if not self._is_whole():
                    aside = self.folder.with_name(self.folder.name + ".damaged")
                    logger.warning("%s It is made again; the damaged one is now %s.", error, aside.name)
                    shutil.rmtree(aside, ignore_errors=True)
                    self.folder.rename(aside)
            return None

    def _is_whole(self) -> bool:
        with contextlib.suppress(TokenCacheError):
            self.read()
            return True
        return not self.folder.is_dir()


def make_caches(missing: Sequence[TaskCache], recipe: ShardRecipe, make: ShardMaker, progress: Progress) -> None:
    """Makes the caches of tasks, unless other processes do so at the same time; then it waits for them.

    Raises:
      AgentBankError: where rows cannot be used, nothing is left of a task, or a folder cannot be written.
    """
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
    caches: list[TaskCache], recipe: ShardRecipe, make: ShardMaker, progress: Progress
) -> Generator[TaskCache, None, None]:
    """Yields each cache as soon as it has all its shards."""
    jobs: list[ShardJob] = []
    owners: dict[Path, TaskCache] = {}
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
