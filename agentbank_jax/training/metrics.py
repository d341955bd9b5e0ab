"""The metrics of a run, in JSON lines, TensorBoard and Weights & Biases, behind one writer."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError, Stopped
from agentbank_jax.training.run_files import GO_ON
from agentbank_jax.training.wandb_run import WandbRun
from agentbank_jax.whole_files import unwritten, whole_file

FILE = "metrics.jsonl"


class MetricsWriter:
    """Writes scalars by step to `metrics.jsonl`, to TensorBoard's event files and, where asked, to Weights & Biases.

    A context manager. A value that is not finite is `null` in the JSON lines, which have no other word for it.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike,
        *,
        start_step: int = 0,
        wandb_project: str = "",
        settings: Mapping[str, Any] | None = None,
    ):
        """Opens the files of a run that (re)starts after `start_step` steps.

        What a killed run wrote beyond the checkpoint it resumes from is dropped, so that no step
        occurs twice.

        Args:
          model_dir: folder of the run.
          start_step: steps done.
          wandb_project: the project of Weights & Biases that gets them too; "" none.
          settings: of the run, as JSON values, for Weights & Biases.

        Raises:
          AgentBankError: a file cannot be written, or Weights & Biases refuses the run.
        """
        folder = Path(model_dir)
        self.path = folder / FILE
        try:
            keep_until(self.path, start_step)
            self._lines = self.path.open("a", encoding="utf-8")
            self._board = _Board(folder / "tensorboard", start_step)
        except OSError as error:
            raise self._unwritten(error) from None
        self._wandb = WandbRun(folder, wandb_project, settings or {}) if wandb_project else None

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_) -> None:
        for file in (self._lines, self._board):
            try:
                file.close()
            except OSError as error:
                if kind is None:
                    raise self._unwritten(error) from None
        if self._wandb:
            self._wandb.finish(failed=kind is not None, preempted=kind is not None and issubclass(kind, Stopped))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One record of named scalars, after `step` steps.

        Raises:
          AgentBankError: it cannot be written.
        """
        named = {name if "/" in name else f"train/{name}": value for name, value in values.items()}
        try:
            self._lines.write(_line({"step": step, **values}))
            self._lines.flush()
            self._board.write(step, named)
        except OSError as error:
            raise self._unwritten(error) from None
        if self._wandb:
            self._wandb.write(step, named)

    def _unwritten(self, error: OSError) -> AgentBankError:
        return unwritten(f"The metrics in {self.path.parent}", error.strerror, GO_ON)


class _Board:
    """One event file of TensorBoard, written in the caller's thread.

    `SummaryWriter` writes in a thread of its own, whose end on a full disk would leave the run waiting for ever.
    """

    _FLUSH_SECONDS = 10.0

    def __init__(self, folder: Path, start_step: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # The library's own name has the second alone, and two starts within one would share a file.
        self._events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._flushed = time.monotonic()
        # TensorBoard then passes over what an earlier start wrote of the steps from here on.
        begin = Event(wall_time=time.time(), step=start_step + 1, session_log=SessionLog(status=SessionLog.START))
        self._events.write_event(begin)
        self._events.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        if time.monotonic() - self._flushed > self._FLUSH_SECONDS:
            self._events.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._events.close()


class SilentWriter:
    """Takes the metrics of a process that does not write them."""

    def __enter__(self) -> "SilentWriter":
        return self

    def __exit__(self, *_) -> None:
        pass

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""


def open_metrics(
    model_dir: str | os.PathLike, *, silent: bool = False, start_step: int = 0, **options: Any
) -> MetricsWriter | SilentWriter:
    """The writer of a run (see `MetricsWriter`), or one that writes nothing."""
    return SilentWriter() if silent else MetricsWriter(model_dir, start_step=start_step, **options)


def read_metrics(model_dir: str | os.PathLike) -> list[dict[str, float]]:
    """The records of `metrics.jsonl`, without lines that are none, such as a last one that was cut off.

    A value that was not finite is NaN.
    """
    path = Path(model_dir) / FILE
    if not path.is_file():
        return []
    records = map(_record, path.read_text(encoding="utf-8", errors="replace").split("\n"))
    return [record for record in records if record is not None]


def _line(record: Mapping[str, float]) -> str:
    finite = {name: value if math.isfinite(value) else None for name, value in record.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


def _record(line: str) -> dict[str, float] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("step"), int):
        return None
    record = {name: math.nan if value is None else value for name, value in record.items()}
    return record if all(isinstance(value, int | float) for value in record.values()) else None


def keep_until(path: Path, step: int) -> None:
    """Rewrites a metrics file with its records up to and including `step`."""
    if not path.is_file():
        return
    kept = [record for record in read_metrics(path.parent) if record["step"] <= step]
    with whole_file(path) as temporary:
        temporary.write_text("".join(map(_line, kept)), encoding="utf-8")
