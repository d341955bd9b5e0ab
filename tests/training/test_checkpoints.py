"""Checkpoints: what is restored, refused, passed over."""

import dataclasses
import errno
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel import distributed
from agentbank_jax.training import checkpoints as checkpoints_module
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
from agentbank_jax.training.state import abstract_state, make_init
from agentbank_jax.training.trained_models import load_for_inference

CONFIG = LlamaConfig(vocab_size=11, hidden_size=8, intermediate_size=12, num_layers=2, num_heads=2)
FACTS = {"template": "llama2", "tokenizer_sha256": "ab", "stop_ids": [2]}
OPTIMIZER = make_optimizer(OptimizerConfig(), 10)


@pytest.fixture(scope="module")
def state():
    return jax.jit(make_init(CONFIG, OPTIMIZER))(np.int32(0))


def _target():
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), abstract_state(CONFIG, OPTIMIZER)
    )


def _write(folder, state, steps, config=CONFIG, keep=3):
    with Checkpoints(folder, keep=keep, config=config, facts=FACTS) as checkpoints:
        for step in steps:
            checkpoints.save(state._replace(step=jnp.int32(step)), step, "data")


def _restore(folder, facts=FACTS, config=CONFIG, **options):
    with Checkpoints(folder, keep=3, config=config, facts=facts) as checkpoints:
        return checkpoints.restore(_target(), **options)


def test_a_restored_state_is_the_saved_one_bit_for_bit(tmp_path, state):
    _write(tmp_path, state, [3])
    restored = _restore(tmp_path)
    assert restored.data == {"step": 3, "fingerprint": "data"}
    jax.tree.map(np.testing.assert_array_equal, restored.state._replace(step=state.step), state)
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)


def test_the_position_in_the_data_takes_less_than_4_kb_on_disk(tmp_path, state):
    with Checkpoints(tmp_path, keep=3, config=CONFIG, facts=FACTS) as checkpoints:
        checkpoints.save(state, 1_000_000_000, "f" * 64)
    files = [path for path in (tmp_path / "checkpoints/1000000000/data").rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) <= 4096


def test_only_the_latest_checkpoints_are_kept(tmp_path, state):
    _write(tmp_path, state, [1, 2, 3, 4], keep=2)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_a_run_with_other_settings_is_refused_and_the_difference_shown(tmp_path, state):
    _write(tmp_path, state, [1])
    with pytest.raises(AgentBankError, match="tokenizer_sha256: 'ab' in the checkpoint, 'cd' now"):
        _restore(tmp_path, facts={**FACTS, "tokenizer_sha256": "cd"})
    with pytest.raises(AgentBankError, match=r"model.rope_theta: 10000.0 in the checkpoint, 5.0 now"):
        _restore(tmp_path, config=dataclasses.replace(CONFIG, rope_theta=5.0))
    assert _restore(tmp_path, facts={**FACTS, "template": "hf"}, allow_change=("template",)) is not None


def test_another_optimizer_is_refused_rather_than_taken_for_damage(tmp_path, state):
    _write(tmp_path, state, [1])
    with Checkpoints(tmp_path, keep=3, config=CONFIG, facts=FACTS) as checkpoints:
        without_moments = _target()._replace(opt_state=())
        with pytest.raises(AgentBankError, match="optimizer"):
            checkpoints.restore(without_moments)
    assert (tmp_path / "checkpoints" / "1").is_dir()


def _target_of(**changes):
    return jax.tree.map(
        lambda there, leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there.sharding),
        _target(),
        abstract_state(dataclasses.replace(CONFIG, **changes), OPTIMIZER),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"param_dtype": "bfloat16"}, r"embedding: float32\[11, 8\] in the checkpoint, bfloat16\[11, 8\] now"),
        ({"hidden_size": 16}, r"embedding: float32\[11, 8\] in the checkpoint, float32\[11, 16\] now"),
    ],
)
def test_arrays_of_another_type_or_shape_are_refused_rather_than_taken_for_damage(tmp_path, state, changes, message):
    _write(tmp_path, state, [1])
    config = dataclasses.replace(CONFIG, **changes)
    # The user has said that the shape may differ; that does not make the arrays fit.
    shape = tuple(f"model.{name}" for name in config.shape_facts)
    with (
        Checkpoints(tmp_path, keep=3, config=config, facts=FACTS) as checkpoints,
        pytest.raises(AgentBankError, match=message),
    ):
        checkpoints.restore(_target_of(**changes), shape)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]


