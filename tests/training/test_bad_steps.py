"""Steps that are not finite are passed over and end a run when there are too many; a spike takes the run back."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.bad_steps import SPIKE_WINDOW, BadSteps
from agentbank_jax.training.loop import TrainResult, train
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.state import make_init
from agentbank_jax.training.step import make_train_step
from agentbank_jax.training.train_config import TrainConfig
from tests.training.made_batches import MadeBatches
from tests.training.run_made import CONFIG


class SpoiledBatches(MadeBatches):
    """Some batches have weights that are not finite, or a target that never was one; some are left out."""

    def __init__(self, bad=(), surprising=(), left_out=(), **settings):
        super().__init__(CONFIG.vocab_size, **settings)
        self.bad, self.surprising, self.left_out = set(bad), set(surprising), set(left_out)

    def batch_at(self, step):
        batch = super().batch_at(step)
        if step in self.bad:
            batch["loss_weights"][0, -8:] = np.inf
        if step in self.surprising:
            batch["targets"] = np.zeros_like(batch["targets"])
        return batch

    def iterator(self, start_step=0):
        numbers = (number for number in range(10**6) if number not in self.left_out)
        for number, step in enumerate(numbers):
            if number >= start_step:
                yield self.batch_at(step)


def run(folder: Path, batches: MadeBatches, **settings) -> TrainResult:
    return train(
        CONFIG,
        TrainConfig(**{"log_every": 1, "checkpoint_every": 4, "compilation_cache": "", **settings}),
        OptimizerConfig(learning_rate=3e-2, schedule="constant"),
        MeshConfig(),
        batches,
        folder,
        facts={"template": "made"},
    )


def test_a_step_that_is_not_finite_changes_nothing_but_the_number_of_steps() -> None:
    config = OptimizerConfig(learning_rate=1e-2, warmup_steps=4)
    optimizer, schedule = make_optimizer(config, 10), learning_rate_schedule(config, 10)
    step = jax.jit(make_train_step(CONFIG, optimizer, schedule))
    batches = SpoiledBatches(bad=[1])
    state, first = step(jax.jit(make_init(CONFIG, optimizer))(np.int32(0)), batches.batch_at(0))
    after, bad = step(state, batches.batch_at(1))
    assert not first["bad"] and bad["bad"] and not np.isfinite(bad["loss"])
    assert after.step == 2
    jax.tree.map(np.testing.assert_array_equal, after._replace(step=state.step), state)
    # The schedule goes by the updates that were made.
    _, third = step(after, batches.batch_at(2))
    assert third["learning_rate"] == jnp.float32(schedule(1)) and not third["bad"]


def test_bad_steps_are_counted_and_their_loss_is_no_part_of_the_metrics(tmp_path: Path) -> None:
    result = run(tmp_path, SpoiledBatches(bad=[2, 3, 6]), steps=8, log_every=2)
    records = read_metrics(tmp_path)
    assert [record["bad_steps"] for record in records] == [0, 2, 2, 3] and result.metrics["bad_steps"] == 3
    # Both steps of the second interval are bad: it has no loss.
    assert [np.isfinite(record["loss"]) for record in records] == [True, False, True, True]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


def test_too_many_bad_steps_in_a_row_end_the_run_and_leave_their_batch(tmp_path: Path) -> None:
    batches = SpoiledBatches(bad=[1, 5, 6, 7])
    with pytest.raises(AgentBankError, match=r"3 steps in a row was not finite, the last of them step 8 .*max_bad_ste"):
        run(tmp_path, batches, steps=20, max_bad_steps=3)
    with np.load(tmp_path / "bad_batches" / "step_8.npz") as kept:
        expected = batches.batch_at(7)
        assert kept.files and all(np.array_equal(kept[name], expected[name]) for name in kept.files)
    # The same command meets them again; other settings may get past them.
    with pytest.raises(AgentBankError, match="step 8"):
        run(tmp_path, batches, steps=20, max_bad_steps=3)
    assert run(tmp_path, batches, steps=20, max_bad_steps=4).step == 20


def test_bad_steps_in_a_row_are_counted_across_a_checkpoint() -> None:
    config = TrainConfig(max_bad_steps=3)
    bad = {"bad": np.True_, "loss": np.float32("nan")}
    first = BadSteps(config, Path("nowhere"))
    assert not first.judge(1, bad, {}, 0) and not first.judge(2, bad, {}, 0)
    again = BadSteps(config, Path("nowhere"), first.to_json())
    assert again.bad_steps == 2 and again.to_json() == first.to_json()


SPIKE = SPIKE_WINDOW + 5


def test_after_a_spike_the_run_is_that_which_never_saw_the_batches_that_led_there(tmp_path: Path) -> None:
    """The last checkpoint before is that of step 36, so that the batches 36 to `SPIKE` are left out."""
    settings = {"steps": SPIKE + 6, "spike_factor": 1.25}
    result = run(tmp_path / "spiked", SpoiledBatches(surprising=[SPIKE]), **settings)
    last = SPIKE // 4 * 4
    without = run(tmp_path / "without", SpoiledBatches(left_out=range(last, SPIKE + 1)), **settings)
    jax.tree.map(np.testing.assert_array_equal, result.params, without.params)
    records = read_metrics(tmp_path / "spiked")
    assert [record["step"] for record in records] == list(range(1, SPIKE + 7))
    assert [record["rollbacks"] for record in records] == [0] * last + [1] * (SPIKE + 6 - last)
    losses = [[record["loss"] for record in read_metrics(tmp_path / name)] for name in ("spiked", "without")]
    assert losses[0] == losses[1]


def test_spikes_without_end_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match="spiked, after 1 rollbacks"):
        run(
            tmp_path,
            SpoiledBatches(surprising=range(SPIKE, SPIKE + 40)),
            steps=SPIKE + 20,
            spike_factor=1.25,
            max_rollbacks=1,
        )
