"""Tokenised trajectories on disk, made once and read through memory maps.

A task's cache is a folder `<task>-<key>` of flat files: `tokens.bin`, `trained.bin` (one byte a
token), `offsets.bin` (int64), `turns.bin` (int32, assistant turns), `ids.json` and
`manifest.json`. The key is a hash of everything that decides the content, so that a cache of
other sources, instructions, templates or tokenizers is never read. While it is made, its shards
stand in a hidden folder beside it; what was killed goes on from those that are complete.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.data.declarations import TaskDeclaration, get_mixture, get_task
from agentbank_jax.data.over_long import OverLongPolicy, whole_id
from agentbank_jax.data.shard_workers import LocalWorkers, ShardMaker
from agentbank_jax.data.sources import Split, task_files
from agentbank_jax.data.task_cache import FORMAT, Progress, TaskCache, make_caches
from agentbank_jax.data.token_shards import ShardRecipe, TokenCacheError
from agentbank_jax.trajectories.templates.registry import ChatTemplate

__all__ = ["TaskTokens", "TokenCache", "TokenCacheError", "build_cache"]


@dataclass(frozen=True, kw_only=True)
class TaskTokens:
    """The tokenised trajectories of one task.

    Fields:
      task: the declaration.
      tokens: token ids of all trajectories, one after the other.
      trained: whether each token is trained.
      offsets: trajectory `i` of the files is `tokens[offsets[i]:offsets[i + 1]]`.
      turns: assistant turns of each trajectory.
      ids: the trajectories' ids.
      manifest: key, counts, shards and checksums. Of the trajectories `read`, some were `dropped`, `truncated` or
        `split`; `kept` counts rows, the parts of those that were split too, and `lost_turns` the trained
        assistant turns of trajectories that were not dropped but are in none of their parts.
      chosen: which trajectories of the files these are, where they are not all (see `subset`).
    """

    task: TaskDeclaration
    tokens: Int[np.ndarray, " tokens"]
    trained: Bool[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " trajectories_plus_1"]
    turns: Int[np.ndarray, " trajectories"]
    ids: tuple[str, ...]
    manifest: Mapping[str, Any]
    chosen: Int[np.ndarray, " trajectories"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def bounds(self) -> Int[np.ndarray, "trajectories 2"]:
        """Where each trajectory begins and ends in `tokens`."""
        bounds = np.stack([self.offsets[:-1], self.offsets[1:]], axis=1)
        return bounds if self.chosen is None else bounds[self.chosen]

    @cached_property
    def lengths(self) -> Int[np.ndarray, " trajectories"]:
        """Tokens of each trajectory."""
        return self.bounds[:, 1] - self.bounds[:, 0]

    def subset(self, chosen: Int[np.ndarray, " chosen"], rule: str) -> "TaskTokens":
        """Returns some of the trajectories, over the same files.

        Args:
          chosen: indices of trajectories.
          rule: says how they were chosen; a part of the key of what comes back.
        """
        key = hashlib.sha256(json.dumps([self.manifest["key"], rule]).encode()).hexdigest()
        return replace(
            self,
            turns=self.turns[chosen],
            ids=tuple(self.ids[index] for index in chosen.tolist()),
            manifest={**self.manifest, "key": key},
            chosen=chosen if self.chosen is None else self.chosen[chosen],
        )

    @cached_property
    def trained_counts(self) -> Int[np.ndarray, " trajectories"]:
        """Trained tokens of each trajectory."""
        # One by one: NumPy's sums by segment would widen the whole mask to eight bytes a token.
        trained, bounds = np.asarray(self.trained), self.bounds.tolist()
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

    def too_long(self) -> str:
        """Says what became of trajectories that are longer than a row; an empty text where none is."""
        counts = [task.manifest["counts"] for task in self.tasks]
        sums = {name: sum(each[name] for each in counts) for name in ("read", "dropped", "truncated", "split")}
        told = [f"{sums[name]:,} {name}" for name in ("dropped", "truncated", "split") if sums[name]]
        if not told:
            return ""
        # Input and target are one token apart.
        return f"longer than {self.max_length + 1:,} tokens: {', '.join(told)} of {sums['read']:,} trajectories"

    def example(self, index: int) -> tuple[Int[np.ndarray, " length"], Bool[np.ndarray, " length"]]:
        """Returns tokens and mask of trajectory `index` of the mixture."""
        number = int(self.starts.searchsorted(index, side="right")) - 1
        task = self.tasks[number]
        local = index - int(self.starts[number])
        begin, end = task.bounds[local].tolist()
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
    split: Split = "train",
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
      split: `validation` leaves out the tasks that have no files of it, which may be all.
      make: makes the shards; None takes `LocalWorkers()`.
      progress: called now and then while shards are made.

    Raises:
      AgentBankError: on an unknown mixture, missing or malformed files, or a task of which no
        trajectory fits. A damaged cache is set aside, and made again.
    """
    declaration = get_mixture(mixture)
    recipe = ShardRecipe(template=template, max_length=max_length, over_long=over_long)
    tasks = [get_task(name) for name in declaration.rates]
    if split != "train":
        tasks = [task for task in tasks if task_files(task, data_dir, split)]
    caches = [TaskCache(task, recipe, data_dir, Path(cache_dir), split) for task in tasks]
    files = {cache: cache.read_if_whole() for cache in caches}
    if missing := [cache for cache, found in files.items() if found is None]:
        make_caches(missing, recipe, make or LocalWorkers(), progress or (lambda part, count: None))
    return TokenCache(
        mixture=mixture,
        tasks=tuple(TaskTokens(task=cache.task, **(found or cache.read())._asdict()) for cache, found in files.items()),
        rates=tuple(float(declaration.rates[task.name]) for task in tasks),
        max_length=max_length,
        template_fingerprint=template.fingerprint,
        tokenizer_fingerprint=template.tokenizer.fingerprint,
    )
