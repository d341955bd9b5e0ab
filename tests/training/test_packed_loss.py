"""What a trajectory costs does not depend on what it is packed with."""

import jax
import numpy as np
import optax
import pytest

from agentbank_jax.data.batch import Batch
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.token_cache import TokenCache
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.loss import summed_loss, trained_capacity
from tests.data.made_cache import made_cache

# Longer than two blocks of queries of the blockwise backend, so that segments lie across their bounds.
LENGTH = 300
BACKENDS_ON_CPU = ("reference", "xla")


def make_config(attention: str) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=24,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        attention=attention,
    )


@pytest.fixture(scope="module")
def cache() -> TokenCache:
    lengths = np.random.default_rng(0).integers(3, 180, 26)
    return made_cache([np.concatenate([lengths, [2, LENGTH + 1]])], [1.0], max_length=LENGTH)


@pytest.fixture(scope="module")
def packed(cache: TokenCache) -> list[Batch]:
    batches = PackedBatches(cache, batch_size=6, length=LENGTH)
    return [batches.batch_at(step) for step in range(batches.steps_per_epoch)]


@pytest.fixture(scope="module")
def params():
    # Larger than those that training starts from: a wrong mask shows in the first digits.
    return jax.tree.map(lambda leaf: 3 * leaf, forward.init(make_config("xla"), 0))


def alone(cache: TokenCache) -> Batch:
    """Each trajectory in a row of its own, made without the delivery."""
    shape = (len(cache), LENGTH)
    batch = Batch(
        tokens=np.zeros(shape, np.int32),
        targets=np.zeros(shape, np.int32),
        loss_weights=np.zeros(shape, np.float32),
        positions=np.zeros(shape, np.int32),
        segment_ids=np.zeros(shape, np.int32),
    )
    for row in range(len(cache)):
        tokens, trained = cache.example(row)
        places = len(tokens) - 1
        batch["tokens"][row, :places] = tokens[:-1]
        batch["targets"][row, :places] = tokens[1:]
        batch["loss_weights"][row, :places] = trained[1:]
        batch["positions"][row, :places] = range(places)
        batch["segment_ids"][row, :places] = 1
    return batch


def losses_of_examples(config: LlamaConfig, params, batch: Batch) -> dict[tuple[int, ...], tuple[float, int]]:
    """The summed loss and the number of the trained tokens of each trajectory, by its tokens."""

    @jax.jit
    def weighted(batch):
        logits, _ = forward.apply(config, params, batch["tokens"], batch["positions"], batch["segment_ids"])
        return batch["loss_weights"] * optax.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])

    losses = np.asarray(weighted(batch))
    assert np.isfinite(losses).all() and not losses[batch["segment_ids"] == 0].any()
    found = {}
    for row, ids in enumerate(batch["segment_ids"]):
        for segment in range(1, ids.max() + 1):
            places = ids == segment
            tokens = (*batch["tokens"][row][places].tolist(), int(batch["targets"][row][places][-1]))
            trained = int(batch["loss_weights"][row][places].sum())
            found[tokens] = (float(losses[row][places].sum(dtype=np.float64)), trained)
    return found


@pytest.mark.parametrize("attention", BACKENDS_ON_CPU)
def test_each_trajectory_costs_the_same_packed_and_alone(cache, packed, params, attention) -> None:
    config = make_config(attention)
    segments = [int(ids.max()) for batch in packed for ids in batch["segment_ids"]]
    assert max(segments) >= 3 and 0 in segments, "rows of several trajectories, and an empty one"
    expected = losses_of_examples(config, params, alone(cache))
    assert len(expected) == len(cache)
    found: dict[tuple[int, ...], tuple[float, int]] = {}
    for batch in packed:
        found |= losses_of_examples(config, params, batch)
    assert found.keys() == expected.keys()
    for tokens, (loss, trained) in expected.items():
        assert found[tokens][1] == trained
        np.testing.assert_allclose(found[tokens][0] / max(trained, 1), loss / max(trained, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", BACKENDS_ON_CPU)
def test_the_gradient_of_packed_batches_is_the_sum_of_those_alone(cache, packed, attention) -> None:
    config = make_config(attention)
    params = forward.init(config, 0)
    # The form that training takes on one device, of all batches with one capacity.
    capacity = max(trained_capacity(batch["loss_weights"]) for batch in packed)
    grad = jax.jit(jax.value_and_grad(summed_loss, argnums=1), static_argnums=(0, 3))
    parts = [grad(config, params, batch, capacity) for batch in packed]
    loss, gradient = jax.tree.map(lambda *leaves: sum(np.asarray(leaf, np.float64) for leaf in leaves), *parts)
    expected_loss, expected_gradient = grad(config, params, alone(cache), None)
    trained = sum(batch["loss_weights"].sum() for batch in packed)
    np.testing.assert_allclose(loss / trained, expected_loss / trained, rtol=1e-5)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one / trained, other / trained, atol=1e-5),
        gradient,
        expected_gradient,
    )
