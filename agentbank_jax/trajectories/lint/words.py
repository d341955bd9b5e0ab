"""What counts as a word."""

import re

_WORD = re.compile(r"\w+")


def split_words(text: str) -> list[str]:
    """Returns the words of a text in lower case: runs of letters, digits and underscores."""
    return _WORD.findall(text.lower())
