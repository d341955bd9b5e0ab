"""Texts that others wrote, made safe to show."""

import re

# All control characters but tab, line feed and carriage return: a terminal may obey them, HTML forbids them. Those that
# turn the direction of writing, by which a text may look like another. And halves of surrogate pairs, which no encoding
# holds.
_UNSAFE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Returns a text with U+FFFD in the place of each character that cannot be shown."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)
