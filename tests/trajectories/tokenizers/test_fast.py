"""A `tokenizer.json` with special parsing off: exact offsets, no special token out of a text, files found by kind."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.trajectories.tokenizers.fast import FastTokenizer
from agentbank_jax.trajectories.tokenizers.files import TokenizerSettings, copied_files
from agentbank_jax.trajectories.tokenizers.sentencepiece import SentencePieceTokenizer
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer, TokenizerError
from tests.trajectories.published import LITERALS, conversations, texts_of

PARTS = (*"ab 12\n\t[]<>/é漢😀\u2028", "the cup", " search[", *LITERALS)
TEXT = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)
KINDS = ("llama2", "llama3", "chatml")


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXT)
def test_tokens_begin_where_the_text_before_them_ends(checkpoints: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = checkpoints[kind]
    (encoding,) = tokenizer.encode_with_offsets([text])
    ids, starts = encoding.ids.tolist(), encoding.starts.tolist()
    assert ids == tokenizer.encode(text)
    assert starts == sorted(starts) and starts[:1] in ([0], [])
    content = text.encode()
    for index, start in enumerate(starts):
        # Within a character that several tokens spell there is no text to compare.
        if index and start > starts[index - 1]:
            before = tokenizer.decode(ids[:index]).encode()
            assert before == content[:start] or "\ufffd".encode() in before


@pytest.mark.parametrize("kind", KINDS)
@given(text=TEXT)
def test_no_special_token_comes_out_of_a_text(checkpoints: dict[str, Tokenizer], kind: str, text: str) -> None:
    tokenizer = checkpoints[kind]
    special = {flags.id for flags in tokenizer.added_tokens.values()}
    assert not special & set(tokenizer.encode(text + "".join(tokenizer.added_tokens)))
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(text=TEXT)
def test_the_sentencepiece_model_and_its_tokenizer_json_agree(checkpoints: dict[str, Tokenizer], text: str) -> None:
    model, fast = checkpoints["llama2_model"], checkpoints["llama2"]
    (a,), (b,) = model.encode_with_offsets([text]), fast.encode_with_offsets([text])
    assert a.ids.tolist() == b.ids.tolist()
    assert model.spell(a.ids.tolist()) == fast.spell(a.ids.tolist())
    assert model.decode(a.ids.tolist()) == fast.decode(a.ids.tolist())
    assert (model.bos_id, model.eos_id, model.unk_id, model.vocab_size) == (
        *(fast.bos_id, fast.eos_id, fast.unk_id, fast.vocab_size),
    )


def test_a_special_token_that_merges_would_spell_stays_plain(published: dict[str, Path]) -> None:
    # CodeLlama's vocabulary holds its infilling marks so.
    specification = json.loads((published["llama2"] / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = specification["model"]["vocab"]
    size = len(vocabulary)
    for number, (left, right) in enumerate([("▁", "<"), ("▁<", "S"), ("▁<S", ">")]):
        vocabulary[left + right] = size + number
        specification["model"]["merges"].append([left, right])
    plain = FastTokenizer(json.dumps(specification).encode())
    assert size + 2 in plain.encode("a <S> b")
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    specification["added_tokens"].append({"id": size + 2, "content": "▁<S>", "special": True, **flags})
    guarded = FastTokenizer(json.dumps(specification).encode())
    assert size + 2 not in guarded.encode("a <S> b ▁<S>") and guarded.decode(guarded.encode("a <S> b")) == "a <S> b"


def test_ordinary_added_tokens_are_found_until_they_are_guarded(published: dict[str, Path]) -> None:
    specification = json.loads((published["chatml"] / "tokenizer.json").read_text(encoding="utf-8"))
    for entry in specification["added_tokens"]:
        entry["special"] = entry["content"] != "<|im_start|>"
    ordinary = FastTokenizer(json.dumps(specification).encode())
    mark = ordinary.added_tokens["<|im_start|>"].id
    assert mark in ordinary.encode("a <|im_start|>")
    guarded = ordinary.guarding(["<|im_start|>", "<|im_end|>"])
    assert mark not in guarded.encode("a <|im_start|>") and guarded.fingerprint == ordinary.fingerprint
    assert ordinary.guarding(["<|im_end|>"]) is ordinary
    assert mark not in pickle.loads(pickle.dumps(guarded)).encode("a <|im_start|>")


def test_a_space_only_before_the_first_text_where_the_file_says_so(published: dict[str, Path]) -> None:
    # As `transformers` makes a tokenizer from a bare tokenizer.model.
    specification = json.loads((published["llama2"] / "tokenizer.json").read_text(encoding="utf-8"))
    specification["normalizer"] = None
    specification["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "first",
        "split": False,
    }
    tokenizer = FastTokenizer(json.dumps(specification).encode())
    first, later = tokenizer.encode_with_offsets(["[INST] a", "[INST] a"], continues=[False, True])
    assert tokenizer.spell(first.ids.tolist()) == " [INST] a"
    assert tokenizer.spell(later.ids.tolist()) == "[INST] a"


def test_offsets_are_those_of_the_library_where_they_are_sums(checkpoints: dict[str, Tokenizer]) -> None:
    for name in ("llama3", "chatml"):
        tokenizer = checkpoints[name]
        assert isinstance(tokenizer, FastTokenizer) and tokenizer._bytes_of_id is not None
        texts = ["", *texts_of(conversations(60, literals=True, seed=5))]
        for text, encoding in zip(texts, tokenizer.encode_with_offsets(texts), strict=True):
            library = tokenizer._backend.encode(text, add_special_tokens=False)
            assert encoding.ids.tolist() == library.ids
            bounds = np.cumsum([0, *(len(character.encode()) for character in text)])
            starts = bounds[[begin for begin, _ in library.offsets]]
            # Within a character the library gives the character's beginning for each of its tokens.
            assert encoding.starts.searchsorted(bounds).tolist() == starts.searchsorted(bounds).tolist()
    assert checkpoints["llama2"]._bytes_of_id is None  # type: ignore[attr-defined]


def test_offsets_are_right_where_an_added_token_takes_white_space_along(published: dict[str, Path]) -> None:
    specification = json.loads((published["llama3"] / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": False}
    identifier = max(entry["id"] for entry in specification["added_tokens"]) + 1
    specification["added_tokens"].append({"id": identifier, "content": "<code>", **flags})
    tokenizer = FastTokenizer(json.dumps(specification).encode())
    stripped, plain = tokenizer.encode_with_offsets(["é  <code>b", "é<code>b"])
    for encoding, starts in ((stripped, [2, 10]), (plain, [2, 8])):
        assert encoding.ids[-2] == identifier
        assert encoding.starts[-2:].tolist() == starts


def test_files_are_found_by_kind(published: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(published["llama2"], folder)
    assert isinstance(Tokenizer.load(folder), FastTokenizer)
    assert isinstance(Tokenizer.load(folder / "tokenizer.model"), SentencePieceTokenizer)
    assert Tokenizer.load(folder / "tokenizer.model").settings.chat_template is not None
    assert set(copied_files(folder)) == {"tokenizer.json", "tokenizer_config.json"}
    (folder / "tokenizer.json").unlink()
    assert isinstance(Tokenizer.load(folder), SentencePieceTokenizer)
    (folder / "chat_template.jinja").write_text("{{ 1 }}")
    assert Tokenizer.load(folder).settings.chat_template == "{{ 1 }}"
    assert set(copied_files(folder)) == {"tokenizer.model", "tokenizer_config.json", "chat_template.jinja"}


def test_the_default_of_several_chat_templates_is_taken(published: dict[str, Path], tmp_path: Path) -> None:
    shutil.copy(published["llama3"] / "tokenizer.json", tmp_path)
    named = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.settings.chat_template == "b"
    # Nothing names BOS and EOS; the vocabulary is Llama-3's.
    assert tokenizer.spell([tokenizer.bos_id, tokenizer.eos_id]) == "<|begin_of_text|><|end_of_text|>"


def test_a_tokenizer_survives_pickling(checkpoints: dict[str, Tokenizer]) -> None:
    again = pickle.loads(pickle.dumps(checkpoints["llama3"]))
    assert again.fingerprint == checkpoints["llama3"].fingerprint
    assert again.settings == checkpoints["llama3"].settings


def test_bad_files_are_named(published: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no tokenizer in this folder"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"not a tokenizer\.json of the library"):
        Tokenizer.load(tmp_path)
    shutil.copy(published["llama3"] / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<start>"}))
    with pytest.raises(TokenizerError, match=r"names '<start>' as bos_token"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: cannot be read"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(TokenizerError, match=r"expected a JSON object"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_whose_special_tokens_come_out_of_texts_is_refused() -> None:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    specification = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": None,
        "added_tokens": [{"id": 1, "content": "</s>", "special": True, **flags}],
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["</s>", 0.0], ["a", -1.0]]},
    }  # fmt: skip
    with pytest.raises(TokenizerError, match=r"'</s>' comes out of a text"):
        FastTokenizer(json.dumps(specification).encode(), settings=TokenizerSettings())
