"""Held-out loss and accuracy are what a plain forward pass gives, however the work is divided."""

import json
import os
import socket
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


@pytest.fixture(scope="module")
def plain() -> tuple[TeacherForced, dict[str, float]]:
    evaluator = TeacherForced(PLAIN, ONE_DEVICE, held_out(), every=5)
    return evaluator, dict(evaluator.evaluate(5, parameters(PLAIN)))


def _assert_those_of_each_trajectory_alone(config, found: dict[str, float]) -> None:
    expected = _directly(config)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-6), name
    # Neither all right nor all wrong, and no mean of means.
    assert 0 < expected["eval/accuracy"] < 0.5
    for kind in ("loss", "accuracy"):
        mean = np.mean([expected[f"eval/made_{task}/{kind}"] for task in (0, 1)])
        assert abs(expected[f"eval/{kind}"] - mean) > 1e-5


def test_packed_figures_equal_those_of_each_trajectory_alone(plain):
    evaluator, found = plain
    _assert_those_of_each_trajectory_alone(PLAIN, found)
    assert set(evaluator.names) == found.keys()


def test_so_do_those_of_adapters_and_of_tied_embeddings():
    config = replace(ADAPTED, tie_word_embeddings=True)
    evaluator = TeacherForced(config, ONE_DEVICE, held_out(), every=5)
    _assert_those_of_each_trajectory_alone(config, dict(evaluator.evaluate(5, parameters(config))))


def test_it_is_compiled_once(plain):
    evaluator, first = plain
    assert len(held_out()) > 1 and first == dict(evaluator.evaluate(6, parameters(PLAIN)))
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


@pytest.mark.parametrize("case", [name for name in CASES if name != "one"])
def test_figures_on_two_devices_are_those_of_one(on_meshes, case):
    one, two = on_meshes["one"], on_meshes[case]
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=1e-5), name


def test_figures_of_two_processes_are_those_of_one_and_the_same_on_both(on_meshes):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.training.run_teacher_forced", "fsdp"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, str(each), port], cwd=ROOT, env=os.environ, **pipes) for each in range(2)]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    # Behind what the collectives say of themselves.
    first, second = (json.loads(output.strip().split("\n")[-1]) for output, _ in ends)
    assert first == second
    for name, value in on_meshes["one"].items():
        assert first[name] == pytest.approx(value, rel=1e-5), name


def test_a_batch_that_is_mostly_padding_counts_only_what_it_holds(plain):
    batches = HeldOutBatches(CACHE, batch_size=64, length=48)
    assert len(batches) == 1
    evaluator = TeacherForced(PLAIN, ONE_DEVICE, batches, every=1)
    assert dict(evaluator.evaluate(1, parameters(PLAIN))) == pytest.approx(plain[1], rel=2e-6)
