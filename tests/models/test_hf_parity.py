"""Models of `transformers`, imported and compared, and exports that `transformers` loads; `make test-parity`."""

from pathlib import Path

import jax
import numpy as np
import pytest

from agentbank_jax.models.hf_export import write_checkpoint
from agentbank_jax.models.hf_names import hf_tensors, leaf_at

torch = pytest.importorskip("torch", reason="needs the extra [parity]")
transformers = pytest.importorskip("transformers")
# After the lines above: it imports PyTorch.
from tests.models.reference_models import MODELS, jax_loss, load, make_reference, rows  # noqa: E402


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
