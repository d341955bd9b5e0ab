"""The safetensors files of a Hugging Face checkpoint, and what is in them; only headers are read here."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from agentbank_jax.errors import AgentBankError

SINGLE_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor as it lies in a file: `dtype` is the file's name for it, such as `BF16`."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


@contextmanager
def open_shard(file: Path) -> Iterator[Any]:
    """Opens a file for reading, without mapping it: what was read of a mapped file would count as memory in use.

    Raises:
      AgentBankError: where it is no whole safetensors file.
    """
    try:
        # safetensors would say of a file that may not be read that there is none.
        file.open("rb").close()
    except OSError as error:
        raise AgentBankError(f"{file}: cannot be read ({error.strerror}); expected a file that can.") from None
    try:
        opened = safe_open(os.fspath(file), framework="numpy", backend="pread")
    except (SafetensorError, OSError) as error:
        raise AgentBankError(f"{file}: no whole safetensors file ({error}); download it again.") from None
    with opened:
        yield opened


def read_headers(folder: Path) -> dict[str, StoredTensor]:
    """Returns every tensor of a checkpoint by its name.

    Raises:
      AgentBankError: where files are missing, cut short, or hold a tensor twice.
    """
    found: dict[str, StoredTensor] = {}
    for file in _shards(folder):
        with open_shard(file) as opened:
            for name in opened.keys():  # noqa: SIM118 (it is no dict)
                if name in found:
                    raise AgentBankError(f"{file}: the tensor {name} is in {found[name].file.name} too; expected one.")
                tensor = opened.get_slice(name)
                found[name] = StoredTensor(file=file, shape=tuple(tensor.get_shape()), dtype=tensor.get_dtype())
    return found


def _shards(folder: Path) -> list[Path]:
    """The files, in the order of their names."""
    index = folder / INDEX_FILE
    if index.is_file():
        names = _indexed(index)
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise AgentBankError(
                f"{folder}: {len(missing)} of {len(names)} shards are missing ({', '.join(missing[:5])}"
                f"{', …' if len(missing) > 5 else ''}); download them again."
            )
        return [folder / name for name in names]
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    if parts := sorted(folder.glob("model-*-of-*.safetensors")):
        raise AgentBankError(f"{folder}: holds {parts[0].name} but no {INDEX_FILE}; download that file too.")
    if pickled := sorted(folder.glob("pytorch_model*.bin")):
        raise AgentBankError(
            f"{folder}: holds {pickled[0].name}, a pickle, which could run any program and is not read; expected "
            "*.safetensors: most repositories have them beside it, and where not, transformers writes them: "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)."
        )
    raise AgentBankError(f"{folder}: no weights; expected {SINGLE_FILE}, or shards with {INDEX_FILE}.")


def _indexed(index: Path) -> list[str]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted({str(name) for name in names})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        names = []
    if not names or any(Path(name).name != name for name in names):
        raise AgentBankError(f'{index}: expected {{"weight_map": {{tensor: file in the same folder}}}}.')
    return names