@pytest.mark.parametrize(
    "damage", ["empty", "no metadata", "metadata changed", "array lost", "array cut", "other values", "other position"]
)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, state, damage, caplog):
    _write(tmp_path, state, [1, 2])
    last = tmp_path / "checkpoints" / "2"
    if damage == "empty":
        (tmp_path / "checkpoints" / "3").mkdir()
        last = tmp_path / "checkpoints" / "3"
    elif damage == "no metadata":
        (last / "_CHECKPOINT_METADATA").unlink()
    elif damage == "metadata changed":
        file = last / "_CHECKPOINT_METADATA"
        file.write_text(file.read_text().replace("llama2", "llama3"))
    elif damage in ("other values", "other position"):
        # Whole files of another checkpoint, which Orbax reads without a word.
        other = jax.tree.map(lambda leaf: leaf + 1, state)
        _write(tmp_path / "other", other, [7])
        part = "state" if damage == "other values" else "data"
        shutil.rmtree(last / part)
        shutil.copytree(tmp_path / "other/checkpoints/7" / part, last / part)
    elif damage == "array lost":
        for path in last.glob("state/**/d/*"):
            path.unlink()
    else:
        for path in last.glob("state/**/d/*"):
            path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        _, _, metadata = load_for_inference(tmp_path)
        restored = _restore(tmp_path)
    good = int(last.name) - 1
    # A position is of no use to a model that acts.
    assert metadata["step"] == good + (damage == "other position")
    assert restored.data["step"] == good
    assert str(last) in caplog.text
    _write(tmp_path, state, [int(last.name)])  # the run comes to that step again
    assert load_for_inference(tmp_path)[2]["step"] == int(last.name)


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path, state):
    _write(tmp_path, state, [1, 2])
    for path in tmp_path.glob("checkpoints/*/state/**/d/*"):
        path.write_bytes(path.read_bytes()[:-20])
    # Also when it is started again, by a launcher.
    for _ in range(2):
        with pytest.raises(AgentBankError, match=r"None of the checkpoints .* 1\.damaged, 2\.damaged"):
            _restore(tmp_path)
    for path in tmp_path.glob("checkpoints/*.damaged"):
        shutil.rmtree(path)
    assert _restore(tmp_path) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes."),
        ValueError("NOT_FOUND: … [os_error_code='13']"),
    ],
)
def test_a_checkpoint_that_the_process_cannot_hold_or_open_is_not_taken_for_damaged(
    tmp_path, state, error, monkeypatch
):
    _write(tmp_path, state, [1])

    def refuse(*_):
        raise ValueError("Failed to load.") from error

    monkeypatch.setattr(checkpoints_module, "load_arrays", refuse)
    with pytest.raises(AgentBankError, match="checkpoints/1 cannot be loaded"):
        _restore(tmp_path)
    monkeypatch.undo()
    assert _restore(tmp_path).data["step"] == 1


def test_a_save_that_fails_because_another_process_is_gone_does_not_blame_the_disk(tmp_path, monkeypatch):
    def lost():
        raise RuntimeError("Gloo AllGather failed: Connection closed by peer")

    with Checkpoints(tmp_path, keep=3, config=CONFIG, facts=FACTS) as checkpoints:
        monkeypatch.setattr(checkpoints._checkpointer, "wait", lost)
        with pytest.raises(AgentBankError, match="make room"):
            checkpoints.wait()
        monkeypatch.setattr(distributed, "runs_together", lambda: True)
        with pytest.raises(RuntimeError, match="closed by peer"):
            checkpoints.wait()


def test_inference_takes_a_run_its_checkpoints_or_one_step(tmp_path, state):
    _write(tmp_path, state, [1, 2])
    for path, step in ((tmp_path, 2), (tmp_path / "checkpoints", 2), (tmp_path / "checkpoints" / "1", 1)):
        config, params, metadata = load_for_inference(path)
        assert (config, metadata["step"], metadata["facts"]) == (CONFIG, step, FACTS)
        assert metadata["model_dir"] == tmp_path
        jax.tree.map(np.testing.assert_array_equal, params, state.params)
    assert jax.tree.structure(params) == jax.tree.structure(forward.abstract_params(CONFIG))
    assert all(leaf.dtype == "bfloat16" for leaf in jax.tree.leaves(load_for_inference(tmp_path, dtype="bfloat16")[1]))


def test_a_checkpoint_that_does_not_exist_gets_a_suggestion(tmp_path, state):
    _write(tmp_path / "samoyed_tiny", state, [1])
    with pytest.raises(AgentBankError, match="Did you mean 'samoyed_tiny'"):
        load_for_inference(tmp_path / "samoyed_tinny")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(AgentBankError, match="no checkpoint in"):
        load_for_inference(tmp_path / "nothing")
