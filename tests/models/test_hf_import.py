"""Hand-made checkpoints: where each tensor arrives, and that whatever does not fit is named."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_export import write_checkpoint, write_tensors
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings
from tests.models.made_hf import LLAMA, QWEN2, made_tensors, write_made

ROOT = Path(__file__).parents[2]


def load(folder: Path, dtype: str = "float32") -> Any:
    config = read_config(folder).model
    shardings = state_shardings(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1]), forward.abstract_params(config))
    return open_checkpoint(folder, config).load(shardings, dtype)


def expected_params(config: dict[str, Any], tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The same parameters put together by hand."""

    def stack(name: str, transpose: bool = True) -> np.ndarray:
        each = [tensors[f"model.layers.{layer}.{name}"] for layer in range(config["num_hidden_layers"])]
        return np.stack([tensor.T if transpose else tensor for tensor in each])

    attention = {
        name: {"kernel": stack(f"self_attn.{name}.weight")} for name in ("q_proj", "k_proj", "v_proj", "o_proj")
    }
    if config["model_type"] == "qwen2":
        for name in ("q_proj", "k_proj", "v_proj"):
            attention[name]["bias"] = stack(f"self_attn.{name}.bias", transpose=False)
    params = {
        "embed_tokens": {"embedding": tensors["model.embed_tokens.weight"]},
        "layers": {
            "input_layernorm": {"scale": stack("input_layernorm.weight", transpose=False)},
            "post_attention_layernorm": {"scale": stack("post_attention_layernorm.weight", transpose=False)},
            "self_attn": attention,
            "mlp": {name: {"kernel": stack(f"mlp.{name}.weight")} for name in ("gate_proj", "up_proj", "down_proj")},
        },
        "norm": {"scale": tensors["model.norm.weight"]},
    }
    if not config["tie_word_embeddings"]:
        params["lm_head"] = {"kernel": tensors["lm_head.weight"].T}
    return params


@pytest.mark.parametrize("config", [LLAMA, QWEN2], ids=["llama", "qwen2"])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_tensor_arrives_where_it_belongs(config: dict[str, Any], shards: int, tmp_path: Path) -> None:
    tensors = made_tensors(config)
    params = load(write_made(tmp_path, config, tensors, shards=shards))
    jax.tree.map(np.testing.assert_array_equal, params, expected_params(config, tensors))


@pytest.mark.parametrize("stored", [np.float16, ml_dtypes.bfloat16])
def test_tensors_are_converted_to_the_wanted_type(stored: Any, tmp_path: Path) -> None:
    tensors = made_tensors(LLAMA, stored)
    write_made(tmp_path, LLAMA, tensors)
    wide = load(tmp_path, "float32")
    jax.tree.map(
        lambda got, want: np.testing.assert_array_equal(got, want.astype(np.float32)),
        wide,
        expected_params(LLAMA, tensors),
    )
    assert {leaf.dtype.name for leaf in jax.tree.leaves(load(tmp_path, "bfloat16"))} == {"bfloat16"}
    name = np.dtype(stored).name
    assert open_checkpoint(tmp_path, read_config(tmp_path).model).dtype == name


