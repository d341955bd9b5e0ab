"""A conversation in the terminal: lines in, replies out, and what Ctrl-C means between them."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from agentbank_jax.commands.console import visible
from agentbank_jax.errors import AgentBankError, did_you_mean

if TYPE_CHECKING:
    from agentbank_jax.agents.chat import Chat

_ORDERS = ("/reset", "/system", "/quit")


def talk(chat: "Chat", console: Console, title: str) -> int:
    """Answers line after line until `/quit` or the end of the input; returns the exit status.

    In a terminal a line that cannot be answered is told and the conversation goes on, and Ctrl-C ends a reply, or
    forgets the line that is being typed; from a pipe both end it.

    Raises:
      AgentBankError: from a pipe, a line that does not fit or is no text.
    """
    person = sys.stdin is not None and sys.stdin.isatty()
    if person:
        # Where it is there, `input` edits a line and remembers those before it.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401
        console.print(f"{title}; /reset, /system TEXT, /quit; Ctrl-C ends a reply", style="dim", highlight=False)
    with _interrupts(chat) if person else contextlib.nullcontext(_Typing()) as typing:
        while (line := _next_line(console, typing, person)) is not None and line.partition(" ")[0] != "/quit":
            try:
                if line.startswith("/"):
                    _obey(line, chat, console)
                elif line:
                    _answer(line, chat, console)
            except AgentBankError as error:
                if not person:
                    raise
                _tell(console, f"{error} /reset begins another.")
    return 0


class _Typing:
    """Whether a line is being typed; else Ctrl-C is meant for the reply."""

    now = False


@contextlib.contextmanager
def _interrupts(chat: "Chat") -> Iterator[_Typing]:
    """Lets Ctrl-C end a reply between two steps: raised within one, it would leave the engine without its cache."""
    typing = _Typing()

    def interrupt(*_: object) -> None:
        if typing.now:
            raise KeyboardInterrupt
        chat.stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield typing
    finally:
        signal.signal(signal.SIGINT, before)


def _next_line(console: Console, typing: _Typing, person: bool) -> str | None:
    """The next line, without white space at its ends; empty where there is nothing to answer, None at the end."""
    if sys.stdin is None:
        return None
    try:
        typing.now = True
        line = input("> " if person else "").strip()
        # What a terminal's bytes cannot say comes as halves of surrogate pairs.
        line.encode()
    except EOFError:
        return None
    except KeyboardInterrupt:
        if not person:
            raise
        console.print()
        _tell(console, "/quit or Ctrl-D ends the conversation.")
        return ""
    except UnicodeError:
        told = f"The line is no text in {sys.stdin.encoding}; expected text in it, or another PYTHONIOENCODING."
        if not person:
            raise AgentBankError(told) from None
        _tell(console, told)
        return ""
    finally:
        typing.now = False
    return line


def _obey(line: str, chat: "Chat", console: Console) -> None:
    order, _, rest = line.partition(" ")
    if order == "/system":
        chat.restart(rest)
    elif order == "/reset":
        chat.restart()
    else:
        _tell(console, f"no order is called '{order}'.{did_you_mean(order, _ORDERS)}")


def _answer(line: str, chat: "Chat", console: Console) -> None:
    for text in chat.say(line):
        console.print(visible(text), end="", markup=False, highlight=False, soft_wrap=True)
        console.file.flush()
    if chat.stopped:
        console.print(" …", end="", highlight=False)
    console.print()


def _tell(console: Console, message: str) -> None:
    console.print(message, style="yellow", markup=False, highlight=False)
