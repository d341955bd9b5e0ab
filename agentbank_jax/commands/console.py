"""Where the entry points print."""

import sys

from rich.console import Console

_WIDTH = 140


def make_console() -> Console:
    """Standard output; into a file or a pipe wide enough that no table is cut."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH)
