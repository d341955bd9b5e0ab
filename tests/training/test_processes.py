"""Several processes train as one does."""

from pathlib import Path

import numpy as np

from agentbank_jax.training.metrics import read_metrics
from tests.training.made_runs import finish, start_all

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
