"""Several processes train as one does."""

from pathlib import Path

import numpy as np

from agentbank_jax.training.metrics import read_metrics
from tests.parallel.processes import free_port
from tests.training.made_runs import finish, start, start_all

STEPS = 50


def test_one_two_and_four_processes_have_the_same_losses_over_fifty_steps(tmp_path: Path) -> None:
    """At a learning rate of 0.01, each process with a device and its own rows of every batch."""
    losses = {}
    for count in (1, 2, 4):
        folder = tmp_path / str(count)
        ends = [finish(run, 240) for run in start_all(folder, 0, count, STEPS)]
        assert [status for status, _ in ends] == [0] * count, ends
        losses[count] = [record["loss"] for record in read_metrics(folder)]
    assert len(losses[1]) == STEPS and losses[1][-1] < losses[1][0]
    for count in (2, 4):
        np.testing.assert_allclose(losses[count], losses[1], rtol=2e-6)


def test_processes_with_other_settings_are_refused_and_the_difference_shown(tmp_path: Path) -> None:
    port = free_port()
    runs = [start(tmp_path / "run", 0, process, 2, port, steps=4 + process) for process in range(2)]
    for status, errors in map(finish, runs):
        assert status == 2, errors
        assert "error: Process 1 was started with other settings than process 0" in errors
        assert "  TrainConfig.steps: 4 on 0, 5 on 1\n" in errors
    assert not (tmp_path / "run" / "checkpoints").exists()
