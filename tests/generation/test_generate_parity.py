"""Generation against `generate` of `transformers`, token by token; `make test-parity`."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.requests import GenerationRequest, SamplingParams
from agentbank_jax.generation.sampling import Sampler, kept
from agentbank_jax.models import forward
from agentbank_jax.models.hf_export import write_checkpoint
from agentbank_jax.models.llama_config import LlamaConfig

torch = pytest.importorskip("torch", reason="needs the extra [parity]")
transformers = pytest.importorskip("transformers")
# After the lines above: they import PyTorch.
from transformers.generation import logits_process  # noqa: E402

from tests.models.reference_models import SHAPE, jax_loss, load, make_reference  # noqa: E402

NEW = 24


def prompts(count: int, vocab_size: int) -> list[list[int]]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, vocab_size, rng.integers(2, 60)).tolist() for _ in range(count)]


def generate(model, ids: list[int], stop_ids: list[int]):
    """Greedy tokens of `transformers`, and the logits that each was taken from."""
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=stop_ids,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return output.sequences[0, len(ids) :].tolist(), torch.cat(output.logits).log_softmax(-1).numpy()


def compare(model, config: LlamaConfig, params: forward.Params, count: int) -> int:
    """Compares the replies to some prompts, and returns how many of them a stop id ended."""
    stop_ids = [2, 5]
    engine = Engine(config, params, stop_ids=stop_ids, slots=16, max_length=128)
    sampling = SamplingParams(max_new_tokens=NEW, logprobs=2)
    texts = prompts(count, config.vocab_size)
    requests = [GenerationRequest(id=str(n), ids=ids, sampling=sampling) for n, ids in enumerate(texts)]
    stopped = 0
    for ids, delta in zip(texts, engine.generate(requests), strict=True):
        generation = delta.generation
        assert generation is not None
        expected, log_probabilities = generate(model, ids, stop_ids)
        assert list(generation.ids) == expected
        found = [place.logprob for place in generation.logprobs]
        np.testing.assert_allclose(found, log_probabilities[range(len(expected)), expected], atol=1e-4, rtol=0)
        seconds = [place.top[1][1] for place in generation.logprobs]
        np.testing.assert_allclose(seconds, np.sort(log_probabilities)[:, -2], atol=1e-4, rtol=0)
        stopped += generation.finish == "stop"
    return stopped


@pytest.mark.parametrize("name", ["llama3", "qwen2.5"])
def test_greedy_tokens_of_100_prompts_are_those_of_transformers_with_their_log_probabilities(
    name: str, tmp_path: Path
) -> None:
    model = make_reference(name, tmp_path)
    assert 0 < compare(model, *load(tmp_path), 100) < 100


def test_greedy_tokens_of_a_trained_model_are_those_of_transformers(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=SHAPE["vocab_size"], hidden_size=48, intermediate_size=96, num_layers=2, num_heads=4,
        num_kv_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    params = trained(config)
    write_checkpoint(tmp_path, config, params, bos_id=1, stop_ids=(2, 5))
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    compare(model, config, params, 100)
    engine = Engine(config, params, stop_ids=(2,), slots=1, max_length=128)
    (delta,) = engine.generate(
        [GenerationRequest(id="a", ids=[7, 10, 13, 16], sampling=SamplingParams(max_new_tokens=4))]
    )
    # It has learned what it was trained on: to count on in steps.
    assert delta.generation is not None and delta.generation.ids == (19, 22, 25, 28)


def trained(config: LlamaConfig) -> forward.Params:
    """Parameters of a model that has learned to count in steps of 1 to 5."""
    params = forward.init(config, 0)
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, state, tokens):
        (loss, _), grads = jax.value_and_grad(partial(jax_loss, config), has_aux=True)(params, tokens)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss

    rng, state = np.random.default_rng(0), optimizer.init(params)
    for _ in range(150):
        starts, steps = rng.integers(0, 60, (32, 1)), rng.integers(1, 6, (32, 1))
        tokens = (starts + steps * np.arange(24)) % config.vocab_size
        params, state, loss = step(params, state, jnp.asarray(tokens, jnp.int32))
    assert loss < 0.5
    return params


def test_what_is_kept_of_a_distribution_is_what_transformers_keeps() -> None:
    logits = np.random.default_rng(0).normal(size=(64, 50)).astype(np.float32) * 3
    for top_k, top_p, min_p in [(0, 1.0, 0.0), (5, 1.0, 0.0), (0, 0.8, 0.0), (0, 1.0, 0.1), (20, 0.9, 0.02)]:
        sampling = SamplingParams(temperature=0.7, top_k=top_k, top_p=top_p, min_p=min_p)
        scores = torch.tensor(logits) / 0.7
        for warper in (
            logits_process.TopKLogitsWarper(top_k or 50),
            logits_process.TopPLogitsWarper(top_p),
            logits_process.MinPLogitsWarper(min_p),
        ):
            scores = warper(None, scores)
        ours = kept(jnp.asarray(logits) / 0.7, Sampler.of([sampling] * 64))
        np.testing.assert_array_equal(np.asarray(ours), np.isfinite(scores.numpy()))
