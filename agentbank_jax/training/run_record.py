"""What each start of a run was, and how it ended: `run.json`, and the goodput over all of them."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

import agentbank_jax
from agentbank_jax.training.goodput import KINDS, Goodput
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.run_files import OPERATIVE_CONFIG, RUN_RECORD
from agentbank_jax.whole_files import unwritten, whole_file

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain", "gin-config")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Earlier:
    """What the starts of a run before this one have done.

    Fields:
      starts: how many there were.
      seconds: what they spent, by kind (see `Goodput`); steps that have to be done again are `repeated`.
      tokens: that they have trained on, up to where the run goes on.
    """

    starts: int = 0
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tokens: int = 0

    def lines(self) -> list[str]:
        """For people; none where there were none."""
        if not self.seconds:
            return []
        total = self.seconds.get("total", 0.0)
        shares = {kind: self.seconds.get(kind, 0.0) / max(total, 1e-9) for kind in ("steps", "repeated", "start_up")}
        return [
            f"earlier starts: {self.starts}; of their {total:,.0f} s {shares['steps']:.1%} were steps that count, "
            f"{shares['repeated']:.1%} steps to be done again, {shares['start_up']:.1%} start-up"
        ]


class RunRecord:
    """The record of a run's starts; the first process keeps it.

    What a start was is written when it begins. How it ended is written when it ends, unless it was killed: then its
    last metrics say how far it came, and what it did after them is not known.
    """

    def __init__(self, model_dir: Path, step: int):
        """Reads what earlier starts have left, before a writer drops their metrics of the steps to be done again.

        Args:
          model_dir: folder of the run.
          step: steps done, from which it goes on.
        """
        self._file, self._step = model_dir / RUN_RECORD, step
        self._kept, self._damaged = _read(self._file)
        self.earlier = _earlier(self._kept["starts"], read_metrics(model_dir), step)

    def lines(self) -> list[str]:
        """What there is to tell of it, for people."""
        damaged = [f"{self._file} cannot be read, and is begun anew; what was there: {self._damaged}"]
        return [*(damaged if self._damaged else []), *self.earlier.lines()]

    @contextlib.contextmanager
    def start(self, goodput: Goodput, facts: Mapping[str, Any], operative_config: str | None = None) -> Iterator[None]:
        """Records a start, and at the end of the block how it ended.

        Args:
          goodput: goes on from that of the earlier starts.
          facts: what else to record, as JSON values, such as the mesh and the fingerprint of the data.
          operative_config: the resolved gin configuration; kept once for all starts that share it.

        Raises:
          AgentBankError: it cannot be written.
        """
        goodput.go_on(self.earlier.seconds)
        started = {**_surroundings(), **facts, "step": self._step, "earlier_seconds": dict(self.earlier.seconds)}
        if operative_config is not None:
            sha256 = hashlib.sha256(operative_config.encode()).hexdigest()
            started["configuration"] = {"file": OPERATIVE_CONFIG, "sha256": sha256}
            self._kept["configurations"][sha256] = operative_config
        self._kept["starts"].append(started)
        try:
            self._write()
        except OSError as error:
            raise unwritten(self._file, error.strerror) from None
        how = "finished"
        try:
            yield
        except BaseException as error:
            how = f"{type(error).__name__}: {error}"
            raise
        finally:
            started["end"] = {"time": _now(), "how": how, "seconds": goodput.seconds()}
            # What ended the start is what its user must read, not that this is missing too.
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        with whole_file(self._file) as path:
            path.write_text(json.dumps(self._kept, indent=1) + "\n", encoding="utf-8")


def _read(file: Path) -> tuple[dict[str, Any], Path | None]:
    """The record, and where a damaged one was put."""
    empty: dict[str, Any] = {"starts": [], "configurations": {}}
    if not file.is_file():
        return empty, None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        starts, configurations = kept["starts"], kept["configurations"]
        if all(isinstance(start, dict) for start in starts) and isinstance(configurations, dict):
            return {"starts": list(starts), "configurations": configurations}, None
    except (ValueError, TypeError, KeyError):
        pass
    damaged = file.with_name(f"{RUN_RECORD}.damaged")
    os.replace(file, damaged)
    return empty, damaged


def _earlier(starts: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, float]], step: int) -> Earlier:
    told = [record for record in records if "seconds/total" in record and "seconds/steps" in record]
    known: list[Mapping[str, float]] = [
        {kind: record.get(f"seconds/{kind}", 0.0) for kind in ("start_up", *KINDS, "steps", "total")}
        for record in told[-1:]
    ]
    for start in starts[-1:]:
        known += [start.get("earlier_seconds", {}), start.get("end", {}).get("seconds", {})]
    # All of them count from the first start on, so that the greatest is the latest.
    seconds: dict[str, float] = {}
    for each in known:
        seconds = max(seconds, dict(each), key=lambda spent: spent.get("total", 0.0))
    places = [0, *(record["step"] for record in told)]
    if seconds and step <= places[-1]:
        # Between two records the steps are taken to have been equally long.
        counted = float(np.interp(step, places, [0.0, *(record["seconds/steps"] for record in told)]))
        lost = max(0.0, seconds["steps"] - counted)
        seconds |= {"steps": seconds["steps"] - lost, "repeated": seconds.get("repeated", 0.0) + lost}
    return Earlier(starts=len(starts), seconds=seconds, tokens=_tokens(records, step))


def _tokens(records: Sequence[Mapping[str, float]], step: int) -> int:
    """Tokens of the first steps, from the records before; between and after them steps are taken to be alike."""
    told = [(record["step"], record["tokens"]) for record in records if "tokens" in record]
    if not told:
        return 0
    places, tokens = zip((0, 0), *told, strict=True)
    if step <= places[-1]:
        return round(float(np.interp(step, places, tokens)))
    return round(tokens[-1] * step / places[-1])


def _surroundings() -> dict[str, Any]:
    return {
        "time": _now(),
        "command": [sys.executable, *sys.argv],
        "folder": os.getcwd(),
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {"agentbank_jax": agentbank_jax.__version__, **{name: _version(name) for name in PACKAGES}},
        "git": _git(Path(agentbank_jax.__file__)),
        "processes": jax.process_count(),
        "platform": jax.default_backend(),
        "devices": dict(Counter(device.device_kind for device in jax.devices())),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(file: Path) -> dict[str, Any] | None:
    """Revision of the checkout that a file belongs to, and whether its tracked files differ; None where it is none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        # An environment inside somebody's checkout is not that checkout.
        git("ls-files", "--error-unmatch", file.name)
        return {
            "revision": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
