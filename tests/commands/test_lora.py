"""Adapters through the commands: trained, evaluated, exported merged and alone, read back."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.peft_adapter import read_adapter
from agentbank_jax.training.checkpoint_files import read_metadata
from agentbank_jax.training.trained_models import load_for_inference
from tests.commands.test_hf_conversion import same
from tests.small_bank import SMALL_SWEEPS, SMALL_TRAINING, ProgramRunner, run_program

BASE = ["train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, "--gin.RunConfig.sweeps=[]"]
ADAPTED = ["train.py", "--gin_file=samoyed_tiny_lora.gin", *SMALL_TRAINING]


@pytest.fixture(scope="module")
def folder(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a base was trained, and adapters to it."""
    cwd = tmp_path_factory.mktemp("work")
    for arguments in (BASE, [*ADAPTED, "--checkpoint=runs/samoyed_tiny"]):
        result = run_program(arguments, data_dir=data_dir, cwd=cwd)
        assert result.returncode == 0, result.stderr
    return cwd


def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], data: Path, cwd: Path
) -> Any:
    return ProgramRunner(monkeypatch, capfd)(arguments, data_dir=data, cwd=cwd)


def test_a_recipe_of_adapters_trains_acts_and_reports(folder: Path) -> None:
    run_folder = folder / "runs/samoyed_tiny_lora"
    assert (run_folder / "evaluation/report.html").is_file()
    assert "LoraConfig.rank = 8" in (run_folder / "operative_config.gin").read_text()
    metadata = read_metadata(run_folder / "checkpoints/2")
    assert metadata["base"] == str(folder / "runs/samoyed_tiny/checkpoints/2")
    assert metadata["model_config"]["lora"]["rank"] == 8
    # Two steps of a small rate: near the base, and not the base.
    (_, base, _), (_, params, _) = load_for_inference(folder / "runs/samoyed_tiny"), load_for_inference(run_folder)
    kernels = [each["layers"]["mlp"]["up_proj"]["kernel"] for each in (base, params)]
    assert 0 < np.abs(kernels[0] - kernels[1]).max() < 0.05


def test_its_operative_config_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path, data_dir: Path
) -> None:
    saved = "--gin_file=runs/samoyed_tiny_lora/operative_config.gin"
    arguments = ["train.py", saved, "--model_dir=runs/samoyed_tiny_lora", "--checkpoint=runs/samoyed_tiny"]
    result = run(monkeypatch, capfd, arguments, data_dir, folder)
    assert result.returncode == 0 and "goes on after step 2" in result.stderr, result.stderr
    result = run(monkeypatch, capfd, [*arguments, "--gin.LoraConfig.rank=4"], data_dir, folder)
    assert result.returncode == 2 and "model.lora.rank: 8 in the checkpoint, 4 now" in result.stderr


