"""Training adapters: what changes, what is saved, how it goes on, what is refused."""

import dataclasses
import shutil

import jax
import numpy as np
import optax
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward, lora
from agentbank_jax.models.fingerprint import fingerprint
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.checkpoint_files import read_metadata
from agentbank_jax.training.flops import adapter_parameters, flops_per_token, matmul_parameters
from agentbank_jax.training.loop import train
from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
from agentbank_jax.training.plan import plan
from agentbank_jax.training.state import make_init
from agentbank_jax.training.step import make_train_step
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.training.trained_models import load_adapters, load_for_inference, save_parameters
from tests.training.made_batches import MadeBatches
from tests.training.run_made import CONFIG as MADE

BASE = dataclasses.replace(MADE, scan_layers=True)
CONFIG = dataclasses.replace(BASE, lora=LoraConfig(projections="q_proj|up_proj", rank=2, alpha=4.0, dropout=0.2))


def _with(**changes):
    return dataclasses.replace(CONFIG, lora=dataclasses.replace(CONFIG.lora, **changes))


FACTS = {"template": "made"}
# The same rates however many steps there are.
STEADY = OptimizerConfig(learning_rate=1e-2, schedule="constant", warmup_ratio=0.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A run to adapt."""
    folder = tmp_path_factory.mktemp("weights") / "base"
    save_parameters(folder, BASE, forward.init(BASE, 5), FACTS)
    return folder


class Measured:
    """An evaluator that keeps what it is given."""

    every, names = 6, ()

    def evaluate(self, step, params):
        self.params = jax.device_get(params)
        return ()


def _train(folder, weights, steps, config=CONFIG, evaluators=(), **values):
    return train(
        config,
        TrainConfig(steps=steps, log_every=2, checkpoint_every=3, compilation_cache="", **values),
        STEADY,
        MeshConfig(data=-1, fsdp=1),
        MadeBatches(BASE.vocab_size),
        folder,
        facts=FACTS,
        initial_params=lambda: load_for_inference(weights)[1],
        base=weights,
        evaluators=evaluators,
    )


@pytest.fixture(scope="module")
def measured():
    return Measured()


@pytest.fixture(scope="module")
def finished(weights, measured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, _train(folder, weights, 6, evaluators=[measured])


def test_what_measures_the_model_is_given_adapters_joined_to_what_they_belong_to(finished, measured):
    expected = lora.join(forward.init(BASE, 5), finished[1].params)
    jax.tree.map(np.testing.assert_array_equal, measured.params, expected)


def test_a_step_changes_every_adapter_and_no_bit_of_the_base_and_keeps_no_state_for_it():
    optimizer = make_optimizer(STEADY, 10)
    plain = _with(dropout=0.0)
    state = jax.jit(make_init(plain, optimizer))(np.int32(0))
    base = forward.init(BASE, 0)
    before = jax.device_get((state.params, base))
    step = jax.jit(make_train_step(plain, optimizer, lambda _: 1.0), donate_argnums=0)
    for number in range(2):  # A moves once B is not zero
        state, _ = step(state, MadeBatches(BASE.vocab_size).batch_at(number), base)
    jax.tree.map(np.testing.assert_array_equal, base, before[1])
    jax.tree.map(lambda now, then: np.testing.assert_array_equal((now != then).any(), True), state.params, before[0])
    adapters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert adapters == adapter_parameters(CONFIG) == 2 * 2 * (16 + 16 + 16 + 24)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim) == 2 * adapters


def test_a_checkpoint_holds_adapters_alone_and_names_their_base(finished, weights):
    folder, result = finished
    metadata = read_metadata(result.checkpoint)
    assert metadata["base"] == str(weights)
    arrays = [name for name in metadata["arrays"] if not name.endswith(("step", "count"))]
    assert arrays and all("/lora/" in name for name in arrays)
    assert metadata["facts"]["base_fingerprint"] == fingerprint(forward.init(BASE, 5))
    config, adapters, _ = load_adapters(folder)
    assert config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, adapters, result.params)


def test_a_loaded_run_is_the_base_with_its_adapters_merged(finished):
    folder, result = finished
    config, params, metadata = load_for_inference(folder)
    assert config == BASE and metadata["step"] == 6
    expected = lora.merge(CONFIG.lora, forward.init(BASE, 5), result.params)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    kernels = params["layers"]["self_attn"]["q_proj"]["kernel"], forward.init(BASE, 5)["layers"]["self_attn"]["q_proj"]
    assert np.abs(kernels[0] - kernels[1]["kernel"]).max() > 1e-4
    half = load_for_inference(folder, dtype="bfloat16")[1]
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half)} == {"bfloat16"}


def test_a_resumed_run_with_dropout_equals_an_uninterrupted_one_bit_for_bit(finished, weights, tmp_path):
    _train(tmp_path, weights, 3)
    again = _train(tmp_path, weights, 6)
    jax.tree.map(np.testing.assert_array_equal, again.params, finished[1].params)


def test_what_a_step_drops_depends_on_the_seed_and_the_step():
    config = dataclasses.replace(CONFIG, num_layers=1, lora=dataclasses.replace(CONFIG.lora, projections="q_proj"))
    sgd = optax.sgd(1.0)
    state = jax.jit(make_init(config, sgd))(np.int32(0))
    state = state._replace(params=jax.tree.map(lambda leaf: leaf + 0.1, state.params))
    batch, base = MadeBatches(BASE.vocab_size).batch_at(0), forward.init(config.base, 0)

    def losses(seed, *steps):
        program = jax.jit(make_train_step(config, sgd, lambda _: 1.0, seed=seed))
        return [float(program(state._replace(step=np.int32(step)), batch, base)[1]["loss"]) for step in steps]

    first, again, second = losses(0, 0, 0, 1)
    assert first == again != second and losses(1, 0) != [first]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_with(rank=4), r"model.lora.rank: 2 in the checkpoint, 4 now"),
        (_with(alpha=8.0), r"model.lora.alpha: 4.0 in the checkpoint, 8.0 now"),
        (_with(projections="q_proj"), r"model.lora.projections: 'q_proj\|up_proj' in the checkpoint, 'q_proj' now"),
        (BASE, r"model.lora.rank: 2 in the checkpoint, None now"),
    ],
)
def test_a_run_does_not_go_on_with_other_adapters_or_with_none(finished, weights, config, message):
    with pytest.raises(AgentBankError, match=message):
        _train(finished[0], weights, 6, config)


def test_a_full_run_does_not_go_on_with_adapters(weights):
    with pytest.raises(AgentBankError, match=r"model.lora.rank: None in the checkpoint, 2 now"):
        _train(weights, weights, 6)


def test_a_run_does_not_go_on_from_another_base(finished, tmp_path):
    other = tmp_path / "other"
    save_parameters(other, BASE, forward.init(BASE, 6), FACTS)
    with pytest.raises(AgentBankError, match=r"base_fingerprint: 'float32:\w+' in the checkpoint, 'float32:\w+' now"):
        _train(finished[0], other, 6)


def test_adapters_without_weights_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(AgentBankError, match="no weights that its adapters could belong to"):
        train(
            CONFIG,
            TrainConfig(steps=1),
            STEADY,
            MeshConfig(),
            MadeBatches(BASE.vocab_size),
            tmp_path / "run",
            facts=FACTS,
        )
    assert not list(tmp_path.iterdir())


def test_a_base_that_is_gone_or_another_is_named(weights, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(weights, base)
    _train(tmp_path / "run", base, 1, _with(dropout=0.0))
    shutil.rmtree(base)
    with pytest.raises(AgentBankError, match=r"belong to the weights in .*/base, which is gone; put it back"):
        load_for_inference(tmp_path / "run")
    save_parameters(base, BASE, forward.init(BASE, 6), FACTS)
    with pytest.raises(AgentBankError, match=r"belong to weights of fingerprint float32:\w+…, and those in .*/base"):
        load_for_inference(tmp_path / "run")
    assert load_adapters(tmp_path / "run")[0] == _with(dropout=0.0)


def test_a_full_run_has_no_adapters_to_load(weights):
    with pytest.raises(AgentBankError, match="all of its parameters were trained"):
        load_adapters(weights)


def test_a_plan_counts_the_base_once_and_moments_for_adapters_alone():
    half = dataclasses.replace(CONFIG, param_dtype="bfloat16")
    made = plan(half, STEADY, MeshConfig(fsdp=1), batch_size=8, length=32, num_devices=1)
    adapters = adapter_parameters(CONFIG)
    assert made.gradient_bytes == 4 * adapters
    assert made.optimizer_bytes == pytest.approx(8 * adapters, abs=16)
    assert made.parameter_bytes == 2 * forward.count_parameters(BASE) + 4 * adapters
    attention = 6 * BASE.num_layers * BASE.hidden_size * 32
    assert flops_per_token(CONFIG, 32) == 4 * matmul_parameters(BASE) + 6 * adapters + attention
