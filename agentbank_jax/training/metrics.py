"""The metrics of a run, in JSON lines and TensorBoard, behind one writer."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from agentbank_jax.whole_files import whole_file

FILE = "metrics.jsonl"


class MetricsWriter:
    """Writes scalars by step to `metrics.jsonl` and to TensorBoard's event files; a context manager."""

    def __init__(self, model_dir: str | os.PathLike, *, start_step: int = 0):
        """Opens the files of a run that (re)starts after `start_step` steps.

        What a killed run wrote beyond the checkpoint it resumes from is dropped, so that no step
        occurs twice.
        """
        from tensorboardX import SummaryWriter

        folder = Path(model_dir)
        self.path = folder / FILE
        keep_until(self.path, start_step)
        self._lines = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start_step + 1, flush_secs=10)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_) -> None:
        self._lines.close()
        self._board.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One record of named scalars, after `step` steps."""
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)


class SilentWriter:
    """Takes the metrics of a process that does not write them."""

    def __enter__(self) -> "SilentWriter":
        return self

    def __exit__(self, *_) -> None:
        pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""


def open_metrics(
    model_dir: str | os.PathLike, *, start_step: int = 0, silent: bool = False
) -> MetricsWriter | SilentWriter:
    """The writer of a run that (re)starts after `start_step` steps, or one that writes nothing."""
    return SilentWriter() if silent else MetricsWriter(model_dir, start_step=start_step)


def read_metrics(model_dir: str | os.PathLike) -> list[dict[str, float]]:
    """The records of `metrics.jsonl`, without lines that are none, such as a last one that was cut off."""
    path = Path(model_dir) / FILE
    if not path.is_file():
        return []
    records = map(_record, path.read_text(encoding="utf-8", errors="replace").split("\n"))
    return [record for record in records if record is not None]


def _record(line: str) -> dict[str, float] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def keep_until(path: Path, step: int) -> None:
    """Rewrites a metrics file with its records up to and including `step`."""
    if not path.is_file():
        return
    kept = [record for record in read_metrics(path.parent) if record["step"] <= step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
