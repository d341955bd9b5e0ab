"""Models of `transformers`, imported and compared, and exports that `transformers` loads; `make test-parity`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_export import write_checkpoint
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.models.hf_names import hf_tensors, leaf_at
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import state_shardings

torch = pytest.importorskip("torch", reason="needs the extra [parity]")
transformers = pytest.importorskip("transformers")

SHAPE = {
    "vocab_size": 99,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
}
LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}  # fmt: skip
MODELS = {
    "llama2": ("Llama", {"num_key_value_heads": 6, "rms_norm_eps": 1e-5}),
    "codellama": ("Llama", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 1e6}}),
    "llama3": ("Llama", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 5e5, **LLAMA3_ROPE}}),
    "llama3.2": (
        "Llama",
        {
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_theta": 5e5, **LLAMA3_ROPE, "factor": 32.0},
        },
    ),
    "linear": ("Llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}}),
    "tinyllama": ("Llama", {"num_key_value_heads": 1, "rms_norm_eps": 1e-5}),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "sliding_window": None, "rope_parameters": {"rope_theta": 1e6}}),
    "qwen2.5": ("Qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen2.5-7b": ("Qwen2", {"num_key_value_heads": 2, "rope_parameters": {"rope_theta": 1e6}}),
}


def make_reference(name: str, folder: Path, **options):
    """A model of `transformers` with random weights, saved; norms and biases are random too."""
    family, values = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**SHAPE, **values, attn_implementation="eager")
    torch.manual_seed(7)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key or key.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder, **options)
    return model


def load(folder: Path):
    config = read_config(folder).model
    shardings = state_shardings(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1]), forward.abstract_params(config))
    return config, open_checkpoint(folder, config).load(shardings, "float32")


def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, SHAPE["vocab_size"], (2, 100), dtype=np.int32)


def jax_loss(config, params, tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    logits, _ = forward.apply(config, params, tokens, positions)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=-1)
    return -chosen.mean(), logits


@pytest.mark.parametrize("name", MODELS)
def test_an_imported_model_has_the_logits_and_gradients_of_the_original(name: str, tmp_path: Path) -> None:
    # Shards small enough that the layers lie in several files.
    model = make_reference(name, tmp_path, max_shard_size="50KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    tokens = rows()
    output = model(torch.tensor(tokens, dtype=torch.long), labels=torch.tensor(tokens, dtype=torch.long))
    output.loss.backward()
    config, params = load(tmp_path)
    (_, logits), grads = jax.jit(jax.value_and_grad(jax_loss, argnums=1, has_aux=True), static_argnums=0)(
        config, params, tokens
    )
    assert np.abs(np.asarray(logits) - output.logits.detach().numpy()).max() <= 1e-4
    expected = dict(model.named_parameters())
    for tensor in hf_tensors(config):
        grad = np.asarray(leaf_at(grads, tensor.path))
        grad = grad if tensor.layer is None else grad[tensor.layer]
        reference = expected[tensor.name].grad.numpy()
        difference = np.linalg.norm((grad.T if tensor.transposed else grad) - reference)
        assert difference <= 1e-3 * np.linalg.norm(reference), tensor.name


@pytest.mark.parametrize("name", MODELS)
def test_transformers_loads_the_export_and_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model = make_reference(name, tmp_path / "original")
    config, params = load(tmp_path / "original")
    exported = tmp_path / "exported"
    exported.mkdir()
    write_checkpoint(exported, config, params, bos_id=1, stop_ids=(2, 5), shard_bytes=40_000)
    again = transformers.AutoModelForCausalLM.from_pretrained(exported, attn_implementation="eager").eval()
    assert type(again) is type(model)
    assert again.generation_config.eos_token_id == [2, 5] and again.generation_config.bos_token_id == 1
    tokens = torch.tensor(rows(), dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, model(tokens).logits)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_arrives_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    model = make_reference("qwen2.5-7b", tmp_path).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    config, params = load(tmp_path)
    assert config.param_dtype == dtype
    for tensor in hf_tensors(config):
        value = np.asarray(leaf_at(params, tensor.path))
        value = value if tensor.layer is None else value[tensor.layer]
        expected = model.get_parameter(tensor.name).detach().float().numpy()
        np.testing.assert_array_equal(value.T if tensor.transposed else value, expected)
