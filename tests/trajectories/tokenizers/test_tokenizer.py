"""Token offsets are exact, control symbols never come out of a text, and vocabularies are reproducible."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer, TokenizerError
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary
from tests.trajectories.fake import make_texts

TEXT = st.lists(st.sampled_from([*"ab 12\n\t[]<>/sé漢😀\u2581\u2028", "cup", " the"]), max_size=40).map("".join)


@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_offsets_are_those_that_sentencepiece_gives(tokenizer: Tokenizer, texts: list[str]) -> None:
    for text, (ids, starts) in zip(texts, tokenizer.encode_with_offsets(texts), strict=True):
        assert ids.tolist() == tokenizer.encode(text)
        expected = tokenizer._encode_with_native_offsets(text)
        assert ids.tolist() == expected.ids.tolist()
        # Within a character spelled in bytes SentencePiece gives no offsets; elsewhere they agree.
        whole = np.array([not tokenizer._processor.is_byte(int(token)) for token in ids], bool)
        assert starts[whole].tolist() == expected.starts[whole].tolist()


@given(text=TEXT)
def test_decoding_restores_what_was_encoded(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("\u2581", " ")


def test_markers_in_a_text_are_plain_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<s> a </s> <unk>")
    assert not {tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id} & set(ids)


def test_special_ids_are_llama2s(tokenizer: Tokenizer) -> None:
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 1, 2, 0)


def test_digits_are_split_and_line_feeds_stand_alone(tokenizer: Tokenizer) -> None:
    assert [tokenizer.piece(token) for token in tokenizer.encode("123\nAction:")][-5:-2] == ["2", "3", "\n"]
    assert "Action" in [tokenizer.piece(token) for token in tokenizer.encode(".\nAction:")]


def test_a_vocabulary_is_a_function_of_its_texts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    again = train_vocabulary(iter(make_texts()), 430, tmp_path / "again.model")
    assert again.fingerprint == tokenizer.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["again.model"]


def test_a_vocabulary_is_as_large_as_the_texts_allow(tmp_path: Path) -> None:
    tokenizer = train_vocabulary(make_texts(), 30000, tmp_path / "x.model")
    assert 320 < tokenizer.vocab_size < 30000


def test_vocabularies_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=r"at least 320"):
        train_vocabulary(["a"], 10, tmp_path / "x.model")
    with pytest.raises(AgentBankError, match=r"no text"):
        train_vocabulary([" "], 400, tmp_path / "x.model")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_survives_pickling(tokenizer: Tokenizer) -> None:
    assert pickle.loads(pickle.dumps(tokenizer)).fingerprint == tokenizer.fingerprint


def test_bad_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"none.model: no tokenizer"):
        Tokenizer.load(tmp_path / "none.model")
    (tmp_path / "bad.model").write_bytes(b"no model")
    with pytest.raises(TokenizerError, match=r"bad.model: not a SentencePiece model .*; expected one"):
        Tokenizer.load(tmp_path / "bad.model")
