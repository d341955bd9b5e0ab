"""What a server can be told to serve."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.lora import LoraConfig, merge, split
from agentbank_jax.models.peft_adapter import read_adapter, write_adapter
from agentbank_jax.serving.served_model import load_served_model, made_model
from agentbank_jax.training.best_checkpoint import Best, write_best
from agentbank_jax.training.trained_models import load_for_inference
from tests.evaluation.made_run import make_run, save_steps
from tests.models.made_hf import LLAMA, made_tensors, write_made
from tests.trajectories.fake import make_trajectory
from tests.trajectories.published import LLAMA3_JINJA, LLAMA3_SPECIALS, byte_level_json, texts_of, write_checkpoint

SHAPE = {**LLAMA, "vocab_size": 600, "max_position_embeddings": 256}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("runs") / "parrot")
    save_steps(folder, 5, 7)
    write_best(folder, Best(5, "success", 0.5))
    return folder


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_made(tmp_path_factory.mktemp("weights") / "made", SHAPE, made_tensors(SHAPE))
    texts = texts_of(make_trajectory(number) for number in range(50))
    specification = byte_level_json(texts, LLAMA3_SPECIALS, 500)
    tokens = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    return write_checkpoint(folder, specification, LLAMA3_JINJA, **tokens)


@pytest.fixture(scope="module")
def adapter(hugging_face: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "small"
    folder.mkdir()
    config = read_config(hugging_face).model
    config = replace(config, lora=LoraConfig(projections="q_proj|v_proj", rank=2))
    adapters = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1, split(forward.init(config, 3))[0])
    write_adapter(folder, config, adapters, base=str(hugging_face))
    return folder


def same(first: forward.Params, second: forward.Params) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), first, second)))


def test_a_run_brings_its_last_or_best_weights_and_its_template(run: Path) -> None:
    last, best = load_served_model(str(run)), load_served_model(f"{run}@best", name="mine")
    assert last.name == "parrot" and best.name == "mine" and last.template.name == "llama2"
    assert same(last.params, load_for_inference(run / "checkpoints/7")[1])
    assert same(best.params, load_for_inference(run / "checkpoints/5")[1])


def test_a_hugging_face_folder_brings_its_own_template_or_the_named_one(hugging_face: Path) -> None:
    served = load_served_model(str(hugging_face))
    assert served.name == "made" and served.template.name == "hf" and served.config.param_dtype == "float32"
    half = load_served_model(str(hugging_face), template="llama3", dtype="bfloat16")
    assert half.template.name == "llama3" and half.config.dtype == "bfloat16"
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half.params)} == {"bfloat16"}


def test_an_adapter_is_merged_whether_it_or_its_base_is_named(hugging_face: Path, adapter: Path) -> None:
    base = load_served_model(str(hugging_face))
    adapted, adapters = read_adapter(adapter, base.config)
    assert adapted.lora
    expected = merge(adapted.lora, base.params, adapters)
    for served in (load_served_model(str(adapter)), load_served_model(str(hugging_face), adapter=str(adapter))):
        assert served.name == "small" and not served.config.lora
        assert same(served.params, expected) and not same(served.params, base.params)


def test_the_made_model_is_the_same_each_time(model) -> None:
    again = made_model()
    assert same(again.params, model.params) and again.tokenizer.fingerprint == model.tokenizer.fingerprint


def test_what_does_not_fit_is_one_line(run: Path, hugging_face: Path, adapter: Path, tmp_path: Path) -> None:
    def refused(message: str, checkpoint: Path | None, **others: str) -> None:
        with pytest.raises(AgentBankError, match=message):
            load_served_model(str(checkpoint) if checkpoint else None, **others)  # type: ignore[arg-type]

    refused("--template=llama3: .* brings its own", run, template="llama3")
    refused("--adapter=.*: .* no Hugging Face checkpoint", run, adapter=str(adapter))
    refused("--adapter=x: belongs to a checkpoint", None, adapter="x")
    refused("Did you mean 'llama3'", hugging_face, template="lama3")
    refused("Did you mean 'bfloat16'", hugging_face, dtype="bfloat")
    refused("is an adapter itself", adapter, adapter=str(adapter))
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((adapter / name).read_bytes())
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**values, "base_model_name_or_path": "meta/llama"}))
    refused("belongs to 'meta/llama', which is no folder", tmp_path)
    (run / "tokenizer.model").rename(run / "kept")
    refused("no tokenizer in this folder", run)
    (run / "kept").rename(run / "tokenizer.model")