@pytest.mark.parametrize("config", [LLAMA, QWEN2], ids=["llama", "qwen2"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_export_then_import_is_bit_exact(config: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    written = {**config, "torch_dtype": dtype}
    write_made(tmp_path / "a", written, made_tensors(config, np.dtype(dtype)))
    model, params = read_config(tmp_path / "a").model, load(tmp_path / "a", dtype)
    (tmp_path / "b").mkdir()
    files = write_checkpoint(tmp_path / "b", model, params, bos_id=1, stop_ids=[2], shard_bytes=2000)
    assert len(files) > 3
    assert {file.stat().st_mode for file in files} == {(tmp_path / "b/config.json").stat().st_mode}
    assert read_config(tmp_path / "b").model == model
    jax.tree.map(np.testing.assert_array_equal, load(tmp_path / "b", dtype), params)


def test_rotary_tables_of_old_checkpoints_and_a_tied_head_are_passed_over(tmp_path: Path) -> None:
    tensors = made_tensors(QWEN2)
    extra = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32) for n in range(2)}
    extra["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    params = load(write_made(tmp_path / "a", QWEN2, {**tensors, **extra}))
    jax.tree.map(np.testing.assert_array_equal, params, expected_params(QWEN2, tensors))
    extra["lm_head.weight"][3, 4] += 1
    with pytest.raises(AgentBankError, match=r"lm_head.weight differs from model.embed_tokens.weight.*tie_word"):
        load(write_made(tmp_path / "b", QWEN2, {**tensors, **extra}))


def test_all_that_does_not_map_is_named_in_one_error(tmp_path: Path) -> None:
    tensors = made_tensors(LLAMA)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    tensors["model.layers.0.self_attn.q_proj.bias"] = np.zeros(16, np.float32)
    tensors["model.layers.2.input_layernorm.weight"] = np.zeros(16, np.float32)
    tensors["model.layers.0.mlp.down_proj.weight"] = np.zeros((20, 16), np.float32)
    tensors["model.norm.weight"] = np.zeros(16, np.int8)
    with pytest.raises(AgentBankError) as raised:
        load(write_made(tmp_path, LLAMA, tensors))
    assert str(raised.value).split("\n") == [
        f"{tmp_path}: 5 tensors do not fit the model of its config.json:",
        "  model.layers.1.mlp.up_proj.weight: missing",
        "  model.layers.0.mlp.down_proj.weight: shape [20, 16], expected [16, 20]",
        "  model.layers.0.self_attn.q_proj.bias: no parameter of the model",
        "  model.layers.2.input_layernorm.weight: no parameter of the model",
        "  model.norm.weight: type I8, expected F32, BF16, F16",
    ]


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    tensors = made_tensors(LLAMA)
    config = {**LLAMA, "num_hidden_layers": 12}
    with pytest.raises(AgentBankError, match=r"90 tensors do not fit(.|\n)*layers\.2\.(.|\n)*… and 70 more"):
        load(write_made(tmp_path, config, tensors))


def damage(folder: Path, kind: str) -> None:
    first, index = folder / "model-00001-of-00003.safetensors", folder / "model.safetensors.index.json"
    if kind == "cut":
        first.write_bytes(first.read_bytes()[:-10])
    elif kind == "cut in the header":
        first.write_bytes(first.read_bytes()[:100])
    elif kind == "empty":
        first.write_bytes(b"")
    elif kind == "pointer":
        first.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    elif kind == "missing shard":
        first.unlink()
    elif kind == "missing index":
        index.unlink()
    elif kind == "index is no index":
        index.write_text("[]")
    elif kind == "index leads elsewhere":
        index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    elif kind == "index is cut":
        index.write_text(index.read_text()[:-3])
    elif kind == "twice":
        (folder / "model-00002-of-00003.safetensors").write_bytes(first.read_bytes())
    else:
        for file in folder.glob("model*"):
            file.unlink()
        if kind == "pickle":
            (folder / "pytorch_model-00001-of-00002.bin").touch()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", r"model-00001-of-00003.safetensors: no whole safetensors file \(.*\); download it again"),
        ("cut in the header", "no whole safetensors file"),
        ("empty", "no whole safetensors file"),
        ("pointer", "no whole safetensors file"),
        ("missing shard", r"1 of 3 shards are missing \(model-00001-of-00003.safetensors\); download"),
        ("missing index", "holds model-00001-of-00003.safetensors but no model.safetensors.index.json"),
        ("index is no index", "index.json: expected"),
        ("index is cut", "index.json: expected"),
        ("index leads elsewhere", "file in the same folder"),
        ("twice", "is in model-00001-of-00003.safetensors too"),
        ("pickle", r"pytorch_model-00001-of-00002.bin, a pickle.*save_pretrained"),
        ("nothing", "no weights; expected model.safetensors"),
    ],
)
def test_damaged_files_are_one_line(kind: str, message: str, tmp_path: Path) -> None:
    write_made(tmp_path, LLAMA, made_tensors(LLAMA), shards=3)
    damage(tmp_path, kind)
    with pytest.raises(AgentBankError, match=message) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_tensors(tmp_path / "model.safetensors", {"a": np.zeros(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_made(tmp_path, LLAMA, made_tensors(LLAMA))
    config = read_config(tmp_path).model

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AgentBankError, match=r"model.safetensors: cannot be read \(Permission denied\)"):
        open_checkpoint(tmp_path, config)


MESHES = """
import sys
import jax, numpy as np
from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings

config = read_config(sys.argv[1]).model
checkpoint = open_checkpoint(sys.argv[1], config)

def load(mesh):
    shardings = state_shardings(mesh, forward.abstract_params(config))
    params = checkpoint.load(shardings, "bfloat16")
    assert jax.tree.all(jax.tree.map(lambda leaf, sharding: leaf.sharding == sharding, params, shardings))
    return params

one = load(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1]))
many = load(make_mesh(MeshConfig(data=1, fsdp=4, tensor=2)))
kernel = many["layers"]["mlp"]["up_proj"]["kernel"]
assert kernel.addressable_shards[0].data.shape == (2, 4, 10), kernel.addressable_shards[0].data.shape
jax.tree.map(np.testing.assert_array_equal, one, many)
print("equal")
"""


def test_on_8_devices_each_holds_its_part_and_together_they_hold_the_same(tmp_path: Path) -> None:
    write_made(tmp_path, QWEN2, made_tensors(QWEN2), shards=2)
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", MESHES, tmp_path], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "equal\n", done.stderr
