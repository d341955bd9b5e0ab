"""Errors that a user can act on, and name suggestions for their messages."""

import difflib
from collections.abc import Iterable


class AgentBankError(Exception):
    """A mistake that the user can mend: a bad value, a missing file, an unknown name.

    The message is one or a few lines: the value, what was expected, and the remedy.
    Command-line entry points print it without a traceback and exit with status 2.
    """


class Stopped(Exception):
    """The end of a program that was asked to stop and has kept its work: the same command goes on.

    Fields:
      status: the exit status, 75 (`EX_TEMPFAIL`) where a launcher should start the program again.
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def first_line(error: Exception) -> str:
    """What an error of another library says, without the lines that follow; the name of its type if it says nothing."""
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Returns `" Did you mean 'x'?"` for the nearest candidate, or the list when it is short.

    Args:
      name: what the user wrote.
      candidates: the names that exist.

    Returns:
      A sentence that starts with a space, ready to append to a message; `""` when there
      is nothing to suggest.
    """
    known = sorted(set(candidates))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{near[0]}'?"
    if known and len(known) <= 12:
        return f" Known: {', '.join(known)}."
    return ""
