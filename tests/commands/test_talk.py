import io
import signal
from collections.abc import Iterator

import pytest
from rich.console import Console

from agentbank_jax.agents.chat import Chat
from agentbank_jax.commands.console import visible
from agentbank_jax.commands.talk import talk
from agentbank_jax.errors import AgentBankError
from tests.agents.test_chat import make_chat


class Terminal(io.StringIO):
    """Standard input that a person types at; Ctrl-C where a line is `^C`."""

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:
        line = super().readline()
        if line == "^C\n":
            signal.raise_signal(signal.SIGINT)
        return line


def say(monkeypatch: pytest.MonkeyPatch, chat: Chat, said: io.TextIOBase) -> str:
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdin", said)
    # The prompt goes to standard output by itself.
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert talk(chat, Console(file=shown, width=100), "made") == 0
    return shown.getvalue()


def test_ctrl_c_ends_a_reply_between_two_steps_and_the_next_reply_is_as_if_it_had_not_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = say(monkeypatch, make_chat(), io.StringIO("ABC\n"))
    chat, whole = make_chat(), Chat.say
    interrupted: list[str] = []

    def interrupt(self: Chat, content: str) -> Iterator[str]:
        for text in whole(self, content):
            if content == "DEF":
                interrupted.append(text)
                signal.raise_signal(signal.SIGINT)
            yield text

    monkeypatch.setattr(Chat, "say", interrupt)
    before = signal.getsignal(signal.SIGINT)
    told = say(monkeypatch, chat, Terminal("DEF\nABC\n"))
    assert len(interrupted) == 1 and told.endswith(f"{interrupted[0]} …\n{expected}")
    assert chat.turns[0].content == "ABC" and signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_a_line_is_typed_forgets_it_and_says_how_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = make_chat()
    told = say(monkeypatch, chat, Terminal("^C\nABC\n/quit now\nABC\n"))
    assert "/quit or Ctrl-D ends" in told and [turn.content for turn in chat.turns if turn.role == "user"] == ["ABC"]


def test_a_terminals_mistakes_are_told_and_the_conversation_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    chat = make_chat()
    told = say(monkeypatch, chat, Terminal("A\udcff\n" + "A" * 200 + "\nABC\n"))
    assert "no text in" in told and "/reset begins another" in told and len(chat.turns) == 2


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_bytes_that_are_no_text_are_one_line_that_names_the_encoding(
    monkeypatch: pytest.MonkeyPatch, errors: str
) -> None:
    said = io.TextIOWrapper(io.BytesIO(b"AB\xff\n"), encoding="utf-8", errors=errors)
    with pytest.raises(AgentBankError, match="no text in utf-8; expected"):
        say(monkeypatch, make_chat(), said)


def test_without_an_input_there_is_nothing_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert talk(make_chat(), Console(file=io.StringIO()), "made") == 0


def test_what_others_wrote_does_not_command_the_terminal() -> None:
    assert visible("a\x1b[2J\rb\x07\x7f\x9b\n\tç€😀") == "a␛[2J␍b␇␡\ufffd\n\tç€😀"
