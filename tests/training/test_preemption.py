"""A run that is asked to stop saves, says how it ends, and ends as if nothing had been when it goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from agentbank_jax.errors import Stopped
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.checkpoint_files import FOLDER
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.loop import TrainResult, train
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.training.trained_models import load_for_inference
from tests.parallel.processes import process_environment
from tests.training.made_batches import MadeBatches
from tests.training.made_runs import finish, start, start_all, wait_for_step
from tests.training.run_made import CONFIG


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preemption") / "whole"
    status, errors = finish(start(folder, 0))
    assert status == 0, errors
    return folder


def assert_same(folder: Path, whole: Path) -> None:
    expected, got = (load_for_inference(name)[1] for name in (whole, folder))
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    losses = [[(record["step"], record["loss"]) for record in read_metrics(name)] for name in (whole, folder)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_the_step_under_way_and_the_same_command_goes_on(
    whole: Path, number: signal.Signals, status: int
) -> None:
    folder = whole.parent / number.name
    run = start(folder, 0.2)
    wait_for_step(folder, 6, run)
    run.send_signal(number)
    began = time.monotonic()
    got, errors = finish(run, 30)
    assert got == status and f"stopped: {number.name} after step" in errors, errors
    assert time.monotonic() - began < 20
    saved = max(int(path.name) for path in (folder / FOLDER).iterdir() if path.name.isdigit())
    assert saved > 5 and saved % 5, "saved when it was asked to, not at a step that was due"
    status, errors = finish(start(folder, 0))
    assert status == 0 and f"goes on after step {saved}" in errors, errors
    assert_same(folder, whole)


def _train(folder: Path) -> TrainResult:
    config = TrainConfig(steps=2, compilation_cache="")
    mesh, batches = MeshConfig(data=-1, fsdp=1), MadeBatches(CONFIG.vocab_size)
    return train(CONFIG, config, OptimizerConfig(), mesh, batches, folder, facts={})


def test_a_signal_while_the_last_checkpoint_is_written_ends_the_run_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Checkpoints.__exit__

    def preempted(*arguments):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL, "it would be lost"
        signal.raise_signal(signal.SIGTERM)
        close(*arguments)

    monkeypatch.setattr(Checkpoints, "__exit__", preempted)
    with pytest.raises(Stopped, match="SIGTERM after step 2, which is saved") as raised:
        _train(tmp_path)
    assert raised.value.status == 75
    monkeypatch.undo()
    assert _train(tmp_path).tokens == 0, "it had nothing left to do"


def test_sigterm_ends_a_program_beside_its_steps_with_the_status_on_which_launchers_start_it_again() -> None:
    code = """
import signal
from agentbank_jax.commands import train
from agentbank_jax.configuration.command_line import CommandLine
train.read_gin = lambda _: signal.raise_signal(signal.SIGTERM)
train.train(CommandLine(gin_files=()), 0.0)
"""
    ended = subprocess.run([sys.executable, "-c", code], env=process_environment(), capture_output=True, text=True)
    assert ended.returncode == 75, ended.stderr
    assert ended.stderr == "stopped: SIGTERM; the same command goes on where it was.\n"


def test_where_one_of_two_processes_is_killed_the_other_says_so_and_blames_neither_the_disk_nor_itself(
    tmp_path: Path,
) -> None:
    runs = start_all(tmp_path / "run", 0.1, 2)
    # A checkpoint is due at the step after.
    wait_for_step(tmp_path / "run", 4, runs[0])
    runs[1].kill()
    status, errors = finish(runs[0], 60)
    finish(runs[1])
    assert status == 69 and "stopped: another process of the run is gone" in errors, errors


@pytest.mark.parametrize("then", [1, 2])
def test_a_signal_to_one_of_two_processes_stops_both_and_one_or_two_go_on(whole: Path, then: int) -> None:
    folder = whole.parent / f"two_then_{then}"
    runs = start_all(folder, 0.2, 2)
    wait_for_step(folder, 6, runs[0])
    runs[1].send_signal(signal.SIGTERM)
    ends = [finish(run, 60) for run in runs]
    assert [status for status, _ in ends] == [75, 75], ends
    told = {errors.split("stopped: ")[1].split(",")[0] for _, errors in ends}
    assert len(told) == 1, told
    ends = [finish(run) for run in start_all(folder, 0, then)]
    assert [status for status, _ in ends] == [0] * then, ends
    losses = [[record["loss"] for record in read_metrics(name)] for name in (whole, folder)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-6)
