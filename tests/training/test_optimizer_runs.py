"""What is kept of each optimizer: its state in a checkpoint, and a run that goes on in the decay of its rate."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings, with_shardings
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.loop import TrainConfig, train
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
from agentbank_jax.training.state import abstract_state
from tests.training.made_batches import MadeBatches
from tests.training.run_made import CONFIG as MADE

CONFIG = dataclasses.replace(MADE, num_layers=1)
ADAPTED = dataclasses.replace(CONFIG, lora=LoraConfig(projections="q_proj|down_proj", rank=4))
OPTIMIZERS = {
    "adamw": OptimizerConfig(mu_dtype="bfloat16"),
    "muon": OptimizerConfig(name="muon"),
    "lion": OptimizerConfig(name="lion", mu_dtype="bfloat16"),
    "adafactor": OptimizerConfig(name="adafactor", min_dim_size_to_factor=4, beta1=0.9, weight_decay=0.1),
}


def _abstract(name, config):
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    abstract = abstract_state(config, make_optimizer(OPTIMIZERS[name], 10))
    return with_shardings(abstract, state_shardings(mesh, abstract))


def _checkpoints(folder, config):
    base = str(folder) if config.lora else None
    return Checkpoints(folder, keep=1, config=config, facts={"template": "made"}, base=base)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("config", [CONFIG, ADAPTED], ids=["all", "adapters"])
def test_a_restored_state_of_each_optimizer_is_the_saved_one_bit_for_bit(name, config, tmp_path):
    abstract, rng = _abstract(name, config), np.random.default_rng(0)
    state = jax.tree.map(
        lambda leaf: jax.device_put(jnp.asarray(100 * rng.random(leaf.shape), leaf.dtype), leaf.sharding), abstract
    )
    with _checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(state, 3, "data")
    with _checkpoints(tmp_path, config) as checkpoints:
        restored = checkpoints.restore(abstract)
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored.state, state)
    assert [leaf.dtype for leaf in jax.tree.leaves(restored.state)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    other = next(each for each in OPTIMIZERS if each != name)
    with (
        _checkpoints(tmp_path, config) as checkpoints,
        pytest.raises(AgentBankError, match=r"optimizer of the run .* keeps other values") as raised,
    ):
        checkpoints.restore(_abstract(other, config))
    assert "\n" not in str(raised.value)


class CutBatches(MadeBatches):
    """Data that end after so many batches, as if the run had been killed there."""

    def __init__(self, stop: int):
        super().__init__(CONFIG.vocab_size)
        self.stop = stop

    def iterator(self, start_step: int = 0):
        return itertools.islice(super().iterator(start_step), self.stop - start_step)


def test_a_run_that_goes_on_decays_at_the_right_step_and_ends_as_one_that_was_not_interrupted(tmp_path):
    optimizer = OptimizerConfig(
        name="adafactor", learning_rate=1e-2, min_dim_size_to_factor=4, schedule="wsd", warmup_steps=2, decay_steps=3,
        weight_decay=0.1,
    )  # fmt: skip

    def run(folder, batches):
        config = TrainConfig(
            steps=8, log_every=1, checkpoint_every=2, peak_flops=1.0, compilation_cache=str(tmp_path / "compiled")
        )
        mesh = MeshConfig(data=-1, fsdp=1)
        return train(CONFIG, config, optimizer, mesh, batches, tmp_path / folder, facts={"template": "made"})

    whole = run("whole", CutBatches(8))
    # The decay begins after step 5: of its first step only what the checkpoint of step 6 holds is left.
    with pytest.raises((StopIteration, RuntimeError)):
        run("cut", CutBatches(7))
    again = run("cut", CutBatches(8))
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    for folder in ("whole", "cut"):
        records = read_metrics(tmp_path / folder)
        assert [record["step"] for record in records] == [*range(1, 9)]
        rates = 1e-2 * np.array([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 2 / 3, 1 / 3])
        np.testing.assert_allclose([record["learning_rate"] for record in records], rates, rtol=1e-6)
    assert records[-1]["loss"] < records[0]["loss"]
