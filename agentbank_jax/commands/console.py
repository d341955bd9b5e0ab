"""Where the entry points print."""

import sys

from rich.console import Console

_WIDTH = 140
# Line breaks and tabs are text; what else is below the space, or between DEL and the no-break space, moves the cursor,
# changes colours or titles, and hides what is written.
_CONTROLS = dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}") | {
    code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"
} | {0x7F: "\N{SYMBOL FOR DELETE}"}  # fmt: skip


def make_console() -> Console:
    """Standard output; into a file or a pipe wide enough that no table is cut."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH)


def visible(text: str) -> str:
    """A text that others wrote, with signs in place of characters that command a terminal."""
    return text.translate(_CONTROLS)
