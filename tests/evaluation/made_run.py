"""A run's folder with untrained checkpoints, made without training."""

import io
import json
from pathlib import Path

import jax.numpy as jnp
import sentencepiece

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.state import TrainState
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer


def vocabulary(text: str) -> bytes:
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 9),
        model_writer=buffer,
        model_type="bpe",
        vocab_size=320,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return buffer.getvalue()


def make_run(folder: Path) -> Path:
    """Makes the folder with all that a run has beside its checkpoints."""
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(vocabulary("add 1 Action: add 2 Observation: The sum is 3. Final Answer:"))
    (folder / "manifest.json").write_text(json.dumps({"tasks": {"counting": ["counting/train/0"]}}))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 5.0}\n{"step": 5, "loss": 4.0}\n')
    return folder


def save_steps(folder: Path, *steps: int, total_steps: int | None = None, max_length: int = 256) -> None:
    """Saves a checkpoint of a step's own weights for each."""
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, intermediate_size=32, num_layers=1, num_heads=2,
        max_position_embeddings=max_length,
    )  # fmt: skip
    facts = {"template": "llama2/1", "tokenizer_sha256": tokenizer.fingerprint, "stop_ids": [tokenizer.eos_id]}
    with Checkpoints(folder, keep=100, config=config, facts=facts, total_steps=total_steps) as checkpoints:
        for step in steps:
            checkpoints.save(TrainState(jnp.int32(step), forward.init(config, step), ()), step, "data")
