"""The files of a bank while it grows: shards with their records, a hidden folder, one last rename."""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.schema import Trajectory
from agentbank_jax.whole_files import replace_folder, whole_file

MANIFEST = "manifest.json"
DROPS = "drops.jsonl"
_RECORD = "build.json"


@dataclass
class Staged:
    """How far a build is: what a shard's record holds, so that a later call can go on from it."""

    shards: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0
    assistant_turns: int = 0
    next_candidate: int = 0
    fingerprints: set[str] = field(default_factory=set)
    drops: list[Drop] = field(default_factory=list)


def write_shard(
    staging: Path,
    name: str,
    kept: list[Trajectory],
    dropped: list[Drop],
    fingerprints: list[str],
    next_candidate: int,
    state: Staged,
) -> None:
    """Writes a shard, then its record: a shard without a record does not count."""
    write_parquet(staging / name, kept)
    turns = sum(trajectory.assistant_turns for trajectory in kept)
    shard = {"name": name, "rows": len(kept), "sha256": _hash_file(staging / name)}
    record = {
        "shard": shard,
        "assistant_turns": turns,
        "next_candidate": next_candidate,
        "fingerprints": fingerprints,
        "drops": [[drop.id, drop.reason, drop.detail] for drop in dropped],
    }
    _write_json(staging / f".{name}.json", record)
    _add_record(state, record)


def _add_record(state: Staged, record: dict[str, Any]) -> None:
    state.shards.append(record["shard"])
    state.rows += record["shard"]["rows"]
    state.assistant_turns += record["assistant_turns"]
    state.next_candidate = record["next_candidate"]
    state.fingerprints.update(record["fingerprints"])
    state.drops += [Drop(id=identifier, reason=reason, detail=detail) for identifier, reason, detail in record["drops"]]


def resume(staging: Path, parameters: dict[str, Any]) -> Staged:
    """Returns how far an earlier call with these parameters came, and prepares its folder."""
    state = Staged()
    if _read_json(staging / _RECORD) != parameters:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write_json(staging / _RECORD, parameters)
        return state
    for path in sorted(staging.glob(".train-*.json")):
        record = _read_json(path)
        if record is None or not _is_whole(staging, record["shard"]):
            break
        _add_record(state, record)
    return state


def finish(staging: Path, folder: Path, parameters: dict[str, Any], state: Staged) -> dict[str, Any]:
    """Writes drops and manifest, and puts the finished folder in its place."""
    manifest = {
        "parameters": parameters,
        "rows": state.rows,
        "assistant_turns": state.assistant_turns,
        "drops": dict(sorted(Counter(drop.reason for drop in state.drops).items())),
        "shards": state.shards,
    }
    lines = [json.dumps({"id": d.id, "reason": d.reason, "detail": d.detail}, ensure_ascii=False) for d in state.drops]
    (staging / DROPS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _write_json(staging / MANIFEST, manifest)
    whole = {shard["name"] for shard in state.shards} | {DROPS, MANIFEST}
    for path in staging.iterdir():
        # The record goes last: until then the same command can still go on from here.
        if path.name not in whole and path.name != _RECORD:
            path.unlink()
    (staging / _RECORD).unlink()
    replace_folder(staging, folder)
    return manifest


def finished_manifest(folder: Path, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the manifest of a finished bank with these parameters, or None."""
    manifest = _read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("parameters") != parameters:
        return None
    return manifest if all(_is_whole(folder, shard) for shard in manifest["shards"]) else None


def refuse_foreign(folder: Path) -> None:
    """Keeps a build from replacing data that it did not make, such as the released bank's."""
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise AgentBankError(
            f"{folder}: holds files that build_bank.py did not make; choose another --output or move them away."
        )


def _is_whole(folder: Path, shard: dict[str, Any]) -> bool:
    path = folder / shard["name"]
    return path.is_file() and _hash_file(path) == shard["sha256"]


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
