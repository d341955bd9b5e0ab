"""Small vocabularies for the tests of this folder, and checkpoints in the published layouts."""

from pathlib import Path

import pytest

from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers import vocabulary
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary
from tests.trajectories.fake import make_texts
from tests.trajectories.published import (
    CHATML_JINJA,
    LLAMA2_JINJA,
    LLAMA3_JINJA,
    LLAMA3_SPECIALS,
    byte_level_json,
    conversations,
    llama2_json,
    texts_of,
    write_checkpoint,
)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_vocabulary(make_texts(), 430, tmp_path_factory.mktemp("vocabulary") / "fake.model")


@pytest.fixture(scope="session")
def template(tokenizer: Tokenizer) -> Llama2Template:
    return Llama2Template(tokenizer)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of checkpoints: `llama2` with both files, `llama3`, and `chatml`, which only `hf` knows."""
    root = tmp_path_factory.mktemp("published")
    texts = texts_of(conversations(300, literals=True, seed=1))
    with pytest.MonkeyPatch.context() as patch:
        # Llama-2's own vocabulary has none: merges alone say how it spells.
        patch.setattr(vocabulary, "WHOLE_PIECES", ())
        model = train_vocabulary(texts, 900, root / "llama2" / "tokenizer.model").model
    write_checkpoint(
        root / "llama2", llama2_json(model), LLAMA2_JINJA, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    write_checkpoint(
        root / "llama3",
        byte_level_json(texts, LLAMA3_SPECIALS),
        LLAMA3_JINJA,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
    )
    write_checkpoint(
        root / "chatml",
        byte_level_json(texts, ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        CHATML_JINJA,
        eos_token={"content": "<|im_end|>", "special": True},
    )
    return {name: root / name for name in ("llama2", "llama3", "chatml")}


@pytest.fixture(scope="session")
def checkpoints(published: dict[str, Path]) -> dict[str, Tokenizer]:
    """Tokenizers by the name of their folder; `llama2_model` is the SentencePiece model of `llama2`."""
    loaded = {name: Tokenizer.load(folder) for name, folder in published.items()}
    return {**loaded, "llama2_model": Tokenizer.load(published["llama2"] / "tokenizer.model")}
