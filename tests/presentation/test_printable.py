"""Texts that others wrote cannot steer a terminal or break a page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.presentation.printable import printable


@pytest.mark.parametrize("harmful", ["\x1b[2J", "\x9b2J", "\x00", "\x07", "\x7f", "\ud800", "\u202e", "\u2066"])
def test_controls_of_terminals_and_of_direction_and_halves_of_pairs_are_replaced(harmful: str) -> None:
    assert printable(f"a{harmful}b") == f"a\N{REPLACEMENT CHARACTER}{harmful[1:]}b"


@given(st.text())
def test_what_can_be_shown_stays_and_the_rest_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text) and shown.encode("utf-8").decode("utf-8") == shown
    assert all(a == b or b == "\N{REPLACEMENT CHARACTER}" for a, b in zip(text, shown, strict=True))
    assert printable("tab\tline\nreturn\r ümlaut 🙂\u2028") == "tab\tline\nreturn\r ümlaut 🙂\u2028"
