"""Several runs beside each other: their metrics, their last values, and the settings in which they differ."""

import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.places import is_remote
from agentbank_jax.presentation.printable import printable
from agentbank_jax.presentation.table import Table
from agentbank_jax.training.metrics import FILE, read_metrics
from agentbank_jax.training.run_files import OPERATIVE_CONFIG, RUN_RECORD

AXES = {"step": "step", "tokens": "tokens", "seconds": "seconds/total"}
"""What curves may go by, and the metric that tells it."""

MISSING = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a comparison.

    Fields:
      name: shown; no two runs of a comparison share one.
      records: of its metrics, at least one.
      settings: of its operative configuration, as texts; None where they are not known.
      starts: of its record, the last one last; empty where it has none.
    """

    name: str
    records: Sequence[Mapping[str, float]]
    settings: Mapping[str, str] | None = None
    starts: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of its metrics, in the order in which they first occur."""
        return tuple(self._series)

    @cached_property
    def _series(self) -> dict[str, tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]]:
        told: dict[str, list[tuple[float, float]]] = {}
        for record in self.records:
            for name, value in record.items():
                if name != "step":
                    places = told.setdefault(name, [])
                    if math.isfinite(value):
                        places.append((record["step"], value))
        columns = {name: np.array(places, float).reshape(-1, 2).T for name, places in told.items()}
        return {name: (steps, values) for name, (steps, values) in columns.items()}

    def values(self, metric: str) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Steps and values of a metric, where it is finite."""
        return self._series.get(metric, (np.empty(0), np.empty(0)))

    def places(self, steps: Float[np.ndarray, " n"], axis: str) -> Float[np.ndarray, " n"] | None:
        """Where steps lie on one of `AXES`, evenly between two records; None where the run does not tell."""
        if axis == "step":
            return steps
        told, places = self.values(AXES[axis])
        return np.interp(steps, [0.0, *told], [0.0, *places]) if told.size else None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs beside each other, at least one."""

    runs: tuple[Run, ...]

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Those that runs share: at least two of them, where there are two; losses first."""
        counts = Counter(name for run in self.runs for name in run.metrics)
        shared = [name for name, count in counts.items() if count >= min(2, len(self.runs))]
        return tuple(sorted(shared, key=lambda name: "loss" not in name))

    def tables(self) -> list[Table]:
        """The runs, the last values of their metrics, and their differing settings."""
        return [self._runs(), self._last_values(), *self._settings()]

    def _runs(self) -> Table:
        rows = []
        for run in self.runs:
            start: Mapping[str, Any] = run.starts[-1] if run.starts else {}
            devices = ", ".join(f"{count} x {kind}" for kind, count in start.get("devices", {}).items())
            git = start.get("git") or {}
            revision = git.get("revision", "")[:12] + (" (changed)" if git.get("dirty") else "")
            ended = start.get("end", {}).get("how", "") or ("runs, or was killed" if start else "")
            cells = [devices, revision, ended, str(len(run.starts) or ""), f"{run.records[-1]['step']:,}"]
            rows.append((run.name, *(printable(cell) or MISSING for cell in cells)))
        columns = ("run", "devices", "revision", "last start ended", "starts", "last step")
        return Table(title="Runs", columns=columns, rows=tuple(rows), text_columns=4)

    def _last_values(self) -> Table:
        rows = tuple((printable(metric), *(_last(run, metric) for run in self.runs)) for metric in self.metrics)
        others = sorted({name for run in self.runs for name in run.metrics} - set(self.metrics))
        notes = (f"of one run alone: {printable(', '.join(others))}",) if others else ()
        return Table(title="Last values", columns=("metric", *self._names()), rows=rows, text_columns=1, notes=notes)

    def _settings(self) -> list[Table]:
        known = {name for run in self.runs for name in run.settings or ()}
        rows = []
        for name in sorted(known):
            values = [(run.settings or {}).get(name, MISSING) for run in self.runs]
            if len({run.settings.get(name) for run in self.runs if run.settings is not None}) > 1:
                rows.append((printable(name), *map(printable, values)))
        unknown = ", ".join(run.name for run in self.runs if run.settings is None)
        notes = [f"not known of {unknown}: {OPERATIVE_CONFIG} is missing or damaged"] if unknown else []
        if not rows and len(self.runs) > 1:
            notes.append("no setting differs")
        if not rows and not notes:
            return []
        columns = ("setting", *self._names())
        return [
            Table(
                title="Settings in which they differ",
                columns=columns,
                rows=tuple(rows),
                text_columns=len(columns),
                notes=tuple(notes),
            )
        ]

    def _names(self) -> tuple[str, ...]:
        return tuple(run.name for run in self.runs)


def compare(folders: Sequence[str], read_settings: Callable[[str], Mapping[str, str]]) -> Comparison:
    """Reads runs.

    Args:
      folders: of the runs.
      read_settings: gives the settings that the text of an operative configuration holds.

    Raises:
      AgentBankError: one is not there, is none of a run, has no metrics yet, or is named twice.
    """
    paths = [_checked(name) for name in folders]
    for path, count in Counter(path.resolve() for path in paths).items():
        if count > 1:
            raise AgentBankError(f"{path}: named {count} times; name each run once.")
    return Comparison(
        runs=tuple(
            Run(name=name, records=_records(path), settings=_read_settings(path, read_settings), starts=_starts(path))
            for name, path in zip(_names(paths), paths, strict=True)
        )
    )


def _checked(name: str) -> Path:
    if is_remote(name):
        raise AgentBankError(f"{name}: only local folders are read; copy {FILE} and {OPERATIVE_CONFIG} to one first.")
    path = Path(name).expanduser()
    if not path.is_dir():
        raise AgentBankError(f"{name}: no such run.{did_you_mean(name, map(str, _runs_in(path.parent)))}")
    if not (path / FILE).exists() and (inside := _runs_in(path)):
        raise AgentBankError(f"{name}: holds runs, and is none; expected one or more of them: {inside[0]}, …")
    return path


def _runs_in(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.glob(f"*/{FILE}"))


def _records(path: Path) -> list[dict[str, float]]:
    records = read_metrics(path)
    if not records:
        raise AgentBankError(
            f"{path}: no metrics yet; a run writes its first record to {FILE} after TrainConfig.log_every steps."
        )
    # `evaluate.py --watch` has written the others.
    beside = [record for folder in sorted(path.glob("evaluation-*")) for record in read_metrics(folder)]
    return sorted([*records, *beside], key=lambda record: record["step"])


def _read_settings(path: Path, read: Callable[[str], Mapping[str, str]]) -> Mapping[str, str] | None:
    try:
        return read((path / OPERATIVE_CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, AgentBankError):
        return None


def _starts(path: Path) -> list[Mapping[str, Any]]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        starts = json.loads((path / RUN_RECORD).read_text(encoding="utf-8"))["starts"]
        return [start for start in starts if isinstance(start, dict)]
    return []


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = [printable("/".join(part[-length:])) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(names, 1)]


def _last(run: Run, metric: str) -> str:
    _, values = run.values(metric)
    if not values.size:
        return MISSING
    value = float(values[-1])
    return f"{value:,.0f}" if abs(value) >= 10_000 or value == math.floor(value) else f"{value:.4g}"
