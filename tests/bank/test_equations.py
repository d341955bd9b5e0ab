"""Equations in running text: read leniently, believed only where they compute what they state."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.bank.algebra import computations
from agentbank_jax.bank.equations import evaluate, find_equations, has_operator, numbers, tidy


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("so 46 bags weigh 46*7kg = 322kg", "46 * 7"),
        ("200 games * 63% = 126 games", "200 * (63 / 100)"),
        ("it is (3/12) * 100% = 25%.", "3 / 12 * 100"),
        ("10 ounces/bowl * 5 bowls/minute = 50 ounces/minute", "10 * 5"),
        ("32 tables x 2 fish = 64 fish", "32 * 2"),
        ("Rachel: 5+2(4)=13 hours", "5 + 2 * 4"),
        ("20% of $50 = $10", "(20 / 100) * 50"),
        ("3/12 = 25%", "3 / 12 * 100"),
        ("a 3-page letter: 3*2=6", "3 * 2"),
        ("$80 000+ $16 000 + $4 000 = $100 000", "80000 + 16000 + 4000"),
        ("5 times 6 = 30", "5 * 6"),
    ],
)
def test_an_equation_with_units_becomes_its_arithmetic(text: str, expression: str) -> None:
    found = [equation.expression for equation in find_equations(text)]
    assert len(found) == 1
    assert evaluate(found[0]) == evaluate(expression)
    assert found[0].replace("(", "").replace(")", "") == expression.replace("(", "").replace(")", "")


@pytest.mark.parametrize("text", ["3 + 4 = 8", "x = 5", "10=2 = $12", "5p = 80", "a = b", "2 = 2"])
def test_text_that_does_not_compute_what_it_states_is_no_equation(text: str) -> None:
    assert list(find_equations(text)) == []


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 999)), min_size=1, max_size=5), st.integers(0, 999))
def test_any_chain_of_integers_is_found_again(rest: list[tuple[str, int]], first: int) -> None:
    expression = str(first) + "".join(f" {sign} {number}" for sign, number in rest)
    value = evaluate(expression)
    found = list(find_equations(f"Together they have {expression} = {value} apples."))
    assert [equation.expression for equation in found] == [expression]
    assert found[0].stated == value


@pytest.mark.parametrize(
    ("annotated", "written"),
    [("48/2", "48 / 2"), ("4*.50", "4 * 0.5"), ("(12+2)-3*-2", "(12 + 2) - 3 * -2"), ("2x+3", None), ("", None)],
)
def test_annotations_are_written_with_blanks(annotated: str, written: str | None) -> None:
    assert tidy(annotated) == written


@given(st.fractions(min_value=0, max_value=10**6, max_denominator=1).map(int), st.integers(1, 99))
def test_tidying_keeps_the_value(one: int, other: int) -> None:
    assert evaluate(tidy(f"{one}/{other}+({one}-{other})") or "") == Fraction(one, other) + one - other


def test_a_bare_number_computes_nothing() -> None:
    assert not has_operator("9")
    assert not has_operator("-9")
    assert has_operator("9 - 1")


def test_numbers_are_found_with_their_places() -> None:
    assert numbers("1,200 and .5") == [(0, 5, Fraction(1200)), (10, 12, Fraction(1, 2))]


@pytest.mark.parametrize(
    ("lines", "expressions"),
    [
        (["we get 5z = 80", "Dividing both sides by 5, we get z = 16"], ["80 / 5"]),
        (["26=5+3x", "21=3x", "x=7"], ["26 - 5", "21 / 3"]),
        (["Thus 110 - x = 60.", "Thus x = 50 books"], ["110 - 60"]),
        (["2x + 30 = 160 toys", "we get x = 65, so"], ["160 - 30", "130 / 2"]),
        (["4/3b = 48", "we get b = 36"], ["48 / (4 / 3)"]),
        (["x=300/3", "x=100"], ["300 / 3"]),
        (["2C-2=C+5", "C=7"], ["5 + 2"]),
        (["5z = 80", "z = 15"], []),
        (["s = 4 + 1/3b", "b = 36"], []),
        (["No equations here."], []),
    ],
)
def test_the_arithmetic_between_linear_equations_is_read_off(lines: list[str], expressions: list[str]) -> None:
    assert [each for step in computations(lines) for each in step.expressions] == expressions
