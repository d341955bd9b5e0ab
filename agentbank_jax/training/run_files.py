"""What lies in a run's folder beside its checkpoints and metrics."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentbank_jax.trajectories.tokenizers.files import copied_files
from agentbank_jax.whole_files import unwritten, whole_file

OPERATIVE_CONFIG = "operative_config.gin"
RUN_RECORD = "run.json"

GO_ON = "mend the folder; the same command goes on from the last whole checkpoint"
"""The remedy, beside making room, where a run cannot write what it has to."""


def write_run_files(
    folder: Path,
    manifest: Mapping[str, Any] | None,
    operative_config: str | None,
    tokenizer_path: str | os.PathLike | None,
) -> None:
    """Writes what lies beside the checkpoints of a run."""
    try:
        if manifest is not None:
            with whole_file(folder / "manifest.json") as path:
                path.write_text(json.dumps(manifest), encoding="utf-8")
        if operative_config is not None:
            with whole_file(folder / OPERATIVE_CONFIG) as path:
                path.write_text(operative_config, encoding="utf-8")
        if tokenizer_path is not None:
            for name, file in copied_files(tokenizer_path).items():
                with whole_file(folder / name) as path:
                    shutil.copyfile(file, path)
    except OSError as error:
        raise unwritten(folder, error.strerror) from None


def changed_settings(folder: Path, operative_config: str | None) -> list[str]:
    """Lines of the settings now that the run had otherwise, or not at all, when it was last started."""
    file = folder / OPERATIVE_CONFIG
    if operative_config is None or not file.is_file():
        return []
    before = set(file.read_text(encoding="utf-8", errors="replace").split("\n"))
    return [line for line in operative_config.split("\n") if line.strip() and line not in before]
