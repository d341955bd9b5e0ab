"""Ids word by word are those of the whole text, for every text."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.trajectories.tokenizers import words
from agentbank_jax.trajectories.tokenizers.fast import FastTokenizer
from agentbank_jax.trajectories.tokenizers.sentencepiece import SentencePieceTokenizer
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.trajectories.tokenizers.words import bytes_split_at_words, model_splits_at_words
from tests.trajectories.published import LITERALS, LLAMA3_SPECIALS, byte_level_json, conversations, texts_of

# Letters, digits, marks and every kind of white space, next to each other in every order.
SIGNS = (
    *(" ", "  ", "    ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u2028", "\x85", "\x1c", "\u3000", "\x0b"),
    *(
        "a",
        "the",
        " cup",
        "Action:",
        "12345",
        " 7",
        ".",
        "...",
        " !",
        "'s",
        "'",
        "é",
        "漢字",
        "😀",
        "\u0301",
        "_",
        "\0",
    ),
    *("```\n", "    return", "x \n y", ". \n", " \n", *LITERALS),
)
TEXTS = st.lists(st.lists(st.sampled_from(SIGNS), max_size=25).map("".join), max_size=6)


@given(texts=TEXTS)
def test_sentencepiece(checkpoints: dict[str, Tokenizer], texts: list[str]) -> None:
    tokenizer = checkpoints["llama2_model"]
    assert isinstance(tokenizer, SentencePieceTokenizer) and tokenizer._words is not None
    for text, ids in zip(texts, tokenizer._words.encode(texts), strict=True):
        assert ids.dtype == np.int32 and ids.tolist() == tokenizer._processor.encode(text)


@pytest.mark.parametrize("name", ["llama3", "chatml"])
@given(texts=TEXTS)
def test_bytes(checkpoints: dict[str, Tokenizer], name: str, texts: list[str]) -> None:
    tokenizer = checkpoints[name]
    assert isinstance(tokenizer, FastTokenizer) and tokenizer._words is not None
    for text, ids in zip(texts, tokenizer._words.encode(texts), strict=True):
        assert ids.dtype == np.int32 and ids.tolist() == tokenizer._backend.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def of_signs() -> FastTokenizer:
    """A vocabulary that has merged whatever stands side by side in such texts, white space above all."""
    rng = random.Random(0)
    texts = ["".join(rng.choices(SIGNS, k=30)) for _ in range(300)] + ["a\n \nb. \n  \n"] * 300
    return FastTokenizer(byte_level_json(texts, LLAMA3_SPECIALS, 1500).encode())


@given(texts=TEXTS)
def test_bytes_with_white_space_that_is_merged(of_signs: FastTokenizer, texts: list[str]) -> None:
    assert of_signs._words is not None
    for text, ids in zip(texts, of_signs._words.encode(texts), strict=True):
        assert ids.tolist() == of_signs._backend.encode(text, add_special_tokens=False).ids


def test_a_vocabulary_with_pieces_of_its_own(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer, SentencePieceTokenizer) and tokenizer._words is not None
    rng = random.Random(0)
    texts = ["".join(rng.choices((*SIGNS, " [SEP] ", "[SEP]", "0", " 1"), k=30)) for _ in range(2000)]
    for text, ids in zip(texts, tokenizer._words.encode(texts, num_threads=2), strict=True):
        assert ids.tolist() == tokenizer._processor.encode(text)


def test_forgotten_words_change_nothing(checkpoints: dict[str, Tokenizer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MOST_WORDS", 20)
    texts = texts_of(conversations(40, literals=True, seed=9))
    tokenizer = checkpoints["llama2_model"]
    assert isinstance(tokenizer, SentencePieceTokenizer) and tokenizer._words is not None
    for _ in range(2):
        for text in texts:
            assert tokenizer._words.encode([text])[0].tolist() == tokenizer._processor.encode(text)


def test_other_models_are_tokenised_whole(published: dict[str, Path], tmp_path: Path) -> None:
    texts = texts_of(conversations(100, literals=False, seed=2))
    options = {"model_type": "bpe", "vocab_size": 450, "normalization_rule_name": "identity", "byte_fallback": True,
               "remove_extra_whitespaces": False, "character_coverage": 0.99, "minloglevel": 2}  # fmt: skip
    cases = (
        {"model_type": "unigram"},
        {"normalization_rule_name": "nmt_nfkc"},
        {"remove_extra_whitespaces": True},
        {"add_dummy_prefix": False},
        {"treat_whitespace_as_suffix": True},
        {"user_defined_symbols": ["the cup"]},
    )
    for number, case in enumerate(({}, *cases)):
        prefix = str(tmp_path / str(number))
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_prefix=prefix, **{**options, **case}
        )
        model = Path(f"{prefix}.model").read_bytes()
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        pieces = [processor.id_to_piece(token) for token in range(processor.vocab_size())]
        assert model_splits_at_words(model, pieces) == (not case), case
    specification = json.loads((published["llama3"] / "tokenizer.json").read_text())
    assert bytes_split_at_words(specification, [])
    assert not bytes_split_at_words(specification, ["<code>"])
    specification["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] += "|x"
    assert not bytes_split_at_words(specification, [])
