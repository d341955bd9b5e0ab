"""Hugging Face checkpoints through the commands: in, trained, out, and whole or not at all."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from agentbank_jax.commands import export_hf, hf_conversion, import_hf
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.training.trained_models import load_for_inference
from tests.models.made_hf import LLAMA, made_tensors, write_made
from tests.small_bank import ROOT, SMALL_SWEEPS, SMALL_TRAINING, ProgramRunner
from tests.trajectories.fake import make_trajectory
from tests.trajectories.published import LLAMA3_JINJA, LLAMA3_SPECIALS, byte_level_json, texts_of, write_checkpoint

# The shape that SMALL_TRAINING makes of samoyed_tiny.gin.
SMALL: dict[str, Any] = {
    **LLAMA,
    "vocab_size": 600,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "rope_theta": 500.0,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in two shards with Llama-3's kind of tokenizer."""
    folder = tmp_path_factory.mktemp("weights") / "made"
    write_made(folder, SMALL, made_tensors(SMALL), shards=2)
    texts = texts_of(make_trajectory(number) for number in range(50))
    write_checkpoint(
        folder,
        byte_level_json(texts, LLAMA3_SPECIALS, 500),
        LLAMA3_JINJA,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
    )
    return folder


def run(command: Any, *arguments: object) -> int:
    return report_errors(lambda: command.main([str(argument) for argument in arguments]))


