"""The files of a bank while it grows: chunks, shards with their records, a hidden folder, one last rename."""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import read_trajectories, write_parquet
from agentbank_jax.trajectories.schema import Trajectory
from agentbank_jax.whole_files import whole_file, whole_folder

MANIFEST = "manifest.json"
DROPS = "drops.jsonl"

_RECORD = "build.json"
_CHUNKS = "chunks"


class Staging:
    """How far a build is, and its hidden folder.

    Attributes:
      shards: rows and SHA-256 of each, under the name that it has here.
      rows: trajectories in them.
      next_candidate: the first that no shard has seen.
      fingerprints: of the candidates that shards, or the build, have seen.
      drops: of those in shards.
      chunks: the folder of the chunks.
    """

    def __init__(self, folder: Path, parameters: dict[str, Any]) -> None:
        """Goes on from what an earlier build with these parameters has left; what other parameters left is deleted."""
        self._folder, self._parameters = folder, parameters
        self._path = _path_of(folder)
        self.chunks = self._path / _CHUNKS
        self.shards: list[dict[str, Any]] = []
        self.rows = 0
        self.next_candidate = 0
        self.fingerprints: set[str] = set()
        self.drops: list[Drop] = []
        self._assistant_turns = 0
        self._difficulty: dict[str, Counter[int]] = {"source": Counter(), "kept": Counter()}
        if read_json(self._path / _RECORD) != parameters:
            shutil.rmtree(self._path, ignore_errors=True)
            self.chunks.mkdir(parents=True)
            _write_json(self._path / _RECORD, parameters)
        for path in sorted(self._path.glob(".part-*.json")):
            record = read_json(path)
            if record is None or not _is_whole(self._path, record["shard"]):
                break
            self._add(record)
        self._clear_chunks()

    def write_shard(
        self, kept: Sequence[Trajectory], dropped: Sequence[Drop], seen: Sequence[tuple[str, int]], next_candidate: int
    ) -> None:
        """Writes a shard, then its record: a shard without a record does not count.

        Args:
          kept: its trajectories.
          dropped: of the candidates between them.
          seen: fingerprint and difficulty of those candidates that repeat no earlier one.
          next_candidate: the first that the next shard sees.
        """
        shard = self._write(f"part-{len(self.shards):05d}.parquet", kept)
        record = {
            "shard": shard,
            "assistant_turns": _turns(kept),
            "kept_difficulty": _difficulties(kept),
            "next_candidate": next_candidate,
            "seen": [list(each) for each in seen],
            "drops": [[drop.id, drop.reason, drop.detail] for drop in dropped],
        }
        _write_json(self._path / f".{shard['name']}.json", record)
        self._add(record)
        self._clear_chunks()

    def read(self, task: str) -> list[Trajectory]:
        """The trajectories of all shards."""
        return list(read_trajectories([self._path / shard["name"] for shard in self.shards], task))

    def replace(self, kept: Sequence[Trajectory], dropped: Sequence[Drop], shard_rows: int) -> None:
        """Puts fewer trajectories in the place of all shards. A build that is killed from now on repeats this alone."""
        self.shards, self.rows = [], 0
        for number, start in enumerate(range(0, max(1, len(kept)), shard_rows)):
            shard = self._write(f"compared-{number:05d}.parquet", kept[start : start + shard_rows])
            self.shards.append(shard)
            self.rows += shard["rows"]
        self._assistant_turns = _turns(kept)
        self._difficulty["kept"] = Counter(dict(_difficulties(kept)))
        self.drops += dropped

    def finish(self) -> dict[str, Any]:
        """Puts a folder with shards, drops and manifest in the final one's place; returns the manifest."""
        shards = [
            {**shard, "name": f"train-{number:05d}-of-{len(self.shards):05d}.parquet"}
            for number, shard in enumerate(self.shards)
        ]
        manifest = {
            "parameters": self._parameters,
            "rows": self.rows,
            "assistant_turns": self._assistant_turns,
            "drops": dict(sorted(Counter(drop.reason for drop in self.drops).items())),
            "difficulty": {
                name: [[level, count] for level, count in sorted(counts.items())]
                for name, counts in self._difficulty.items()
            },
            "shards": shards,
        }
        lines = [
            json.dumps({"id": drop.id, "reason": drop.reason, "detail": drop.detail}, ensure_ascii=False)
            for drop in self.drops
        ]
        with whole_folder(self._folder) as whole:
            for shard, final in zip(self.shards, shards, strict=True):
                _link(self._path / shard["name"], whole / final["name"])
            (whole / DROPS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            _write_json(whole / MANIFEST, manifest)
        shutil.rmtree(self._path)
        return manifest

    def _write(self, name: str, kept: Sequence[Trajectory]) -> dict[str, Any]:
        """Writes trajectories, and returns what is said of their file."""
        write_parquet(self._path / name, kept)
        return {"name": name, "rows": len(kept), "sha256": hash_file(self._path / name)}

    def _add(self, record: dict[str, Any]) -> None:
        self.shards.append(record["shard"])
        self.rows += record["shard"]["rows"]
        self._assistant_turns += record["assistant_turns"]
        self.next_candidate = record["next_candidate"]
        self.fingerprints.update(fingerprint for fingerprint, _ in record["seen"])
        self._difficulty["source"].update(difficulty for _, difficulty in record["seen"])
        self._difficulty["kept"].update(dict(record["kept_difficulty"]))
        self.drops += [
            Drop(id=identifier, reason=reason, detail=detail) for identifier, reason, detail in record["drops"]
        ]

    def _clear_chunks(self) -> None:
        """Deletes the chunks whose candidates all are in shards."""
        for path in self.chunks.glob("chunk-*.jsonl"):
            if int(path.stem.rpartition("-")[2]) <= self.next_candidate:
                path.unlink()


def finished_manifest(folder: Path, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the manifest of a finished bank with these parameters, or None."""
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("parameters") != parameters or not (folder / DROPS).is_file():
        return None
    return manifest if not damaged_shards(folder, manifest) else None


def damaged_shards(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Names of the shards that are not there, or not as a finished bank's manifest says."""
    return [shard["name"] for shard in manifest["shards"] if not _is_whole(folder, shard)]


def built_tasks(bank: Path) -> dict[str, dict[str, Any] | None]:
    """The manifest of each task that a bank holds, by its folder's name; None of one that cannot be read.

    Folders with a `manifest.json` of another kind are passed over.
    """
    found = {path.parent.name: read_json(path) for path in sorted(bank.glob(f"[!.]*/{MANIFEST}"))}
    keys = {"parameters", "rows", "shards"}
    return {
        name: each for name, each in found.items() if each is None or (isinstance(each, dict) and keys <= each.keys())
    }


def discard(folder: Path) -> None:
    """Deletes what a build that was killed at its very end has left."""
    shutil.rmtree(_path_of(folder), ignore_errors=True)


def refuse_foreign(folder: Path) -> None:
    """Keeps a build from replacing data that it did not make, such as the released bank's."""
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise AgentBankError(
            f"{folder}: holds files that build_bank.py did not make; choose another --output or move them away."
        )


def hash_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """What a file of JSON holds; None where it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _path_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.building")


def _turns(trajectories: Sequence[Trajectory]) -> int:
    return sum(trajectory.assistant_turns for trajectory in trajectories)


def _difficulties(trajectories: Sequence[Trajectory]) -> list[tuple[int, int]]:
    found = Counter(trajectory.metadata.get("difficulty", 1) for trajectory in trajectories)
    return sorted(found.items())


def _link(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it where the file system knows no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _is_whole(folder: Path, shard: dict[str, Any]) -> bool:
    path = folder / shard["name"]
    return path.is_file() and hash_file(path) == shard["sha256"]


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
