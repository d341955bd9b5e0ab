"""Tokenised trajectories on disk, made once and read through memory maps.

A task's cache is a folder `<task>-<key>` of flat files: `tokens.bin`, `trained.bin` (one byte a
token), `offsets.bin` (int64), `turns.bin` (int32, assistant turns), `ids.json` and
`manifest.json`. The key is a hash of everything that decides the content, so that a cache of
other sources, instructions, templates or tokenizers is never read.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.data.declarations import TaskDeclaration, get_mixture, get_task
from agentbank_jax.data.over_long import OverLongPolicy, fit_to_length, whole_id
from agentbank_jax.data.sources import read_task, task_files
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory
from agentbank_jax.trajectories.templates.registry import ChatTemplate, EncodedTrajectory

FORMAT = "token_cache/1"
_BATCH = 512


class TokenCacheError(AgentBankError):
    """A cache that is damaged or cannot be written, or sources without a usable trajectory."""


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
      manifest: key, counts and checksums. Of the trajectories `read`, some were `dropped`, `truncated` or
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
        return np.add.reduceat(self.trained, self.offsets[:-1], dtype=np.int64)


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
    num_threads: int | None = None,
) -> TokenCache:
    """Opens the token cache of a mixture, first making what is missing of it.

    Args:
      mixture: name of a declared mixture or task.
      template: turns trajectories into ids; holds the tokenizer.
      max_length: places of a row; a trajectory of n tokens takes n - 1 of them.
      data_dir: folder of the banks.
      cache_dir: folder of the caches; made where it is missing.
      over_long: what becomes of trajectories that do not fit.
      num_threads: of the tokenizer; None takes one for each core.

    Raises:
      AgentBankError: on an unknown mixture, missing or malformed files, a damaged cache, or a task
        of which no trajectory fits.
    """
    declaration = get_mixture(mixture)
    threads = num_threads or os.cpu_count() or 1
    tasks = []
    for name in declaration.rates:
        task = get_task(name)
        key = _key(task, template, max_length, data_dir, over_long)
        folder = Path(cache_dir) / f"{task.name}-{key[:16]}"
        if not folder.is_dir():
            _make(folder, task, key, template, max_length, data_dir, over_long, threads)
        tasks.append(_open(folder, task, key))
    return TokenCache(
        mixture=mixture,
        tasks=tuple(tasks),
        rates=tuple(float(rate) for rate in declaration.rates.values()),
        max_length=max_length,
        template_fingerprint=template.fingerprint,
        tokenizer_fingerprint=template.tokenizer.fingerprint,
    )


def _key(
    task: TaskDeclaration,
    template: ChatTemplate,
    max_length: int,
    data_dir: str | os.PathLike[str],
    over_long: OverLongPolicy,
) -> str:
    parts = [
        FORMAT,
        task.name,
        task.resolve_instruction(),
        template.fingerprint,
        template.tokenizer.fingerprint,
        max_length,
        over_long,
        [[file.name, _checksum(file)] for file in task_files(task, data_dir)],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _make(
    folder: Path,
    task: TaskDeclaration,
    key: str,
    template: ChatTemplate,
    max_length: int,
    data_dir: str | os.PathLike[str],
    over_long: OverLongPolicy,
    num_threads: int,
) -> None:
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    dtype = np.dtype(np.uint16 if template.tokenizer.vocab_size <= 1 << 16 else np.int32)
    counts = {"read": 0, "kept": 0, "dropped": 0, "truncated": 0, "split": 0, "lost_turns": 0}
    ids: list[str] = []
    lengths: list[int] = []
    turns: list[int] = []
    try:
        # A process that was killed may have left one of this name.
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with (temporary / "tokens.bin").open("wb") as tokens, (temporary / "trained.bin").open("wb") as trained:
            for encoded in _encoded(read_task(task, data_dir), template, num_threads):
                counts["read"] += 1
                fitted = fit_to_length(encoded, max_length + 1, over_long)
                if not fitted.parts:
                    counts["dropped"] += 1
                    continue
                counts["kept"] += len(fitted.parts)
                counts["lost_turns"] += fitted.lost_turns
                if fitted.parts[0] is not encoded:
                    counts["split" if over_long == "split_at_turn" else "truncated"] += 1
                for part in fitted.parts:
                    tokens.write(part.tokens.astype(dtype).tobytes())
                    trained.write(part.trained.tobytes())
                    ids.append(part.id)
                    lengths.append(len(part.tokens))
                    turns.append(part.assistant_turns)
        if not counts["read"]:
            raise TokenCacheError(f"task '{task.name}': its files hold no trajectory; {task.remedy_for(data_dir)}.")
        if not ids:
            raise TokenCacheError(
                f"task '{task.name}': none of {counts['read']} trajectories fits into {max_length} tokens; "
                "expected at least one. Raise max_length."
            )
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64).tofile(temporary / "offsets.bin")
        np.array(turns, np.int32).tofile(temporary / "turns.bin")
        (temporary / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "key": key,
            "task": task.name,
            "dtype": dtype.name,
            "counts": counts,
            "sha256": {file.name: _checksum(file) for file in sorted(temporary.iterdir())},
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        try:
            os.replace(temporary, folder)
        except OSError:
            # Another process has made the same cache in the meantime.
            if not folder.is_dir():
                raise
    except OSError as error:
        raise TokenCacheError(
            f"{folder}: the token cache cannot be written ({error.strerror}); name another folder."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _encoded(
    trajectories: Iterable[Trajectory], template: ChatTemplate, num_threads: int
) -> Iterator[EncodedTrajectory]:
    iterator = iter(trajectories)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield from template.encode_batch(batch, num_threads=num_threads)


def _open(folder: Path, task: TaskDeclaration, key: str) -> TaskTokens:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        damaged = [name for name, checksum in manifest["sha256"].items() if _checksum(folder / name) != checksum]
        if manifest["key"] != key:
            damaged.append("manifest.json")
    except (OSError, ValueError, KeyError, TokenCacheError) as error:
        raise _damaged(folder, str(error)) from None
    if damaged:
        raise _damaged(folder, f"the content of {', '.join(damaged)} has changed")
    return TaskTokens(
        task=task,
        tokens=np.memmap(folder / "tokens.bin", np.dtype(manifest["dtype"]), "r"),
        trained=np.memmap(folder / "trained.bin", np.bool_, "r"),
        offsets=np.fromfile(folder / "offsets.bin", np.int64),
        turns=np.fromfile(folder / "turns.bin", np.int32),
        ids=tuple(json.loads((folder / "ids.json").read_text(encoding="utf-8"))),
        manifest=manifest,
    )


def _damaged(folder: Path, reason: str) -> TokenCacheError:
    return TokenCacheError(
        f"{folder}: the token cache is damaged ({reason}). Remove the folder; it will be made again."
    )


def _checksum(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise TokenCacheError(f"{file}: cannot be read ({error.strerror}); expected a file that can.") from None
