"""The step: its loss, its accumulation, and one golden value."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.loss import summed_loss, trained_capacity
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.state import make_init
from agentbank_jax.training.step import make_train_step
from tests.training.made_batches import MadeBatches

CONFIG = LlamaConfig(vocab_size=31, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2)


@pytest.fixture(scope="module")
def params():
    return forward.init(CONFIG, 0)


@pytest.fixture(scope="module")
def batch():
    return MadeBatches(CONFIG.vocab_size).batch_at(0)


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_over_gathered_tokens_equals_the_full_one_in_value_and_gradient(batch, tied):
    config = LlamaConfig(
        vocab_size=31, hidden_size=16, intermediate_size=24, num_layers=1, num_heads=2, tie_word_embeddings=tied
    )
    capacity = trained_capacity(batch["loss_weights"])
    trained = np.count_nonzero(batch["loss_weights"])
    assert trained <= capacity < batch["loss_weights"].size
    grad = jax.jit(jax.value_and_grad(summed_loss, argnums=1), static_argnums=(0, 3))
    params = forward.init(config, 1)
    full, full_grads = grad(config, params, batch, None)
    for size in (trained, capacity):
        gathered, grads = grad(config, params, batch, size)
        np.testing.assert_allclose(gathered, full, rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-5), grads, full_grads)


def test_the_loss_is_the_mean_over_trained_tokens_alone(params, batch):
    logits, _ = forward.apply(CONFIG, params, batch["tokens"], batch["positions"], batch["segment_ids"])
    log_probabilities = np.asarray(jax.nn.log_softmax(logits), np.float64)
    rows, columns = np.nonzero(batch["loss_weights"])
    expected = -sum(log_probabilities[r, c, batch["targets"][r, c]] for r, c in zip(rows, columns, strict=True))
    np.testing.assert_allclose(jax.jit(summed_loss, static_argnums=0)(CONFIG, params, batch), expected, rtol=1e-5)


@pytest.mark.parametrize(("places", "trained", "capacity"), [(80, 0, 10), (80, 10, 10), (80, 11, 20), (80, 80, 80)])
def test_a_capacity_holds_the_trained_tokens(places, trained, capacity):
    weights = np.zeros(places, np.float32)
    weights[:trained] = 1
    assert trained_capacity(weights) == capacity


def _one_step(batch, accumulate=1, capacity=None):
    sgd = optax.sgd(1.0)
    state = jax.jit(make_init(CONFIG, sgd))(np.int32(0))
    step = jax.jit(make_train_step(CONFIG, sgd, lambda _: 1.0, accumulate=accumulate, capacity=capacity))
    return step(state, batch)


def test_micro_batches_with_unevenly_trained_tokens_equal_the_large_batch():
    batch = MadeBatches(CONFIG.vocab_size).batch_at(0)
    batch["loss_weights"][::2] = 0
    batch["loss_weights"][1, 5:] = 0
    whole, whole_metrics = _one_step(batch)
    for accumulate in (2, 4):
        parts, metrics = _one_step(batch, accumulate, capacity=256 // accumulate)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), parts.params, whole.params)
        for name in whole_metrics:
            np.testing.assert_allclose(metrics[name], whole_metrics[name], rtol=1e-5)


def test_a_batch_without_trained_tokens_changes_nothing():
    batch = MadeBatches(CONFIG.vocab_size).batch_at(0)
    batch["loss_weights"][:] = 0
    state, metrics = _one_step(batch)
    fresh = jax.jit(make_init(CONFIG, optax.sgd(1.0)))(np.int32(0))
    jax.tree.map(np.testing.assert_array_equal, state.params, fresh.params)
    assert float(metrics["loss"]) == 0.0


def test_golden_steps():
    """Holds initialisation, loss and optimizer as they are.

    If a change was meant to alter the numbers, replace them and say why in the commit; if not, it is a bug.
    """
    optimizer_config = OptimizerConfig(learning_rate=1e-2, weight_decay=0.1)
    optimizer = make_optimizer(optimizer_config, 10)
    state = jax.jit(make_init(CONFIG, optimizer))(np.int32(0))
    step = jax.jit(make_train_step(CONFIG, optimizer, learning_rate_schedule(optimizer_config, 10)))
    losses = []
    for number in range(3):
        state, metrics = step(state, jax.tree.map(jnp.asarray, MadeBatches(CONFIG.vocab_size).batch_at(number)))
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses, [3.812125, 3.773026, 3.722296], rtol=1e-4)


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("chunks", [3, 4, 32])
def test_a_loss_in_chunks_equals_the_whole_one_in_value_and_gradient(params, batch, chunks, gathered):
    capacity = trained_capacity(batch["loss_weights"]) if gathered else None
    logits = (capacity or batch["tokens"].size) * CONFIG.vocab_size
    grad = jax.jit(jax.value_and_grad(summed_loss, argnums=1), static_argnums=(0, 3, 4))
    whole, grads = grad(CONFIG, params, batch, capacity, logits)
    chunked, chunked_grads = grad(CONFIG, params, batch, capacity, logits // chunks)
    np.testing.assert_allclose(chunked, whole, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-5), chunked_grads, grads)


def test_a_loss_in_chunks_never_holds_the_logits_of_a_batch(params, batch):
    logits = batch["tokens"].size * CONFIG.vocab_size

    def most_logits(at_once):
        jaxpr = jax.make_jaxpr(jax.grad(lambda params: summed_loss(CONFIG, params, batch, None, at_once)))(params)
        shapes = re.findall(rf"f32\[([\d,]+,{CONFIG.vocab_size})\]", str(jaxpr))
        return max(math.prod(map(int, shape.split(","))) for shape in shapes)

    assert most_logits(logits) == logits
    assert most_logits(logits // 4) == logits // 4
