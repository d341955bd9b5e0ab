"""A Hugging Face `config.json` as a `LlamaConfig`, and back."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models.llama_config import DTYPES, FAMILIES, LlamaConfig

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"

# `LlamaConfig` field → key of config.json; all must be there.
_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "max_position_embeddings": "max_position_embeddings",
}
_ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}
# `LlamaConfig` field → key of rope_parameters, for the scaling "llama3".
_LLAMA3_ROPE = {
    "rope_factor": "factor",
    "rope_low_freq_factor": "low_freq_factor",
    "rope_high_freq_factor": "high_freq_factor",
    "rope_original_max_position": "original_max_position_embeddings",
}
# Values that change what a model computes, and the only one that is computed here.
_FIXED: dict[str, object] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}


@dataclass(frozen=True, kw_only=True)
class HfConfig:
    """What a checkpoint's `config.json` says.

    Fields:
      model: the model's shape; `dtype` and `param_dtype` are those of the file, float32 where it names none.
      sliding_window: tokens that a token sees back, itself included; None where it sees all. Rows of at most so
        many tokens are the same with and without: `model.max_position_embeddings` is no more than that.
      path: the file.
    """

    model: LlamaConfig
    sliding_window: int | None
    path: Path


def read_config(folder: str | os.PathLike[str]) -> HfConfig:
    """Reads `config.json`, as any version of `transformers` wrote it.

    Raises:
      AgentBankError: missing, malformed, or of a model that computes something else.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise AgentBankError(
            f"{path} does not exist; expected the folder of a Hugging Face checkpoint ({CONFIG_FILE}, "
            "*.safetensors and the tokenizer), as `hf download NAME --local-dir FOLDER` makes one."
        ) from None
    except (OSError, ValueError) as error:
        raise AgentBankError(f"{path}: cannot be read ({error}); expected a JSON object.") from None
    if not isinstance(values, dict):
        raise AgentBankError(f"{path}: holds a {type(values).__name__}; expected a JSON object.")
    try:
        return _parse(values, path)
    except AgentBankError as error:
        raise AgentBankError(f"{path}: {error}") from None


def _parse(values: Mapping[str, Any], path: Path) -> HfConfig:
    family = values.get("model_type")
    if family not in FAMILIES:
        raise AgentBankError(f"model_type is {family!r}, which is not built.{did_you_mean(str(family), FAMILIES)}")
    if values.get("auto_map"):
        raise AgentBankError(
            f"auto_map names code of the model's own ({_short(values['auto_map'])}), which is not run; where the model "
            f"computes what {family} does, take auto_map out."
        )
    for key, expected in _FIXED.items():
        # Qwen2 has its bias without saying so, and some of its files say so.
        if family == "qwen2" and key == "attention_bias":
            continue
        value = values.get(key, expected)
        if value not in (expected, None):
            raise AgentBankError(f"{key} is {_short(value)}; only {_short(expected)} is supported.")
    fields: dict[str, Any] = {name: _integer(values, key) for name, key in _SIZES.items()}
    heads = values.get("num_key_value_heads")
    if heads is not None or family != "llama":  # where it is missing only Llama has as many as query heads
        fields["num_kv_heads"] = _integer(values, "num_key_value_heads")
    if values.get("head_dim") is not None:
        fields["head_dim"] = _integer(values, "head_dim")
    window = _window(values, family)
    if window is not None:
        fields["max_position_embeddings"] = min(window, fields["max_position_embeddings"])
    dtype = values.get("dtype") or values.get("torch_dtype") or "float32"
    if dtype not in DTYPES:
        raise AgentBankError(f"torch_dtype is {_short(dtype)}; expected {', '.join(DTYPES)}.")
    tied = values.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise AgentBankError(f"tie_word_embeddings is {_short(tied)}; expected true or false.")
    model = LlamaConfig(
        **fields,
        **_rope(values),
        rms_norm_eps=_number(values, "rms_norm_eps"),
        tie_word_embeddings=tied,
        family=family,
        dtype=dtype,
        param_dtype=dtype,
    )
    return HfConfig(model=model, sliding_window=window, path=path)


