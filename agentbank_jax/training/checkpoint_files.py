"""The files of a checkpoint, and how Orbax reads them; a damaged one is set aside.

model_dir/checkpoints/<step>/   state (step, params, opt_state), data (step, fingerprint), metadata
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.models.fingerprint import fingerprint
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.sharding import path_name

FOLDER = "checkpoints"
FORMAT = 2

logger = logging.getLogger(__name__)


def orbax_v1():
    # Imported where used: it takes a second, and many callers of this package never touch a checkpoint.
    from orbax.checkpoint import v1

    # What it logs of an error, tracebacks of all its threads, it raises too.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return v1


class DamageError(Exception):
    """What was read is not what was saved."""


def read_metadata(path: Path) -> dict[str, Any]:
    """What `Checkpoints` saved beside the arrays of one step.

    Raises:
      DamageError: it has changed since.
      AgentBankError: another version of this project wrote it.
    """
    metadata = orbax_v1().checkpointables_metadata(path).custom_metadata
    if metadata.get("format", FORMAT) != FORMAT:
        raise AgentBankError(
            f"{path} has format {metadata['format']}, and this version of agentbank_jax reads {FORMAT}: use the "
            "version that wrote it, or another folder."
        )
    if metadata.get("seal") != _seal(metadata):
        raise DamageError("its metadata have changed")
    return metadata


def sealed_metadata(metadata: dict[str, Any], data: dict[str, Any], **arrays: Any) -> dict[str, Any]:
    """Metadata by which damage is found later, to themselves, to the data's position and to arrays.

    Args:
      metadata: JSON values.
      data: JSON values that are saved beside them.
      **arrays: trees of arrays by name; a fingerprint of each is taken, on their devices.
    """
    found = {
        **metadata,
        "data": data,
        "fingerprints": {name: fingerprint(tree) for name, tree in arrays.items()},
    }
    return {**found, "seal": _seal(found)}


def check_arrays(metadata: dict[str, Any], **arrays: Any) -> None:
    """Compares arrays with those that were saved.

    Raises:
      DamageError: one has changed since.
    """
    for name, tree in arrays.items():
        if fingerprint(tree) != metadata["fingerprints"][name]:
            raise DamageError(f"the values of its {name} have changed since they were saved")


def _seal(metadata: dict[str, Any]) -> str:
    told = {name: value for name, value in metadata.items() if name != "seal"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def saved_model_config(metadata: dict[str, Any]) -> LlamaConfig:
    known = {field.name for field in fields(LlamaConfig)}
    saved = metadata["model_config"]
    if unknown := sorted(saved.keys() - known):
        raise AgentBankError(
            f"The checkpoint's model has {', '.join(unknown)}, which this version does not know: "
            "it was written by a newer version of agentbank_jax."
        )
    return LlamaConfig(**{**saved, "lora": LoraConfig(**saved["lora"]) if saved.get("lora") else None})


def load_arrays(v1, path: Path, abstract: dict[str, Any]) -> dict[str, Any]:
    # When an array cannot be read, each of the others would be reported with a traceback.
    quiet = logging.getLogger("asyncio")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sharding info not provided")
            return v1.load_checkpointables(path, abstract)
    finally:
        quiet.setLevel(level)


def array_names(tree: Any) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def array_differences(path: Path, wanted: Any) -> list[str]:
    """Lines of the arrays of a step's state that are of another type or shape than wanted; values are not read."""
    # What cannot be read is not different: reading the values will tell of it.
    with contextlib.suppress(Exception):
        saved = _array_types(orbax_v1().checkpointables_metadata(path).metadata["state"])
        return [
            f"  {name}: {saved[name]} in the checkpoint, {now} now"
            for name, now in _array_types(wanted).items()
            if saved[name] != now
        ]
    return []


def _array_types(tree: Any) -> dict[str, str]:
    return {path_name(path): f"{leaf.dtype}{[*leaf.shape]}" for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def is_complete(path: Path) -> bool:
    try:
        return bool(read_metadata(path))
    except AgentBankError:
        raise
    except Exception:  # Orbax raises many kinds, for what is all one here: it is not complete.
        return False


def step_folders(directory: Path) -> list[Path]:
    """Folders named by a step, latest first."""
    if not directory.is_dir():
        return []
    return sorted((p for p in directory.iterdir() if p.name.isdigit()), key=lambda p: int(p.name), reverse=True)


def set_aside_damaged(directory: Path) -> None:
    for path in step_folders(directory):
        if not is_complete(path):
            set_aside(path, "it is half-written, or its metadata cannot be read")


def set_aside(path: Path, reason: str) -> None:
    """Renames a damaged checkpoint, so that the run can take that step's place again."""
    aside = path.with_name(path.name + ".damaged")
    logger.warning("Passed over the damaged checkpoint %s, now %s: %s", path, aside.name, reason)
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def reason_of(error: Exception) -> str:
    """What the error says that is at the root of one of Orbax's."""
    error = _root(error)
    if (code := _system_code(error)) is not None:
        return os.strerror(code)
    return first_line(error)[:200]


def is_of_the_reader(error: Exception) -> bool:
    """Whether an error of reading tells of the process, its memory, files or rights, and not of what it read."""
    error = _root(error)
    # What XLA says when a device is full, as where another process still holds it.
    full = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
    return full or _system_code(error) in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM)


def _root(error: Exception) -> Exception:
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _system_code(error: Exception) -> int | None:
    # TensorStore says much before it comes to what the system said.
    if code := re.search(r"os_error_code='(\d+)'", str(error)):
        return int(code[1])
    return error.errno if isinstance(error, OSError) else None
