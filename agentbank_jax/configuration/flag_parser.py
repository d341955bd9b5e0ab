"""Parsers of commands whose mistakes are errors of one line, with a suggestion."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from agentbank_jax.errors import AgentBankError, did_you_mean


class FlagParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises an `AgentBankError` instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise AgentBankError(f"{message}. See {self.prog} --help.")


def make_parser(program: str, description: str, epilog: str) -> FlagParser:
    """Returns a parser without flags whose `--help` shows the texts as they are."""
    return FlagParser(
        prog=program,
        description=description,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse_flags(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parses arguments.

    Raises:
      AgentBankError: on an unknown or malformed flag.
      SystemExit: after `--help`, with status 0.
    """
    flags = [option for option in parser._option_string_actions if option.startswith("--")]
    # First, because a misspelt flag may be one that has to be there.
    unknown = [each for each in arguments if each.startswith("--") and each.split("=", 1)[0] not in flags]
    if not unknown:
        known, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag = unknown[0].split("=", 1)[0]
        raise AgentBankError(f"unknown argument '{unknown[0]}'.{did_you_mean(flag, flags)} See {parser.prog} --help.")
    return known
