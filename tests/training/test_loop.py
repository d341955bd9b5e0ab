"""The loop: what it writes, how it goes on, what it refuses."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from agentbank_jax.errors import AgentBankError
from agentbank_jax.folder_lock import locked
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.loop import train
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.progress import TrainingProgress
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.training.trained_models import load_for_inference
from tests.training.made_batches import MadeBatches
from tests.training.run_made import CONFIG

ROOT = Path(__file__).parents[2]
ONE_DEVICE = MeshConfig(data=-1, fsdp=1)


def _train(
    folder,
    *,
    steps=6,
    batches=None,
    facts=None,
    config=CONFIG,
    progress=None,
    manifest=None,
    operative_config=None,
    **changes,
):
    return train(
        config,
        TrainConfig(steps=steps, **{"log_every": 2, "checkpoint_every": 4, "compilation_cache": "", **changes}),
        OptimizerConfig(learning_rate=1e-2),
        ONE_DEVICE,
        batches or MadeBatches(CONFIG.vocab_size),
        folder,
        facts=facts or {"template": "made"},
        manifest=manifest,
        operative_config=operative_config,
        progress=progress,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tokenizer = folder / "vocabulary.model"
    tokenizer.write_bytes(b"pieces")
    text = io.StringIO()
    progress = TrainingProgress(6, 0, Console(file=text, width=200))
    result = train(
        CONFIG,
        TrainConfig(steps=6, log_every=2, checkpoint_every=4, compilation_cache=""),
        OptimizerConfig(learning_rate=1e-2),
        ONE_DEVICE,
        MadeBatches(CONFIG.vocab_size),
        folder,
        facts={"template": "made"},
        manifest={"starter_math": ["a", "b"]},
        tokenizer_path=tokenizer,
        progress=progress,
    )
    return folder, result, text.getvalue()


def test_a_run_leaves_parameters_metrics_manifest_and_tokenizer(finished):
    folder, result, _ = finished
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["4", "6"]
    config, params, metadata = load_for_inference(folder)
    assert config == CONFIG
    assert metadata["facts"]["template"] == "made"
    jax.tree.map(np.testing.assert_array_equal, params, result.params)
    assert json.loads((folder / "manifest.json").read_text()) == {"starter_math": ["a", "b"]}
    assert (folder / "tokenizer.model").read_bytes() == b"pieces"
    assert [record["step"] for record in read_metrics(folder)] == [2, 4, 6]
    assert list((folder / "tensorboard").iterdir())
    assert not list(folder.glob("*.tmp"))


def test_the_loss_falls_and_the_figures_are_told_in_plain_lines(finished):
    folder, result, text = finished
    losses = [record["loss"] for record in read_metrics(folder)]
    assert losses[-1] < losses[0]
    assert result.tokens == sum((MadeBatches(CONFIG.vocab_size).batch_at(s)["segment_ids"] > 0).sum() for s in range(6))
    for word in ("step 6/6", "loss", "tokens/s", "MFU", "fill", "ETA", "causal MFU ="):
        assert word in text


def test_a_finished_run_has_nothing_left_to_do(finished):
    folder, result, _ = finished
    again = _train(folder)
    assert again.tokens == 0
    jax.tree.map(np.testing.assert_array_equal, again.params, result.params)


def test_other_data_in_the_same_folder_is_refused(finished):
    with pytest.raises(AgentBankError, match="data_fingerprint"):
        _train(finished[0], batches=MadeBatches(CONFIG.vocab_size, seed=1))


def test_what_was_set_otherwise_is_told_where_the_data_differ(tmp_path):
    _train(tmp_path, steps=1, operative_config="TrainConfig.batch_size = 8\nTrainConfig.seed = 0\n")
    other = MadeBatches(CONFIG.vocab_size, batch_size=4)
    with pytest.raises(AgentBankError, match=r"Set since then:\n  TrainConfig.batch_size = 4\nGo on"):
        _train(
            tmp_path,
            batch_size=4,
            batches=other,
            operative_config="TrainConfig.batch_size = 4\nTrainConfig.seed = 0\n",
        )
    with pytest.raises(AgentBankError, match="No setting differs: the bank"):
        _train(tmp_path, batches=MadeBatches(CONFIG.vocab_size, seed=1))


def test_a_refused_run_leaves_the_files_of_the_folder_as_they_were(finished, tmp_path):
    folder = finished[0]
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(AgentBankError, match="started with other settings"):
        _train(folder, facts={"template": "another"}, manifest={"starter_web": ["x"]})
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_fewer_steps_than_were_trained_are_refused(finished):
    with pytest.raises(AgentBankError, match="has done 6 steps, and 2 are configured"):
        _train(finished[0], steps=2)


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_is_running(tmp_path):
    with locked(tmp_path / "run", "train.py", "--model_dir"), pytest.raises(AgentBankError, match=r"another train\.py"):
        _train(tmp_path / "run")


@pytest.mark.parametrize("seed", [-1, 1 << 31])
def test_a_seed_that_is_no_int32_is_refused(seed):
    with pytest.raises(AgentBankError, match=f"seed={seed}: expected 0 to 2147483647"):
        TrainConfig(seed=seed)


def test_a_path_that_orbax_would_take_for_a_pattern_is_refused_before_training(tmp_path):
    with pytest.raises(AgentBankError, match=r"'\[' or '\]' cannot be read again"):
        _train(tmp_path / "run[1]")


def test_a_folder_with_a_run_is_refused_where_resuming_is_off(finished):
    with pytest.raises(AgentBankError, match="already holds a run, at step 6"):
        _train(finished[0], resume=False)


def test_epochs_decide_the_steps_where_none_are_given():
    assert TrainConfig(epochs=2.5).total_steps(8) == 20
    assert TrainConfig(steps=3).total_steps(8) == 3
    assert TrainConfig(epochs=0.01).total_steps(8) == 1


def test_settings_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(AgentBankError, match="batches of 8 rows"):
        _train(folder, batch_size=4)
    with pytest.raises(AgentBankError, match="max_position_embeddings=16"):
        _train(folder, config=dataclasses.replace(CONFIG, max_position_embeddings=16))
    with pytest.raises(AgentBankError, match="micro-batch"):
        _train(folder, accumulate=3)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentBankError, match=r"cannot be written .*--model_dir"):
        _train(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "ful"}, "Did you mean 'full'"),
        ({"batch_size": 0}, "at least 1"),
        ({"epochs": 0}, "more than 0"),
        ({"steps": -1}, "0 or more"),
    ],
)
def test_an_impossible_setting_says_what_is_wrong(values, message):
    with pytest.raises(AgentBankError, match=message):
        TrainConfig(**values)


def test_a_run_killed_in_the_middle_ends_as_if_it_had_not_been(tmp_path):
    """SIGKILL at a step between two checkpoints, then the same command: the same parameters, bit for bit."""

    def start(folder: str, seconds: float) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.training.run_made", str(tmp_path / folder), "16", str(seconds)]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "JAX_PLATFORMS": "cpu"}, stderr=subprocess.PIPE)

    whole = start("whole", 0)
    assert whole.wait(120) == 0, whole.stderr.read().decode()

    killed = start("killed", 0.1)
    end = time.monotonic() + 120
    while not any(record["step"] >= 9 for record in read_metrics(tmp_path / "killed")):
        assert killed.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "checkpoints" / "16").exists()

    again = start("killed", 0)
    assert again.wait(120) == 0, again.stderr.read().decode()
    assert "goes on after step" in again.stderr.read().decode()
    expected, got = (load_for_inference(tmp_path / name)[1] for name in ("whole", "killed"))
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    steps = [record["step"] for record in read_metrics(tmp_path / "killed")]
    assert steps == sorted(set(steps)) and steps[-1] == 16


def test_checkpoints_of_steps_that_keep_every_divides_are_kept(tmp_path):
    _train(tmp_path, steps=9, checkpoint_every=1, keep_checkpoints=1, keep_every=4)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [4, 8, 9]


def test_a_checkpoint_is_due_after_some_minutes(tmp_path):
    _train(tmp_path, steps=4, checkpoint_every=0, keep_checkpoints=9, checkpoint_minutes=1e-9)
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [1, 2, 3, 4]


def test_a_run_goes_on_with_another_layout_of_its_layers(tmp_path):
    whole = _train(tmp_path / "whole", steps=6)
    _train(tmp_path / "run", steps=6, checkpoint_every=3, keep_checkpoints=9)
    shutil.rmtree(tmp_path / "run/checkpoints/6")
    scanned = dataclasses.replace(CONFIG, scan_layers=not CONFIG.scan_layers, remat="full")
    got = _train(tmp_path / "run", steps=6, config=scanned)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got.params, whole.params)
    assert len(read_metrics(tmp_path / "run")) == 3