def _window(values: Mapping[str, Any], family: str) -> int | None:
    """The sliding window, where the model has one."""
    # Mistral has one of 4,096 unless its file says otherwise; Qwen2 only where its file switches it on.
    if family == "mistral" and "sliding_window" not in values:
        return 4096
    if values.get("sliding_window") is None or not values.get("use_sliding_window", family == "mistral"):
        return None
    return _integer(values, "sliding_window")


def _rope(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `LlamaConfig` from `rope_parameters`, or from `rope_theta` and `rope_scaling` of older files."""
    # In this order, where a file has both, in transformers too.
    key = "rope_scaling" if values.get("rope_scaling") else "rope_parameters"
    parameters = values.get(key) or {}
    if not isinstance(parameters, dict) or any(isinstance(each, dict) for each in parameters.values()):
        raise AgentBankError(f"{key} is {_short(parameters)}; expected one object for all layers.")
    if parameters.get("partial_rotary_factor") not in (1.0, None):
        raise AgentBankError(
            f"partial_rotary_factor is {_short(parameters['partial_rotary_factor'])} in {key}; only 1.0 is supported."
        )
    theta = _number({"rope_theta": 10000.0, **values, **parameters}, "rope_theta")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return {"rope_theta": theta}
    if kind == "linear":
        return {"rope_theta": theta, "rope_scaling": kind, "rope_factor": _number(parameters, "factor", key)}
    if kind == "llama3":
        fields: dict[str, Any] = {name: _number(parameters, each, key) for name, each in _LLAMA3_ROPE.items()}
        fields["rope_original_max_position"] = _integer(parameters, _LLAMA3_ROPE["rope_original_max_position"], key)
        return {"rope_theta": theta, "rope_scaling": kind, **fields}
    raise AgentBankError(
        f"{key} has the type {_short(kind)}, which is not built."
        + did_you_mean(str(kind), ("default", "linear", "llama3"))
    )


def config_json(config: LlamaConfig, *, bos_id: int | None, stop_ids: Sequence[int]) -> dict[str, Any]:
    """Returns the content of `config.json` for a model, in the keys that all versions of `transformers` read.

    Args:
      config: the model; its `param_dtype` is the one written.
      bos_id: id of the token at the beginning of a text.
      stop_ids: ids of the tokens that end a turn.
    """
    values: dict[str, Any] = {
        "architectures": [_ARCHITECTURES[config.family]],
        "model_type": config.family,
        **{key: getattr(config, name) for name, key in _SIZES.items()},
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": _rope_json(config),
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        "torch_dtype": config.param_dtype,
        **generation_json(bos_id=bos_id, stop_ids=stop_ids),
    }
    if config.family == "llama":
        values |= {"attention_bias": False, "mlp_bias": False}
    if config.family == "mistral":
        values["sliding_window"] = None
    if config.family == "qwen2":
        values["use_sliding_window"] = False
    return values


def generation_json(*, bos_id: int | None, stop_ids: Sequence[int]) -> dict[str, Any]:
    """Returns the content of `generation_config.json`: a text ends at the tokens that were trained to end a turn."""
    ids = [int(each) for each in stop_ids]
    return {"bos_token_id": bos_id, "eos_token_id": ids[0] if len(ids) == 1 else ids}


def _rope_json(config: LlamaConfig) -> dict[str, Any] | None:
    if config.rope_scaling == "none":
        return None
    keys = _LLAMA3_ROPE if config.rope_scaling == "llama3" else {"rope_factor": "factor"}
    return {"rope_type": config.rope_scaling, **{key: getattr(config, name) for name, key in keys.items()}}


def _integer(values: Mapping[str, Any], key: str, of: str = "") -> int:
    value = _number(values, key, of)
    if value != int(value):
        raise AgentBankError(f"{key} is {value}; expected a whole number.")
    return int(value)


def _number(values: Mapping[str, Any], key: str, of: str = "") -> float:
    if key not in values:
        raise AgentBankError(f"{key} is missing{f' in {of}' if of else ''}; expected a number.")
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise AgentBankError(f"{key} is {_short(value)}; expected a number.")
    return float(value)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
