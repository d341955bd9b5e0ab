"""Tokenizers that say where in the text each token begins, and whose special tokens never come out of a text."""

import abc
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from jaxtyping import Int

from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from agentbank_jax.trajectories.tokenizers.files import TokenizerSettings


class TokenizerError(AgentBankError):
    """A tokenizer that is missing or that cannot be used."""


def size_in_bytes(text: str) -> int:
    """Returns the length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


class Encoding(NamedTuple):
    """Token ids of a text, and the byte of its UTF-8 form at which each token begins.

    The first token begins at byte 0, also where it holds the space that SentencePiece puts
    before a text. Of a character spelled in several tokens, each begins within the character.
    """

    ids: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " tokens"]


class AddedToken(NamedTuple):
    """A token that stands in a vocabulary as a whole string, such as `<|eot_id|>`.

    Fields:
      id: the token's.
      special: whether it never comes out of a text.
      lstrip, rstrip: whether it takes the white space before or after it along.
    """

    id: int
    special: bool = True
    lstrip: bool = False
    rstrip: bool = False


class Tokenizer(abc.ABC):
    """What chat templates need of a tokenizer.

    `Tokenizer.load("starter.model").encode("Action: look")` gives a list of ids without BOS and
    EOS; a literal `</s>` in a text becomes plain pieces.

    Fields:
      model: the content of its file.
      name: its file, for error messages.
      vocab_size: number of ids.
      bos_id, eos_id, unk_id: ids of these tokens; None where there is none.
      pad_id: 0; padding is recognised by its segment id, so that it needs no id of its own.
      settings: what the checkpoint's files say beside the vocabulary, the chat template among it.
    """

    vocab_size: int
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    pad_id = 0

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Tokenizer":
        """Reads a SentencePiece model, a `tokenizer.json`, or the folder of a checkpoint.

        In a folder `tokenizer.json` goes before `tokenizer.model`. `tokenizer_config.json` and
        `chat_template.jinja` beside the file are read too.

        Raises:
          TokenizerError: where there is none, or it is not one.
        """
        from agentbank_jax.trajectories.tokenizers.fast import FastTokenizer
        from agentbank_jax.trajectories.tokenizers.files import find_tokenizer, read_settings
        from agentbank_jax.trajectories.tokenizers.sentencepiece import SentencePieceTokenizer

        file = find_tokenizer(path)
        settings = read_settings(file.parent)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise TokenizerError(f"{file}: the tokenizer cannot be read ({error.strerror}).") from None
        name = os.fspath(path) if Path(path).is_file() else str(file)
        kind = FastTokenizer if file.suffix == ".json" else SentencePieceTokenizer
        return kind(content, name=name, settings=settings)

    def __init__(self, model: bytes, *, name: str, settings: "TokenizerSettings | None") -> None:
        """Keeps what all kinds have: the content of the file, its name, and what stands beside it."""
        from agentbank_jax.trajectories.tokenizers.files import TokenizerSettings

        self.model = model
        self.name = name
        self.settings = settings or TokenizerSettings()

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), name=self.name, settings=self.settings), (self.model,)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokenizer's file, hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()

    @property
    @abc.abstractmethod
    def added_tokens(self) -> Mapping[str, AddedToken]:
        """The tokens that only a template may place (control symbols, special tokens), by their strings."""

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`, without BOS and EOS."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids`; special tokens vanish, and the space that is put before a text does."""

    @abc.abstractmethod
    def piece(self, token: int) -> str:
        """Returns what `token` stands for, with spaces as spaces."""

    @abc.abstractmethod
    def spell(self, ids: Sequence[int]) -> str:
        """Returns the pieces of `ids` one after the other, special tokens and leading spaces included."""

    @abc.abstractmethod
    def encode_with_offsets(
        self, texts: Sequence[str], *, continues: Sequence[bool] | None = None, num_threads: int = 1
    ) -> list[Encoding]:
        """Encodes each text and finds where its tokens begin.

        Args:
          texts: any number of texts.
          continues: for each text, whether something stands before it in its rendering: some
            tokenizers put a space only before what stands at the very beginning. None: nothing does.
          num_threads: native threads among which the texts are divided, where the library lets one choose.

        Returns:
          One `Encoding` a text, int32 ids and int64 starts.
        """

    def guarding(self, tokens: Iterable[str]) -> Self:
        """Returns this tokenizer with these added tokens special, so that none comes out of a text.

        Some checkpoints list markers of their template as ordinary added tokens.
        """
        del tokens
        return self

    def special_id(self, token: str, *, owner: str) -> int:
        """Returns the id of an added token.

        Raises:
          TokenizerError: where there is none of this name; the message names its owner.
        """
        if token not in self.added_tokens:
            raise TokenizerError(
                f"{self.name}: no special token '{token}', which {owner} needs; expected the tokenizer of a checkpoint "
                "that this template is for."
            )
        return self.added_tokens[token].id
