"""Held-out loss and accuracy are what a plain forward pass gives, however the work is divided."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.data.held_out import HeldOutBatches
from agentbank_jax.models import forward
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.cross_entropy import token_losses
from agentbank_jax.training.teacher_forced import TeacherForced
from tests.training.run_teacher_forced import ADAPTED, CACHE, CASES, PLAIN, held_out, parameters

ROOT = Path(__file__).parents[2]
ONE_DEVICE = MeshConfig(data=-1, fsdp=1)


def _directly(config) -> dict[str, float]:
    """Each trajectory alone and unpacked, through the logits of the whole model."""
    params, sums = parameters(config), np.zeros((len(CACHE.tasks), 3))
    logits_of = jax.jit(lambda params, tokens: forward.apply(config, params, tokens, jnp.arange(48)[None])[0][0])
    for index in range(len(CACHE)):
        tokens, trained = CACHE.example(index)
        # What follows is not seen by what stands before it.
        row = np.zeros((1, 48), np.int32)
        row[0, : len(tokens) - 1] = tokens[:-1]
        logits = np.asarray(logits_of(params, row))[: len(tokens) - 1]
        weights, targets = trained[1:].astype(np.float64), tokens[1:].astype(int)
        losses = -np.asarray(jax.nn.log_softmax(logits))[np.arange(len(targets)), targets]
        task = int(CACHE.starts.searchsorted(index, side="right")) - 1
        sums[task] += [weights @ losses, weights @ (logits.argmax(axis=-1) == targets), weights.sum()]
    values = {}
    for name, (loss, hit, count) in zip(("eval/made_0/", "eval/made_1/", "eval/"), [*sums, sums.sum(0)], strict=True):
        values |= {f"{name}loss": loss / count, f"{name}accuracy": hit / count}
    return values


@pytest.mark.parametrize("config", [PLAIN, ADAPTED, replace(PLAIN, tie_word_embeddings=True)])
def test_packed_figures_equal_those_of_each_trajectory_alone(config):
    evaluator = TeacherForced(config, ONE_DEVICE, held_out(), every=5)
    found, expected = dict(evaluator.evaluate(5, parameters(config))), _directly(config)
    assert found.keys() == expected.keys() == set(evaluator.names)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-6), name
    # Neither all right nor all wrong, and no mean of means.
    assert 0 < expected["eval/accuracy"] < 0.5
    means = [np.mean([expected[f"eval/made_{task}/{kind}"] for task in (0, 1)]) for kind in ("loss", "accuracy")]
    assert abs(expected["eval/loss"] - means[0]) > 1e-5 and abs(expected["eval/accuracy"] - means[1]) > 1e-5


def test_it_is_compiled_once():
    evaluator = TeacherForced(PLAIN, ONE_DEVICE, held_out(), every=1)
    params = parameters(PLAIN)
    first = dict(evaluator.evaluate(1, params))
    assert len(held_out()) > 1 and first == dict(evaluator.evaluate(2, params))
    assert evaluator._program._cache_size() == 1


def test_token_losses_are_the_same_in_chunks_as_at_once():
    rng = np.random.default_rng(0)
    hidden, kernel = rng.normal(size=(2, 13, 8)).astype(np.float32), rng.normal(size=(8, 11)).astype(np.float32)
    targets = rng.integers(0, 11, (2, 13))
    losses, hits = token_losses(hidden, kernel, targets, tied=False)
    in_chunks = token_losses(hidden, kernel, targets, tied=False, logits_at_once=50)
    np.testing.assert_allclose(in_chunks[0], losses, rtol=1e-6)
    np.testing.assert_array_equal(in_chunks[1], hits)
    np.testing.assert_array_equal(hits, (hidden @ kernel).argmax(-1) == targets)


@pytest.fixture(scope="module")
def on_meshes() -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "tests.training.run_teacher_forced"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", [name for name in CASES if not name.endswith("one")])
def test_figures_on_two_devices_are_those_of_one(on_meshes, case):
    one, two = on_meshes[f"{case.split()[0]} one"], on_meshes[case]
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=1e-5), name


def test_a_batch_that_is_mostly_padding_counts_only_what_it_holds():
    batches = HeldOutBatches(CACHE, batch_size=64, length=48)
    assert len(batches) == 1
    evaluator = TeacherForced(PLAIN, ONE_DEVICE, batches, every=1)
    small = TeacherForced(PLAIN, ONE_DEVICE, held_out(), every=1)
    params = parameters(PLAIN)
    assert dict(evaluator.evaluate(1, params)) == pytest.approx(dict(small.evaluate(1, params)), rel=2e-6)
