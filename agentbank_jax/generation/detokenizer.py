"""The text of a reply as its tokens come: whole characters only, and which text each token ends."""

from collections.abc import Callable, Sequence
from typing import Protocol

_UNFINISHED = "\ufffd"

Decode = Callable[[Sequence[int]], str]


class TextDecoder(Protocol):
    """What text needs of a tokenizer (see `trajectories.tokenizers`)."""

    @property
    def vocab_size(self) -> int:
        """Ids from here on have no text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens vanish."""


class Detokenizer:
    """Turns ids into text one by one, as decoding all at once would.

    A tokenizer's text of some ids depends on what stands before them (a leading space), so that a few ids are decoded
    with those before them, and the difference is what is new. A character of several tokens is told when it is whole.

    Example:

      detokenizer = Detokenizer(tokenizer.decode)
      for token in ids:
          detokenizer.append(token)
      detokenizer.text

    Fields:
      text: so far.
      ends: for each token, the length of the text after it.
      whole: for each token, whether a character ends with it.
    """

    def __init__(self, decode: Decode) -> None:
        self.text = ""
        self.ends: list[int] = []
        self.whole: list[bool] = []
        self._decode = decode
        self._ids: list[int] = []
        # Ids before `_told` are in the text; those from `_before` on are decoded again for the space between.
        self._before = self._told = 0

    def append(self, token: int) -> None:
        """Takes the next token."""
        self._ids.append(token)
        new = self._untold()
        whole = not new.endswith(_UNFINISHED)
        if whole:
            self._tell(new)
        self.ends.append(len(self.text))
        self.whole.append(whole)

    def finish(self) -> None:
        """Tells what is left of a character that never became whole."""
        self._tell(self._untold())

    def _untold(self) -> str:
        known = self._decode(self._ids[self._before : self._told])
        return self._decode(self._ids[self._before :])[len(known) :]

    def _tell(self, text: str) -> None:
        self.text += text
        # What has no text may be a part of what follows.
        if text:
            self._before, self._told = self._told, len(self._ids)

    def tokens_before(self, length: int) -> int:
        """How many of the first tokens stand wholly within the first `length` characters."""
        # From behind: what is asked for is among the last.
        counts = range(len(self.ends), 0, -1)
        return next((count for count in counts if self.whole[count - 1] and self.ends[count - 1] <= length), 0)
