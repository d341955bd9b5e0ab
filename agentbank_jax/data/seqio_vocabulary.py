"""SeqIO's view of a tokenizer.

A vocabulary's `decode` ends behind the first stop token, which in a trajectory is that of the first
reply. `decode_tf`, with which SeqIO's inspection shows examples, spells all of it here.
"""

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import seqio
import tensorflow as tf

from agentbank_jax.trajectories.tokenizers.files import find_tokenizer
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer


class TokenizerVocabulary(seqio.Vocabulary):
    """A vocabulary that encodes and decodes with a `tokenizer.json`, for which SeqIO has no class."""

    def __init__(self, path: str | os.PathLike[str], stop_id: Callable[[], int] | None = None) -> None:
        """Reads the file when it is first needed.

        Args:
          path: the `tokenizer.json`.
          stop_id: gives the token that ends a reply, which a chat template may choose; None means the
            tokenizer's EOS.
        """
        super().__init__()
        self._path = Path(path)
        self._stop_id = stop_id

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self._path)

    @property
    def bos_id(self) -> int | None:
        return self.tokenizer.bos_id

    @property
    def eos_id(self) -> int | None:
        return self._stop_id() if self._stop_id else self.tokenizer.eos_id

    @property
    def unk_id(self) -> int | None:
        return self.tokenizer.unk_id

    @property
    def _base_vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def _encode(self, s: str) -> Sequence[int]:
        return self.tokenizer.encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        def encode(text: np.ndarray | bytes) -> np.ndarray:
            return np.array(self.tokenizer.encode(np.asarray(text).item().decode()), np.int32)

        ids = tf.numpy_function(encode, [tf.convert_to_tensor(s)], tf.int32)
        ids.set_shape([None])
        return ids

    def decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return self._decode_tf(ids)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return _spell(ids, self.tokenizer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenizerVocabulary) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)


class SentencePieceVocabulary(seqio.SentencePieceVocabulary):
    """SeqIO's vocabulary of a SentencePiece model, but for what it shows."""

    @cached_property
    def trajectory_tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.sentencepiece_model_file)

    def decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return _spell(ids, self.trajectory_tokenizer)


def make_vocabulary(path: str | os.PathLike[str], stop_id: Callable[[], int] | None = None) -> seqio.Vocabulary:
    """Returns the vocabulary of a SentencePiece model, a `tokenizer.json` or a checkpoint's folder.

    A file that is not there yet is asked for when it is used, as a SentencePiece model; such a model
    stops at its EOS. `stop_id` is that of `TokenizerVocabulary`.
    """
    given = Path(path)
    file = find_tokenizer(given) if given.exists() else given
    if file.suffix == ".json":
        return TokenizerVocabulary(file, stop_id)
    return SentencePieceVocabulary(os.fspath(file))


def _spell(ids: tf.Tensor, tokenizer: Tokenizer) -> tf.Tensor:
    return tf.numpy_function(lambda tokens: tokenizer.spell(tokens.tolist()).encode(), [ids], tf.string)
