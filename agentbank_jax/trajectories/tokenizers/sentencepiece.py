"""A SentencePiece model as a tokenizer."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import sentencepiece
from jaxtyping import Int

from agentbank_jax.trajectories.tokenizers.files import TokenizerSettings
from agentbank_jax.trajectories.tokenizers.tokenizer import (
    AddedToken,
    Encoding,
    Tokenizer,
    TokenizerError,
    size_in_bytes,
)
from agentbank_jax.trajectories.tokenizers.words import SPACE_SYMBOL, WordTokenizer, model_splits_at_words


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model with BOS and EOS. Its control symbols never come out of a text."""

    bos_id: int
    eos_id: int

    def __init__(self, model: bytes, *, name: str = "tokenizer", settings: TokenizerSettings | None = None) -> None:
        """Loads a serialized SentencePiece model.

        Args:
          model: the content of its file.
          name: for error messages.
          settings: what stands beside it in a checkpoint's folder.

        Raises:
          TokenizerError: where the model cannot be parsed or has no BOS or EOS.
        """
        super().__init__(model, name=name, settings=settings)
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError) as error:
            raise TokenizerError(
                f"{name}: not a SentencePiece model ({str(error).split(chr(10), 1)[0]}); expected one, a "
                "tokenizer.json or a checkpoint's folder."
            ) from None
        self.vocab_size = self._processor.vocab_size()
        self.bos_id = self._processor.bos_id()
        self.eos_id = self._processor.eos_id()
        self.unk_id = self._processor.unk_id()
        if self.bos_id < 0 or self.eos_id < 0:
            raise TokenizerError(
                f"{name}: bos id {self.bos_id} and eos id {self.eos_id}; expected both, as in Llama-2's vocabulary."
            )

    @cached_property
    def added_tokens(self) -> Mapping[str, AddedToken]:
        """The control symbols, `<s>` and `</s>` among them."""
        processor = self._processor
        controls = (token for token in range(self.vocab_size) if processor.is_control(token))
        return {processor.id_to_piece(token): AddedToken(token) for token in controls}

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text, return_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode([int(token) for token in ids])

    def piece(self, token: int) -> str:
        """Returns the piece of `token`, with spaces as spaces and byte pieces as `<0x0A>`."""
        return self._processor.id_to_piece(int(token)).replace(SPACE_SYMBOL, " ")

    def spell(self, ids: Sequence[int]) -> str:
        spelled = b"".join(
            bytes([int(self.piece(token)[1:-1], 16)])
            if self._processor.is_byte(int(token))
            else self.piece(token).encode()
            for token in ids
        )
        return spelled.decode("utf-8", errors="replace")

    def encode_with_offsets(
        self, texts: Sequence[str], *, continues: Sequence[bool] | None = None, num_threads: int = 1
    ) -> list[Encoding]:
        # SentencePiece puts the same space before each text.
        del continues
        if not texts:
            return []
        encoded = self._encode_batch(texts, num_threads)
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
            if lengths[index] == size_in_bytes(text) + self._prefix_bytes or not len(ids):
                starts = bytes_before[bounds[index] : bounds[index + 1]] - (
                    bytes_before[bounds[index]] + self._prefix_bytes
                )
                np.maximum(starts, 0, out=starts)
                encodings.append(Encoding(ids, starts))
            else:
                encodings.append(self._encode_with_native_offsets(text))
        return encodings

    def _encode_batch(self, texts: Sequence[str], num_threads: int) -> list[Int[np.ndarray, " tokens"]]:
        # A literal space symbol is a space to the model.
        if self._words is None or any(SPACE_SYMBOL in text for text in texts):
            return self._encode_whole(list(texts), num_threads)
        return self._words.encode(texts, num_threads=num_threads)

    def _encode_whole(self, texts: list[str], num_threads: int) -> list[Int[np.ndarray, " tokens"]]:
        return self._processor.encode(texts, return_type="numpy", num_threads=num_threads)

    @cached_property
    def _words(self) -> WordTokenizer | None:
        if not model_splits_at_words(self.model, map(self._processor.id_to_piece, range(self.vocab_size))):
            return None
        return WordTokenizer(self._encode_whole, opens_with_space=True)

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
