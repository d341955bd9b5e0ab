"""A bank and vocabulary of a few trajectories, and the flags of a run over them that takes seconds."""

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gin
import pytest

ROOT = Path(__file__).resolve().parents[1]

# The smallest model that has every part, on one family.
SMALL_MODEL = (
    "--gin.LlamaConfig.num_layers=1",
    "--gin.LlamaConfig.hidden_size=16",
    "--gin.LlamaConfig.intermediate_size=16",
    "--gin.LlamaConfig.num_heads=2",
)
SMALL_SWEEPS = (
    "--gin.starter_held_in/SweepConfig.tasks=['starter_math']",
    "--gin.SweepConfig.episodes_per_task=2",
    "--gin.SweepConfig.max_new_tokens=8",
)
SMALL_TRAINING = (
    *SMALL_MODEL,
    "--gin.TrainConfig.steps=2",
    "--gin.TrainConfig.batch_size=1",
    "--gin.RunConfig.sweeps=['starter_held_in']",
    *SMALL_SWEEPS,
)


def environment(data_dir: Path) -> dict[str, str]:
    """The environment variables of a program that works on the bank in `data_dir`, on CPU."""
    return {
        **os.environ,
        "AGENTBANK_DATA_DIR": str(data_dir),
        "AGENTBANK_COMPILATION_CACHE": str(data_dir / "compiled"),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }


def run_program(
    arguments: Sequence[str], *, data_dir: Path, cwd: Path, timeout: float = 300
) -> "subprocess.CompletedProcess[str]":
    """Runs a program of the repository, such as `train.py`, in the folder `cwd`."""
    program, *rest = arguments
    return subprocess.run(
        [sys.executable, str(ROOT / program), *rest],
        cwd=cwd,
        env=environment(data_dir),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


class Finished(NamedTuple):
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


class ProgramRunner:
    """Runs programs of the repository in this process, which spares the seconds of importing JAX."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, arguments: Sequence[str], *, data_dir: Path, cwd: Path) -> Finished:
        """Runs a program, such as `train.py`, as `run_program` does."""
        gin.clear_config()
        self._monkeypatch.chdir(cwd)
        for name in ("AGENTBANK_DATA_DIR", "AGENTBANK_COMPILATION_CACHE"):
            self._monkeypatch.setenv(name, environment(data_dir)[name])
        self._monkeypatch.setattr(sys, "argv", list(arguments))
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
        output = self._capfd.readouterr()
        status = ended.value.code
        return Finished(status if isinstance(status, int) else int(bool(status)), output.out, output.err)


def build_small_bank(data_dir: Path) -> None:
    """Builds all five starter families, five trajectories each, and their vocabulary."""
    for arguments in (
        ["scripts/build_bank.py", "--trajectories=25", "--workers=1"],
        ["scripts/train_vocabulary.py", "--vocab_size=600"],
    ):
        result = run_program(arguments, data_dir=data_dir, cwd=data_dir)
        assert result.returncode == 0, result.stderr