def test_it_is_evaluated_exported_merged_and_alone_and_read_back(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path, data_dir: Path
) -> None:
    for arguments in (
        ["evaluate.py", "--gin_file=eval/starter_held_in.gin", "--checkpoint=runs/samoyed_tiny_lora", *SMALL_SWEEPS],
        ["scripts/export_hf.py", "--checkpoint=runs/samoyed_tiny_lora", "--out=merged"],
        ["scripts/export_hf.py", "--checkpoint=runs/samoyed_tiny_lora", "--out=adapter", "--adapter"],
        ["scripts/export_hf.py", "--checkpoint=runs/samoyed_tiny", "--out=base"],
        ["scripts/import_hf.py", "--weights=base", "--adapter=adapter", "--template=llama2", "--model_dir=runs/again"],
        ["scripts/export_hf.py", "--checkpoint=runs/again", "--out=again"],
    ):
        result = run(monkeypatch, capfd, arguments, data_dir, folder)
        assert result.returncode == 0, result.stderr
    assert {path.name for path in (folder / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.model",
    }  # fmt: skip
    same(folder / "merged", folder / "again")
    settings = json.loads((folder / "adapter/adapter_config.json").read_text())
    assert settings["r"] == 8 and settings["lora_alpha"] == 16.0 and len(settings["target_modules"]) == 7
    config, adapters = read_adapter(folder / "adapter", read_config(folder / "base").model)
    assert config.lora and config.lora.dropout == 0.05 and len(jax.tree.leaves(adapters)) == 14


def test_adapters_under_an_added_scaling_of_positions_are_exported_merged_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path, data_dir: Path
) -> None:
    weights = ["--gin.RunConfig.weights=plain", "--gin.DataConfig.tokenizer=./plain", "--gin.RunConfig.sweeps=[]",
               "--gin.LlamaConfig.rope_scaling=linear", "--gin.LlamaConfig.rope_factor=4",
               "--model_dir=runs/scaled"]  # fmt: skip
    for arguments in (
        ["scripts/export_hf.py", "--checkpoint=runs/samoyed_tiny", "--out=plain"],
        [*ADAPTED, *weights],
        ["scripts/export_hf.py", "--checkpoint=runs/scaled", "--out=scaled"],
    ):
        result = run(monkeypatch, capfd, arguments, data_dir, folder)
        assert result.returncode == 0, result.stderr
    assert (read_config(folder / "scaled").model.rope_scaling, read_config(folder / "plain").model.rope_scaling) == (
        "linear", "none",
    )  # fmt: skip
    arguments = ["scripts/export_hf.py", "--checkpoint=runs/scaled", "--out=alone", "--adapter"]
    result = run(monkeypatch, capfd, arguments, data_dir, folder)
    assert result.returncode == 2 and "trained with rope_scaling='linear'" in result.stderr
    assert not (folder / "alone").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora is True; only False is supported"),
        ({"rank_pattern": {"q_proj": 3}}, "rank_pattern is {'q_proj': 3}"),
        ({"peft_type": "IA3"}, "peft_type is IA3; only 'LORA' is supported"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights is 'pissa_niter_4', which changes the weights"),
        ({"init_lora_weights": "olora"}, "expected an adapter to the weights as they are"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens is [5, 6]; only None is supported"),
        ({"r": 4}, "lora_A.weight: shape [8, 16], expected [4, 16]"),
        ({"r": "many"}, "expected numbers r and lora_alpha"),
    ],
)
def test_an_adapter_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path, data_dir: Path, tmp_path: Path,
    change: dict[str, Any], message: str,
) -> None:  # fmt: skip
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((folder / "adapter" / name).read_bytes())
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    arguments = ["scripts/import_hf.py", f"--weights={folder}/base", f"--adapter={tmp_path}", "--template=llama2",
                 f"--model_dir={tmp_path}/run"]  # fmt: skip
    result = run(monkeypatch, capfd, arguments, data_dir, tmp_path)
    assert result.returncode == 2 and message in result.stderr and result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no weights that the adapters could belong to"),
        (["--gin.LoraConfig.projections=q_porj"], "'q_porj' matches no projection. Did you mean 'q_proj'"),
        (["--gin.LoraConfig.rnak=3"], "Did you mean 'rank'"),
        (["--gin.LoraConfig.rank=17"], "LoraConfig.rank=17 is larger than q_proj, a matrix of 16 x 16"),
        (["--gin.LoraConfig.dropout=1"], "LoraConfig.dropout=1.0: expected 0 or more and below 1"),
        (["--gin.LlamaConfig.lora=3"], "LlamaConfig.lora is set by LoraConfig"),
    ],
)
def test_a_mistake_is_told_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], data_dir: Path, tmp_path: Path,
    flags: list[str], message: str,
) -> None:  # fmt: skip
    result = run(monkeypatch, capfd, [*ADAPTED, *flags], data_dir, tmp_path)
    assert result.returncode == 2 and result.stderr.startswith("error: ") and message in result.stderr
    assert "Traceback" not in result.stderr and not list(tmp_path.iterdir())


def test_what_is_no_base_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path, data_dir: Path
) -> None:
    for arguments, message in (
        ([*ADAPTED, "--checkpoint=runs/samoyed_tiny_lora", "--model_dir=runs/x"], "holds adapters itself; write"),
        (["scripts/export_hf.py", "--checkpoint=runs/samoyed_tiny", "--out=x", "--adapter"], "all of its parameters"),
        (["scripts/export_hf.py", "--checkpoint=runs/samoyed_tiny_lora", "--out=x", "--adapter", "--dtype=float16"],
         "adapters are written as they were trained"),
        ([*BASE, "--model_dir=runs/samoyed_tiny_lora"], "lora.rank: 8 in the checkpoint, None now"),
    ):  # fmt: skip
        result = run(monkeypatch, capfd, arguments, data_dir, folder)
        assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr, result.stderr
    assert not (folder / "x").exists()
