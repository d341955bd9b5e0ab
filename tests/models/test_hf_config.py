"""`config.json`: the forms that were published, and refusals that name the key."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.hf_config import config_json, generation_json, read_config
from agentbank_jax.models.llama_config import LlamaConfig
from tests.models.made_hf import LLAMA, QWEN2

LLAMA3_ROPE = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def read(folder: Path, values: Any) -> LlamaConfig:
    (folder / "config.json").write_text(values if isinstance(values, str) else json.dumps(values))
    return read_config(folder).model


def test_the_sizes_are_read(tmp_path: Path) -> None:
    model = read(tmp_path, {**LLAMA, "torch_dtype": "bfloat16"})
    assert model == LlamaConfig(
        vocab_size=24, hidden_size=16, intermediate_size=20, num_layers=2, num_heads=4, num_kv_heads=2,
        max_position_embeddings=64, dtype="bfloat16", param_dtype="bfloat16",
    )  # fmt: skip
    assert read(tmp_path, {**LLAMA, "head_dim": 8}).head_dim == 8
    without = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert read(tmp_path, without).num_kv_heads == 4


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3_ROPE}},
        {"rope_theta": 5e5, "rope_scaling": {"type": "llama3", **LLAMA3_ROPE}},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", **LLAMA3_ROPE}},
    ],
)
def test_scaling_is_read_from_old_and_new_files(rope: dict[str, Any], tmp_path: Path) -> None:
    model = read(tmp_path, {**LLAMA, "rope_theta": 1.0, **rope})
    assert (model.rope_theta, model.rope_scaling, model.rope_factor) == (5e5, "llama3", 8.0)
    assert (model.rope_low_freq_factor, model.rope_high_freq_factor, model.rope_original_max_position) == (1, 4, 8192)


def test_of_two_scalings_the_one_that_transformers_takes_is_read(tmp_path: Path) -> None:
    linear, default = {"rope_type": "linear", "factor": 4.0}, {"rope_type": "default", "rope_theta": 5e5}
    assert read(tmp_path, {**LLAMA, "rope_scaling": linear, "rope_parameters": default}).rope_scaling == "linear"
    assert read(tmp_path, {**LLAMA, "rope_scaling": None, "rope_parameters": default}).rope_theta == 5e5


def test_linear_scaling_is_read(tmp_path: Path) -> None:
    model = read(tmp_path, {**LLAMA, "rope_scaling": {"type": "linear", "factor": 4.0}})
    assert (model.rope_scaling, model.rope_factor) == ("linear", 4.0)


@pytest.mark.parametrize(
    ("values", "window"),
    [
        ({"sliding_window": None}, None),
        ({"sliding_window": 32}, 32),
        ({}, 4096),
        ({"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": False}, None),
        ({"model_type": "qwen2", "sliding_window": 32, "use_sliding_window": True}, 32),
    ],
)
def test_a_sliding_window_bounds_the_longest_conversation(
    values: dict[str, Any], window: int | None, tmp_path: Path
) -> None:
    read(tmp_path, {**LLAMA, "model_type": "mistral", **values})
    found = read_config(tmp_path)
    assert found.sliding_window == window
    assert found.model.max_position_embeddings == min(64, window or 64)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "holds a list; expected a JSON object"),
        ({**LLAMA, "model_type": "gemma"}, "model_type is 'gemma', which is not built. Known: llama, mistral"),
        ({**LLAMA, "model_type": "lama"}, "Did you mean 'llama'"),
        ({k: v for k, v in LLAMA.items() if k != "model_type"}, "model_type is None"),
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "hidden_size is missing; expected a number"),
        ({**LLAMA, "hidden_size": "16"}, 'hidden_size is "16"; expected a number'),
        ({**LLAMA, "hidden_size": 16.5}, "hidden_size is 16.5; expected a whole number"),
        ({**LLAMA, "vocab_size": True}, "vocab_size is true; expected a number"),
        ({**LLAMA, "num_attention_heads": 3, "num_key_value_heads": 3}, "not a multiple of num_heads=3"),
        ({**LLAMA, "num_key_value_heads": 3}, "not a multiple of num_kv_heads=3"),
        ({**QWEN2, "num_key_value_heads": None}, "num_key_value_heads is null; expected a number"),
        (
            {**LLAMA, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
            '"yarn", which is not built. Known: default, li',
        ),
        ({**LLAMA, "rope_parameters": {"rope_type": "dynamic"}}, 'rope_parameters has the type "dynamic"'),
        (
            {**LLAMA, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
            "low_freq_factor is missing in rope_scaling",
        ),
        ({**LLAMA, "rope_scaling": {"type": "linear", "factor": 0.5}}, "rope_factor=0.5: expected at least 1"),
        ({**LLAMA, "rope_scaling": 4}, "rope_scaling is 4; expected one object for all layers"),
        ({**LLAMA, "rope_parameters": {"full_attention": {"rope_theta": 5e5}}}, "expected one object for all layers"),
        ({**LLAMA, "rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5 in rope_param"),
        ({**LLAMA, "rope_theta": 0}, "rope_theta=0.0: expected more than 0"),
        ({**LLAMA, "rms_norm_eps": -1e-5}, "rms_norm_eps=-1e-05: expected 0 or more"),
        ({**LLAMA, "max_position_embeddings": 0}, "max_position_embeddings=0: expected at least 1"),
        ({**LLAMA, "head_dim": -4}, "head_dim=-4: expected 0 or more"),
        ({**LLAMA, "hidden_act": "gelu"}, 'hidden_act is "gelu"; only "silu" is supported'),
        ({**LLAMA, "attention_bias": True}, "attention_bias is true; only false is supported"),
        ({**LLAMA, "quantization_config": {"bits": 4}}, "quantization_config is .*; only null is supported"),
        ({**LLAMA, "torch_dtype": "float8_e4m3fn"}, 'torch_dtype is "float8_e4m3fn"; expected float32'),
        ({**LLAMA, "tie_word_embeddings": "yes"}, 'tie_word_embeddings is "yes"; expected true or false'),
    ],
)
def test_an_odd_file_is_one_line_that_names_it(values: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=message) as raised:
        read(tmp_path, values)
    assert str(raised.value).startswith(f"{tmp_path}/config.json: ") and "\n" not in str(raised.value)


def test_a_folder_without_the_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=r"config.json does not exist; expected the folder of a Hugging Face"):
        read_config(tmp_path)


@pytest.mark.parametrize("values", [LLAMA, QWEN2, {**LLAMA, "model_type": "mistral", "sliding_window": None}])
@pytest.mark.parametrize("rope", [None, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "llama3", **LLAMA3_ROPE}])
def test_what_is_written_is_read_again(values: dict[str, Any], rope: Any, tmp_path: Path) -> None:
    model = read(tmp_path, {**values, "rope_scaling": rope})
    written = config_json(model, bos_id=1, stop_ids=[2, 7])
    assert read(tmp_path, written) == model
    assert written["model_type"] == values["model_type"] and written["eos_token_id"] == [2, 7]
    assert generation_json(bos_id=None, stop_ids=[2]) == {"bos_token_id": None, "eos_token_id": 2}
