"""The settings that a gin text holds, read without binding or importing anything."""

import tokenize
from typing import Any

from gin import config_parser

from agentbank_jax.errors import AgentBankError, first_line


class _Reference:
    """A reference or a macro, which stays a text."""

    def __init__(self, text: str):
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Delegate(config_parser.ParserDelegate):
    """Takes every name as it stands."""

    def configurable_reference(self, scoped_selector: str, evaluate: bool) -> _Reference:
        return _Reference(f"@{scoped_selector}{'()' if evaluate else ''}")

    def macro(self, name: str) -> _Reference:
        return _Reference(f"%{name}")


def read_settings(text: str) -> dict[str, str]:
    """The values of an operative configuration as texts, by `scope/Name.parameter` or the name of the macro.

    Raises:
      AgentBankError: it is not gin.
    """
    settings: dict[str, str] = {}
    try:
        parser = config_parser.ConfigParser(text, _Delegate())
        statements: list[Any] = list(parser)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError) as error:
        raise AgentBankError(f"not valid gin: {first_line(error)}") from None
    for statement in statements:
        if isinstance(statement, config_parser.BindingStatement):
            scope = f"{statement.scope}/" if statement.scope else ""
            parameter = f".{statement.arg_name}" if statement.arg_name else ""
            settings[f"{scope}{statement.selector}{parameter}"] = repr(statement.value)
    return settings