def same(first: Path, second: Path) -> None:
    """Both hold the same tensors, bit for bit."""
    from safetensors.numpy import load_file

    tensors = [
        {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
        for folder in (first, second)
    ]
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        np.testing.assert_array_equal(tensor, tensors[1][name])


def test_a_checkpoint_is_imported_and_exported_bit_for_bit(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(import_hf, f"--weights={made}", f"--model_dir={tmp_path}/run") == 0
    output = capsys.readouterr().out
    assert "parameters, float32, in" in output and "--checkpoint=" in output
    config, _, metadata = load_for_inference(tmp_path / "run")
    assert config == read_config(made).model and metadata["step"] == 0
    assert run(export_hf, f"--checkpoint={tmp_path}/run", f"--out={tmp_path}/out", "--shard_gb=1e-5") == 0
    assert "files of weights" in capsys.readouterr().out
    same(made, tmp_path / "out")
    stop = json.loads((tmp_path / "out/generation_config.json").read_text())["eos_token_id"]
    assert [stop] == metadata["facts"]["stop_ids"]
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()


def test_the_types_can_be_chosen(made: Path, tmp_path: Path) -> None:
    assert run(import_hf, f"--weights={made}", f"--model_dir={tmp_path}/run", "--dtype=bfloat16") == 0
    _, params, _ = load_for_inference(tmp_path / "run")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    assert run(export_hf, f"--checkpoint={tmp_path}/run", f"--out={tmp_path}/out", "--dtype=float32") == 0
    assert read_config(tmp_path / "out").model.param_dtype == "float32"


TRAINING = ("train.py", "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, "--gin.LlamaConfig.vocab_size=600",
            "--gin.DataConfig.template=hf", "--gin.DataConfig.mixture=starter_math",
            "--gin.DataConfig.over_long=split_at_turn")  # fmt: skip


def test_weights_are_trained_from_and_the_result_is_exported_with_its_stop_token(
    made: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_here = ProgramRunner(monkeypatch, capfd)
    shutil.copytree(made, tmp_path / "weights")
    arguments = [*TRAINING, "--gin.DataConfig.tokenizer=./weights", "--gin.RunConfig.weights=weights",
                 "--gin.OptimizerConfig.learning_rate=1e-9", "--gin.OptimizerConfig.adam_learning_rate=1e-9",
                 "--gin.RunConfig.sweeps=[]", "--model_dir=run"]  # fmt: skip
    result = run_here(arguments, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    # Steps so small that the weights are still those of the checkpoint.
    _, params, _ = load_for_inference("run")
    embedding = made_tensors(SMALL)["model.embed_tokens.weight"]
    np.testing.assert_allclose(params["embed_tokens"]["embedding"], embedding, atol=1e-6)
    # A run that goes on reads its own weights.
    monkeypatch.setattr("agentbank_jax.models.hf_import.HfCheckpoint.load", None)
    result = run_here([*arguments, "--gin.TrainConfig.steps=2"], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0 and "goes on after step 2" in result.stderr, result.stderr
    result = run_here(["scripts/export_hf.py", "--checkpoint=run", "--out=out"], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    vocabulary = json.loads((tmp_path / "out/tokenizer.json").read_text())["added_tokens"]
    stop = next(token["id"] for token in vocabulary if token["content"] == "<|eot_id|>")
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["eos_token_id"] == stop


def test_an_imported_run_is_trained_from_and_evaluated(
    made: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_here = ProgramRunner(monkeypatch, capfd)
    shutil.copytree(made, tmp_path / "weights")
    for arguments in (
        ["scripts/import_hf.py", "--weights=weights"],
        [*TRAINING, "--gin.DataConfig.tokenizer=./runs/weights", "--checkpoint=runs/weights",
         "--gin_file=runs/weights/model.gin", "--gin.RunConfig.sweeps=[]", "--model_dir=run"],
        ["evaluate.py", "--gin_file=eval/starter_held_in.gin", "--checkpoint=runs/weights", *SMALL_SWEEPS],
    ):  # fmt: skip
        result = run_here(arguments, data_dir=data_dir, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    result = run_here([*TRAINING, "--checkpoint=weights", "--gin.DataConfig.tokenizer=./weights"], data_dir=data_dir,
                      cwd=tmp_path)  # fmt: skip
    assert result.returncode == 2 and "python scripts/import_hf.py --weights=" in result.stderr


@pytest.mark.parametrize(
    ("changes", "flags", "message"),
    [
        ({}, ["--gin.LlamaConfig.rope_theta=10000"], "LlamaConfig.rope_theta is 500.0, and 10000.0 is configured"),
        ({"model_type": "mistral", "sliding_window": 512}, ["--gin.LlamaConfig.family=mistral"],
         "LlamaConfig.max_position_embeddings=1024, but the tokens of weights see only the last 512"),
        ({"model_type": "gemma"}, [], "model_type is 'gemma'"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_before_anything_begins(
    changes: dict[str, Any], flags: list[str], message: str, made: Path, data_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copytree(made, tmp_path / "weights")
    (tmp_path / "weights/config.json").write_text(json.dumps({**SMALL, **changes}))
    arguments = [*TRAINING, "--gin.DataConfig.tokenizer=./weights", "--gin.RunConfig.weights=weights", *flags]
    result = ProgramRunner(monkeypatch, capfd)(arguments, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr and [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_weights_are_not_trained_with_another_tokenizer(
    made: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made, tmp_path / "weights")
    arguments = [*TRAINING, "--gin.DataConfig.template=llama2", "--gin.RunConfig.weights=weights"]
    result = ProgramRunner(monkeypatch, capfd)(arguments, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2 and "expected --gin.DataConfig.tokenizer=./weights." in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["weights"]


def edit(folder: Path, change: str) -> list[str]:
    """Damages a copy of the checkpoint; returns further flags."""
    if change == "tensor":
        (folder / "config.json").write_text(json.dumps({**SMALL, "num_hidden_layers": 2}))
    elif change == "rows":
        (folder / "config.json").write_text(json.dumps({**SMALL, "vocab_size": 24}))
        write_made(folder, {**SMALL, "vocab_size": 24}, made_tensors({**SMALL, "vocab_size": 24}), shards=2)
    elif change == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif change == "no template":
        (folder / "tokenizer_config.json").write_text("{}")
    return [change] if change.startswith("--") else []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tensor", "model.layers.1.mlp.down_proj.weight: missing"),
        ("rows", "pieces, but LlamaConfig.vocab_size = 24"),
        ("no tokenizer", "no tokenizer in this folder"),
        ("no template", "its tokenizer has no chat template; say with --template"),
        ("--template=lama2", "Did you mean 'llama2'"),
        ("--dtype=bfloat61", "--dtype=bfloat61 is no known type. Did you mean 'bfloat16'?"),
        ("--fsdp=9", "--fsdp=9: expected 1 to"),
        ("--weight=x", "unknown argument '--weight=x'. Did you mean '--weights'?"),
    ],
)
def test_an_import_that_fails_says_why_and_writes_nothing(
    change: str, message: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made, tmp_path / "weights")
    flags = edit(tmp_path / "weights", change)
    assert run(import_hf, f"--weights={tmp_path}/weights", f"--model_dir={tmp_path}/runs/run", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_a_failure_while_writing_leaves_nothing(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hf_conversion, "_copy_tokenizer", fail)
        assert run(import_hf, f"--weights={made}", f"--model_dir={tmp_path}/run") == 2
    assert not list(tmp_path.iterdir())
    assert run(import_hf, f"--weights={made}", f"--model_dir={tmp_path}/run") == 0
    monkeypatch.setattr(hf_conversion, "_copy_tokenizer", fail)
    assert run(export_hf, f"--checkpoint={tmp_path}/run", f"--out={tmp_path}/a/out") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_exists_is_not_overwritten_and_odd_flags_are_one_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(import_hf, f"--weights={made}", f"--model_dir={made}") == 2
    assert "exists already; choose another folder with --model_dir" in capsys.readouterr().err
    assert run(import_hf, f"--weights={made}", f"--model_dir={tmp_path}/run") == 0
    capsys.readouterr()
    for flags, message in (
        ([f"--out={made}"], "exists already; choose another folder with --out"),
        (["--shard_gb=0", f"--out={tmp_path}/out"], "--shard_gb=0.0: expected more than 0"),
        (["--shard_gb=inf", f"--out={tmp_path}/out"], "--shard_gb=inf: expected more than 0, and no more"),
        (["--out=."], "--out=.: is the current folder; expected one that does not exist yet"),
        (["--dtype=int8", f"--out={tmp_path}/out"], "--dtype=int8 is no known type"),
        (["--uot=x"], "unknown argument '--uot=x'. Did you mean '--out'"),
    ):
        assert run(export_hf, f"--checkpoint={tmp_path}/run", *flags) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    (tmp_path / "run/tokenizer.json").write_text((made / "tokenizer.json").read_text() + "\n")
    assert run(export_hf, f"--checkpoint={tmp_path}/run", f"--out={tmp_path}/out") == 2
    assert "not the tokenizer with which" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["import_hf", "export_hf"])
def test_help_waits_for_no_heavy_import(name: str) -> None:
    code = (
        f"import sys; from agentbank_jax.commands.{name} import main\n"
        "try: main(['--help'])\n"
        "finally: print([name for name in ('jax', 'orbax', 'tensorflow', 'seqio') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0 and result.stdout.strip().endswith("[]"), result.stdout


def test_import_and_export_need_neither_tensorflow_nor_seqio(made: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom agentbank_jax.commands import export_hf, import_hf\n"
        f"import_hf.main(['--weights={made}', '--model_dir={tmp_path}/run'])\n"
        f"export_hf.main(['--checkpoint={tmp_path}/run', '--out={tmp_path}/out'])\n"
        "print([name for name in ('tensorflow', 'seqio', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0 and result.stdout.strip().endswith("[]"), result.stdout + result.stderr
