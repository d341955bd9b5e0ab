"""A SentencePiece tokenizer that says where in the text each token begins."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
from jaxtyping import Int

from agentbank_jax.errors import AgentBankError

# SentencePiece writes a space as this character, U+2581.
SPACE_SYMBOL = "\u2581"


class TokenizerError(AgentBankError):
    """A tokenizer model that is missing or that cannot be used."""


class Encoding(NamedTuple):
    """Token ids of a text, and the byte of its UTF-8 form at which each token begins.

    The first token begins at byte 0, also where it holds the space that SentencePiece puts
    before a text. Of a character spelled in byte pieces, each piece begins within the character.
    """

    ids: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " tokens"]


class Tokenizer:
    """A SentencePiece model whose control symbols never come out of a text.

    `Tokenizer.load("starter.model").encode("Action: look")` gives a list of ids without BOS and
    EOS; a literal `</s>` in a text becomes plain pieces.

    Fields:
      vocab_size: number of ids.
      bos_id, eos_id, unk_id: ids of the control symbols.
      pad_id: 0; padding is recognised by its segment id, so that it needs no id of its own.
    """

    def __init__(self, model: bytes, *, name: str = "tokenizer") -> None:
        """Loads a serialized SentencePiece model; `name` is for error messages.

        Raises:
          TokenizerError: where the model cannot be parsed or has no BOS or EOS.
        """
        self._model = model
        self._name = name
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError) as error:
            raise TokenizerError(f"{name}: not a SentencePiece model ({str(error).split(chr(10), 1)[0]}).") from None
        self.vocab_size: int = self._processor.vocab_size()
        self.bos_id: int = self._processor.bos_id()
        self.eos_id: int = self._processor.eos_id()
        self.unk_id: int = self._processor.unk_id()
        self.pad_id = 0
        if self.bos_id < 0 or self.eos_id < 0:
            raise TokenizerError(
                f"{name}: bos id {self.bos_id} and eos id {self.eos_id}; expected both, as in Llama-2's vocabulary."
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tokenizer":
        """Reads a SentencePiece model file.

        Raises:
          TokenizerError: where there is none, or it is not one.
        """
        try:
            return cls(Path(path).read_bytes(), name=os.fspath(path))
        except OSError as error:
            raise TokenizerError(
                f"{os.fspath(path)}: no tokenizer ({error.strerror}); expected a SentencePiece model: "
                "`python scripts/train_vocabulary.py` trains one, and Llama-2's is its tokenizer.model."
            ) from None

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self._model, self._name)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model, hexadecimal."""
        return hashlib.sha256(self._model).hexdigest()

    @property
    def model(self) -> bytes:
        """The serialized model, which is also the content of its file."""
        return self._model

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`, without BOS and EOS."""
        return self._processor.encode(text, return_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids`; control symbols vanish, and one leading space does."""
        return self._processor.decode([int(token) for token in ids])

    def piece(self, token: int) -> str:
        """Returns the piece of `token`, with spaces as spaces and byte pieces as `<0x0A>`."""
        return self._processor.id_to_piece(int(token)).replace(SPACE_SYMBOL, " ")

    def spell(self, ids: Sequence[int]) -> str:
        """Returns the pieces of `ids` one after the other, control symbols and leading spaces included."""
        spelled = b"".join(
            bytes([int(self.piece(token)[1:-1], 16)])
            if self._processor.is_byte(int(token))
            else self.piece(token).encode()
            for token in ids
        )
        return spelled.decode("utf-8", errors="replace")

    def encode_with_offsets(self, texts: Sequence[str], *, num_threads: int = 1) -> list[Encoding]:
        """Encodes each text and finds where its tokens begin.

        Args:
          texts: any number of texts.
          num_threads: native threads among which the texts are divided.

        Returns:
          One `Encoding` a text, int32 ids and int64 starts.
        """
        if not texts:
            return []
        encoded = self._processor.encode(list(texts), return_type="numpy", num_threads=num_threads)
        # A model that does not normalise spells every byte of the text in exactly one piece, so
        # that the offsets are sums of lengths: several times faster than to ask for each. Where
        # the sum is not the text's length (another normaliser, an unknown character, a literal
        # space symbol), SentencePiece says the offsets itself.
        counts = np.fromiter((len(ids) for ids in encoded), np.int64, len(encoded))
        ends = np.cumsum(self._bytes_of_piece[np.concatenate(encoded)])
        bounds = np.concatenate([[0], np.cumsum(counts)])
        bytes_before = np.concatenate([[0], ends])
        lengths = bytes_before[bounds[1:]] - bytes_before[bounds[:-1]]
        encodings: list[Encoding] = []
        for index, (text, ids) in enumerate(zip(texts, encoded, strict=True)):
            size = len(text) if text.isascii() else len(text.encode())
            if lengths[index] == size + self._prefix_bytes or not len(ids):
                starts = bytes_before[bounds[index] : bounds[index + 1]] - (
                    bytes_before[bounds[index]] + self._prefix_bytes
                )
                np.maximum(starts, 0, out=starts)
                encodings.append(Encoding(ids, starts))
            else:
                encodings.append(self._encode_with_native_offsets(text))
        return encodings

    def _encode_with_native_offsets(self, text: str) -> Encoding:
        mapping = self._processor.encode(text.encode(), return_type="offset_mapping")
        starts = np.array([start for start, _ in mapping["offsets"]], np.int64)
        return Encoding(np.array(mapping["ids"], np.int32), starts)

    @cached_property
    def _bytes_of_piece(self) -> Int[np.ndarray, " vocab"]:
        processor = self._processor
        lengths = [
            1 if processor.is_byte(token) else len(processor.id_to_piece(token).replace(SPACE_SYMBOL, " ").encode())
            for token in range(self.vocab_size)
        ]
        return np.array(lengths, np.int64)

    @cached_property
    def _prefix_bytes(self) -> int:
        """Bytes that the model puts before a text: 1 with a dummy prefix, else 0."""
        return int(self._bytes_of_piece[self._processor.encode("a", return_type="numpy")].sum()) - 1


def _restore(model: bytes, name: str) -> Tokenizer:
    return Tokenizer(model, name=name)
