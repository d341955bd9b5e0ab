"""A small random model, what a plain loop over it generates, and a tokenizer of bytes."""

from collections.abc import Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.model_runner import RunnerSettings
from agentbank_jax.generation.requests import Generation, GenerationRequest, SamplingParams
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig

CONFIG = LlamaConfig(
    vocab_size=61,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    max_position_embeddings=640,
)
PARAMS = forward.init(CONFIG, 7)
LENGTH = 96
# One length for all checks of the plain loop, so that it compiles once.
PADDED = 160
SETTINGS = RunnerSettings(chunk=4, decode_rows=(1,), prefill_rows=2, prefill_widths=(4, 16))


@jax.jit
def _plain_logits(tokens):
    return forward.apply(CONFIG, PARAMS, tokens, jnp.arange(PADDED)[None])[0][0]


def plain_logits(ids: Sequence[int]) -> np.ndarray:
    """Logits behind each of some ids, from one full forward pass."""
    tokens = np.zeros((1, PADDED), np.int32)
    tokens[0, : len(ids)] = ids
    return np.asarray(_plain_logits(tokens))[: len(ids)]


def plain_log_probabilities(ids: Sequence[int]) -> np.ndarray:
    """Natural log-probabilities behind each of some ids."""
    logits = plain_logits(ids).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@lru_cache(maxsize=4096)
def _plain_next(ids: tuple[int, ...]) -> int:
    return int(plain_logits(ids)[-1].argmax())


def plain_greedy(ids: Sequence[int], count: int, stop_ids: Sequence[int] = ()) -> list[int]:
    """Argmax over a full forward pass for every token: what the engine must equal."""
    conversation, new = list(ids), []
    while len(new) < count:
        token = _plain_next(tuple(conversation))
        conversation.append(token)
        new.append(token)
        if token in stop_ids:
            break
    return new


class Bytes:
    """A tokenizer whose ids are bytes of ASCII letters, and three that make one character of UTF-8 together."""

    vocab_size = 60

    def decode(self, ids: Sequence[int]) -> str:
        euro = dict(zip((57, 58, 59), "€".encode(), strict=True))
        return bytes(euro.get(token, token + 65) for token in ids).decode(errors="replace")


def make_engine(slots: int = 3, *, stop_ids: Sequence[int] = (), **others) -> Engine:
    options = {"max_length": LENGTH, "settings": SETTINGS, "tokenizer": Bytes()} | others
    return Engine(CONFIG, PARAMS, stop_ids=stop_ids, slots=slots, **options)


def make_ids(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(3, 57, size=length).tolist()


def ask(identifier: str, ids: Sequence[int], count: int = 6, conversation: str = "", **sampling) -> GenerationRequest:
    return GenerationRequest(
        id=identifier,
        ids=tuple(ids),
        conversation=conversation,
        sampling=SamplingParams(max_new_tokens=count, **sampling),
    )


def reply_of(engine: Engine, request: GenerationRequest) -> Generation:
    (delta,) = engine.generate([request])
    assert delta.generation is not None
    return delta.generation
