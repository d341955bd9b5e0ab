"""The files of a task's token cache: shards joined to flat arrays, with a checksum for each shard."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.data.token_shards import COUNTS, TOKEN_DTYPES, TokenCacheError, TokenShard

_BLOCK = 1 << 20

# Files of one value a token, whose shards have checksums of their own.
_FLAT = ("tokens.bin", "trained.bin")


class TokenFiles(NamedTuple):
    """What the files hold; fields as those of `TaskTokens`."""

    tokens: Int[np.ndarray, " tokens"]
    trained: Bool[np.ndarray, " tokens"]
    offsets: Int[np.ndarray, " trajectories_plus_1"]
    turns: Int[np.ndarray, " trajectories"]
    ids: tuple[str, ...]
    manifest: Mapping[str, Any]


def join_shards(paths: Sequence[Path], folder: Path, *, dtype: np.dtype, facts: Mapping[str, Any]) -> dict[str, int]:
    """Writes the files of a cache, one shard at a time; returns the sums of the shards' counts.

    Args:
      paths: the shards, in order.
      folder: for the files.
      dtype: of the ids.
      facts: what else the manifest says.

    Raises:
      TokenCacheError: where a shard is damaged.
      OSError: where the folder cannot be written.
    """
    counts = dict.fromkeys(COUNTS, 0)
    lengths: list[np.ndarray] = []
    turns: list[np.ndarray] = []
    ids: list[str] = []
    shards: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        tokens, trained = (stack.enter_context((folder / name).open("wb")) for name in _FLAT)
        for path in paths:
            shard = TokenShard.from_file(path)
            parts = {"tokens.bin": shard.tokens.tobytes(), "trained.bin": shard.trained.tobytes()}
            tokens.write(parts["tokens.bin"])
            trained.write(parts["trained.bin"])
            shards.append(
                {
                    "rows": shard.counts["read"],
                    "tokens": len(shard.tokens),
                    "sha256": {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()},
                }
            )
            lengths.append(shard.lengths)
            turns.append(shard.turns)
            ids += shard.ids
            for name in COUNTS:
                counts[name] += shard.counts[name]
    np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64).tofile(folder / "offsets.bin")
    np.concatenate(turns).astype(np.int32).tofile(folder / "turns.bin")
    (folder / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
    manifest = {
        **facts,
        "dtype": dtype.name,
        "counts": counts,
        "shards": shards,
        "sha256": {name: sha256(folder / name) for name in ("ids.json", "offsets.bin", "turns.bin")},
    }
    manifest["sha256"]["manifest.json"] = _checksum_of_manifest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return counts


def read_token_files(folder: Path, *, task: str, key: str) -> TokenFiles:
    """Opens the files of a task's cache, after all of them were compared with their checksums.

    Raises:
      TokenCacheError: where one is missing or has changed; names the task, the file and the shard.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        sums = dict(manifest["sha256"])
        if sums.pop("manifest.json") != _checksum_of_manifest(manifest) or manifest["key"] != key:
            raise _damaged(folder, task, "the content of manifest.json has changed")
        # Of another type, such as that of Python's objects, the bytes of a file would be taken for addresses.
        if manifest["dtype"] not in map(str, TOKEN_DTYPES):
            raise _damaged(folder, task, f"manifest.json says dtype={manifest['dtype']!r}")
        _check(folder, task, sums, manifest)
        return TokenFiles(
            tokens=np.memmap(folder / "tokens.bin", np.dtype(manifest["dtype"]), "r"),
            trained=np.memmap(folder / "trained.bin", np.bool_, "r"),
            offsets=np.fromfile(folder / "offsets.bin", np.int64),
            turns=np.fromfile(folder / "turns.bin", np.int32),
            ids=tuple(json.loads((folder / "ids.json").read_text(encoding="utf-8"))),
            manifest=manifest,
        )
    except OSError as error:
        raise _damaged(folder, task, f"{error.filename}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder, task, "manifest.json cannot be read") from None


def sha256(file: Path, begin: int = 0, end: int | None = None) -> str:
    """Returns the SHA-256 of a file's bytes from `begin` up to `end`, hexadecimal.

    Raises:
      OSError: where it cannot be read.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        left = (stream.seek(0, os.SEEK_END) if end is None else end) - begin
        stream.seek(begin)
        while block := stream.read(min(_BLOCK, left)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _check(folder: Path, task: str, sums: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    for name, expected in sums.items():
        if sha256(folder / name) != expected:
            raise _damaged(folder, task, f"the content of {name} has changed")
    shards = manifest["shards"]
    bounds = np.concatenate([[0], np.cumsum([shard["tokens"] for shard in shards])]).tolist()
    sizes = {"tokens.bin": np.dtype(manifest["dtype"]).itemsize, "trained.bin": 1}
    for name, size in sizes.items():
        if (folder / name).stat().st_size != bounds[-1] * size:
            raise _damaged(folder, task, f"the size of {name} has changed")
    parts = [(name, number) for name in _FLAT for number in range(len(shards))]

    def is_whole(part: tuple[str, int]) -> bool:
        name, number = part
        begin, end = (bound * sizes[name] for bound in bounds[number : number + 2])
        return sha256(folder / name, begin, end) == shards[number]["sha256"][name]

    # Hashing leaves the other threads free to hash.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for (name, number), whole in zip(parts, threads.map(is_whole, parts), strict=True):
            if not whole:
                first = sum(shard["rows"] for shard in shards[:number])
                rows = f"rows {first:,} to {first + shards[number]['rows'] - 1:,}"
                raise _damaged(folder, task, f"shard {number + 1} of {len(shards)} in {name}, {rows}, has changed")


def _checksum_of_manifest(manifest: Mapping[str, Any]) -> str:
    sums = {name: value for name, value in manifest["sha256"].items() if name != "manifest.json"}
    return hashlib.sha256(json.dumps({**manifest, "sha256": sums}, sort_keys=True).encode()).hexdigest()


def _damaged(folder: Path, task: str, reason: str) -> TokenCacheError:
    return TokenCacheError(f"{folder}: the token cache of task '{task}' is damaged ({reason}).")
