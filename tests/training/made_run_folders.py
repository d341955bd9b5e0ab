"""Folders of runs that were never run."""

import json
from pathlib import Path


def make_run(folder: Path, losses, *, settings: str | None = None, extra: dict | None = None, every: int = 10) -> Path:
    """A run whose tokens and seconds are 100 and 2 a step."""
    folder.mkdir(parents=True)
    with (folder / "metrics.jsonl").open("w") as file:
        for index, loss in enumerate(losses, 1):
            step = every * index
            record = {"step": step, "loss": loss, "tokens": 100 * step, "seconds/total": 2 * step, **(extra or {})}
            file.write(json.dumps(record) + "\n")
    if settings is not None:
        (folder / "operative_config.gin").write_text(settings)
    return folder
