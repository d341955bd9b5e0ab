"""Texts tokenised word by word, each word once: several times faster than as a whole, to the same ids."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Int

# SentencePiece writes a space as this character, U+2581.
SPACE_SYMBOL = "\u2581"

# A word begins with a space that stands behind something else than white space, or with the text.
_WORD = re.compile(r"(?: +[^ ]*|[^ ]+)(?:(?<=\s) +[^ ]*)*")

# What words that begin with a space are tokenised behind; it is never joined to them.
_BEFORE = "a"

_MOST_WORDS = 1 << 17

# The number of this kind of model.
_BPE = 2

# How Llama-3's vocabulary divides texts before it merges, and how some others do: what holds a space behind
# something else holds white space only, and nothing looks back.
_DIVISIONS = tuple(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in (r"\p{N}{1,3}", r"\p{N}")
)


def model_splits_at_words(model: bytes, pieces: Iterable[str]) -> bool:
    """Whether a SentencePiece model gives a text the ids of its words, one after the other.

    So it is with BPE that changes nothing in a text but spaces, where no piece has a space behind
    another character: then no merge and no symbol reaches from one word into the next, and each
    word is merged as if it stood alone. Llama-2's vocabulary is of that kind.

    Args:
      model: the content of its file.
      pieces: all pieces of its vocabulary.
    """
    # Field numbers and defaults of sentencepiece_model.proto. The reader of these files that comes with
    # SentencePiece wants the newest protobuf, with which Apache Beam cannot be installed.
    specifications = dict(_fields(model))
    trainer, normalizer = (dict(_fields(specifications.get(number, b""))) for number in (2, 3))
    return (
        trainer.get(3) == _BPE
        and not trainer.get(24, 0)  # treat_whitespace_as_suffix
        and not normalizer.get(2, b"")  # precompiled_charsmap
        and bool(normalizer.get(3, 1))  # add_dummy_prefix
        and not normalizer.get(4, 1)  # remove_extra_whitespaces
        and bool(normalizer.get(5, 1))  # escape_whitespaces
        # Symbols that users define may be written with spaces.
        and not any(SPACE_SYMBOL in piece.lstrip(SPACE_SYMBOL) or " " in piece for piece in pieces)
    )


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yields number and value of the fields of a protobuf message: bytes, or an int."""
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while place < len(message):
        tag = number()
        kind = tag & 7
        value: int | bytes = number() if kind in (0, 2) else {1: 8, 5: 4}[kind]
        if kind != 0:
            assert isinstance(value, int)
            place, value = place + value, message[place : place + value]
        yield tag >> 3, value


def bytes_split_at_words(specification: Mapping[str, Any], ordinary: Sequence[str]) -> bool:
    """Whether a `tokenizer.json` of BPE over bytes gives a text the ids of its words, one after the other.

    So it is where texts are divided as Llama-3's vocabulary does it, and no added token is found in them.

    Args:
      specification: the content of the file.
      ordinary: its added tokens that are found in texts.
    """
    steps = (specification["pre_tokenizer"] or {}).get("pretokenizers", [])
    return (
        not ordinary
        and [step["type"] for step in steps] == ["Split", "ByteLevel"]
        and steps[0]["pattern"].get("Regex") in _DIVISIONS
        and not steps[0]["invert"]
        and not steps[1]["use_regex"]
    )


class WordTokenizer:
    """Tokenises texts whose ids are those of their words, and remembers words."""

    def __init__(
        self, encode: Callable[[list[str], int], Sequence[Int[np.ndarray, " tokens"]]], *, opens_with_space: bool
    ) -> None:
        """Takes the tokenizer.

        Args:
          encode: returns the ids, int32, of texts, by so many threads.
          opens_with_space: whether it puts a space before each text that is not empty.
        """
        self._encode = encode
        self._opening = " " if opens_with_space else ""
        self._before = len(encode([_BEFORE], 1)[0])
        self._ids_of_word: dict[str, bytes] = {}

    def encode(self, texts: Sequence[str], *, num_threads: int = 1) -> list[Int[np.ndarray, " tokens"]]:
        """Returns the ids, int32, of each text."""
        words_of = [_WORD.findall(self._opening + text) if text else [] for text in texts]
        # Another thread may be at work with the words that are replaced.
        known = self._ids_of_word
        if len(known) > _MOST_WORDS:
            known = self._ids_of_word = {}
        new = [word for word in set(chain.from_iterable(words_of)) if word not in known]
        if new:
            encoded = self._encode([_BEFORE + word if word[0] == " " else word for word in new], num_threads)
            for word, ids in zip(new, encoded, strict=True):
                known[word] = ids[self._before if word[0] == " " else 0 :].tobytes()
        return [np.frombuffer(b"".join(map(known.__getitem__, words)), np.int32) for words in words_of]
