"""Adapters written here and read by `peft`, and the other way; `make test-parity`."""

from pathlib import Path

import jax
import numpy as np
import pytest

from agentbank_jax.models import forward, lora
from agentbank_jax.models.hf_names import leaf_at, peft_tensors
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.models.peft_adapter import read_adapter, write_adapter

torch = pytest.importorskip("torch", reason="needs the extra [parity]")
peft = pytest.importorskip("peft", reason="needs the extra [parity]")
# After the lines above: it imports PyTorch.
from tests.models.reference_models import jax_loss, load, make_reference, rows  # noqa: E402

ADAPTERS = {
    "all": {"projections": ".*_proj", "rank": 4, "alpha": 8.0},
    "rank-stabilised": {"projections": "q_proj|v_proj|down_proj", "rank": 3, "alpha": 2.0, "rank_stabilised": True},
}


def logits(config: LlamaConfig, params) -> np.ndarray:
    tokens = rows()
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    return np.asarray(jax.jit(forward.apply, static_argnums=0)(config, params, tokens, positions)[0])


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", ["llama3.2", "qwen2.5"])
def test_an_adapter_written_here_has_the_same_logits_in_peft(name: str, adapter: str, tmp_path: Path) -> None:
    model = make_reference(name, tmp_path / "base")
    config, base = load(tmp_path / "base")
    config = LlamaConfig(**{**vars(config), "lora": LoraConfig(dropout=0.1, **ADAPTERS[adapter])})
    fresh, _ = lora.split(forward.init(config, 1))
    adapters = jax.tree.map(lambda leaf: leaf + 0.1 * np.sin(np.arange(leaf.size)).reshape(leaf.shape), fresh)
    written = tmp_path / "adapter"
    written.mkdir()
    write_adapter(written, config, adapters, base=str(tmp_path / "base"))
    adapted = peft.PeftModel.from_pretrained(model, written).eval()
    assert adapted.peft_config["default"].base_model_name_or_path == str(tmp_path / "base")
    tokens = torch.tensor(rows(), dtype=torch.long)
    with torch.no_grad():
        expected = adapted(tokens).logits.numpy()
        with adapted.disable_adapter():
            assert np.abs(adapted(tokens).logits.numpy() - expected).max() > 0.1
    assert np.abs(logits(config, lora.join(base, adapters)) - expected).max() <= 1e-4
    again, read = read_adapter(written, config.base)
    assert again.lora.names == config.lora.names and again.lora.scale == config.lora.scale
    jax.tree.map(np.testing.assert_array_equal, read, adapters)


def test_an_adapter_of_peft_has_the_same_logits_here_applied_and_merged(tmp_path: Path) -> None:
    model = make_reference("llama2", tmp_path / "base")
    config, base = load(tmp_path / "base")
    settings = peft.LoraConfig(r=5, lora_alpha=7, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM",
                               init_lora_weights=False)  # fmt: skip
    adapted = peft.get_peft_model(model, settings).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = adapted(torch.tensor(rows(), dtype=torch.long)).logits.numpy()
    found, adapters = read_adapter(tmp_path / "adapter", config)
    assert found.lora.names == lora.PROJECTIONS and found.lora.dropout == 0.1
    assert np.abs(logits(found, lora.join(base, adapters)) - expected).max() <= 1e-4
    assert np.abs(logits(config, lora.merge(found.lora, base, adapters)) - expected).max() <= 1e-4


def test_gradients_of_an_adapter_are_those_of_peft(tmp_path: Path) -> None:
    model = make_reference("llama2", tmp_path / "base")
    config, base = load(tmp_path / "base")
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    adapted = peft.get_peft_model(model, settings)
    adapted.save_pretrained(tmp_path / "adapter")
    tokens = rows()
    adapted(torch.tensor(tokens, dtype=torch.long), labels=torch.tensor(tokens, dtype=torch.long)).loss.backward()
    found, adapters = read_adapter(tmp_path / "adapter", config)

    def loss(adapters):
        return jax_loss(found, lora.join(base, adapters), tokens)[0]

    grads = jax.jit(jax.grad(loss))(adapters)
    expected = {name.replace(".default", ""): value.grad for name, value in adapted.named_parameters()}
    for tensor in peft_tensors(found):
        got, reference = np.asarray(leaf_at(grads, tensor.path))[tensor.layer].T, expected[tensor.name].numpy()
        assert np.linalg.norm(got - reference) <= 1e-3 * np.linalg.norm(reference), tensor.name
