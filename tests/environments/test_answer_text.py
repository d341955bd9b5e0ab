from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.answer_text import (
    last_boxed,
    read_number,
    read_quantity,
    read_sentence,
    simplify,
    split_equation,
)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so \boxed{5}.", "5"),
        (r"first \boxed{1}, then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\left\{\frac{\sqrt{2}}{2}, {{3}}\right\}}", r"\left\{\frac{\sqrt{2}}{2}, {{3}}\right\}"),
        (r"\boxed 5 is it", "5"),
        (r"\boxed{}", ""),
        (r"\fbox{12}", "12"),
        (r"\boxed\frac{1}{2}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{7", None),
        ("no box", None),
        (r"\boxed", None),
    ],
)
def test_the_last_box_holds_the_answer(solution: str, answer: str | None) -> None:
    assert last_boxed(solution) == answer


@pytest.mark.parametrize(
    ("written", "simple"),
    [
        (r"\dfrac12", r"\frac{1}{2}"),
        (r"\frac 9{20}", r"\frac{9}{20}"),
        (r"\frac{\sqrt6}3", r"\frac{\sqrt{6}}{3}"),
        (r"\frac \pi4", r"\frac{\pi}{4}"),
        (r"\sqrt[3]{2}", r"\sqrt[3]{2}"),
        ("sqrt(x+(1))", r"\sqrt{x+(1)}"),
        (r"\$16,\!386.16", "16386.16"),
        ("15{,}600", "15600"),
        ("1,234,567", "1234567"),
        ("(128,256)", "(128,256)"),
        ("1,234 dollars", "1234"),
        (r"\left(1, 2\right]", "(1, 2]"),
        (r"45^{\circ}", "45"),
        ("45°", "45"),
        ("69 degrees", "69"),
        (r"69\text{ degrees}", "69"),
        (r"864 \mbox{ inches}^2", "864"),
        ("12 square units", "12"),
        ("25 ft", "25"),
        ("−5", "-5"),
        ("The answer is 25.", "25"),
        ("**25**", "25"),
        (r"\(25\)", "25"),
        (r"\text{(C)}", "(C)"),
        (r"9\text{ a.m.}", "9am"),
        ("9:00 AM", "9am"),
        ("36xy", "36xy"),
        ("2 sin", "2 sin"),
        (r"19 \text{ and }43", "19 ,43"),
        ("3½", r"3 \frac{1}{2}"),
        (r"44\%", "44%"),
    ],
)
def test_answers_are_written_one_way(written: str, simple: str) -> None:
    assert simplify(written) == simple


@given(st.text(alphabet="0123456789+-*/%(){}[]., ^$\\_=<>:;!~frac sqrtboxed text πé½°√", max_size=60))
def test_no_text_raises(text: str) -> None:
    simple = simplify(text)
    read_number(simple), read_quantity(simple), read_sentence(text), split_equation(simple)


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=999))
def test_a_fraction_is_read_in_each_of_its_forms(value: Fraction) -> None:
    above, below = value.numerator, value.denominator
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(above), below)
    for text in (
        f"{above}/{below}",
        rf"\frac{{{above}}}{{{below}}}",
        rf"{sign}\frac{{{abs(above)}}}{{{below}}}",
        rf"{sign}{whole}\frac{{{rest}}}{{{below}}}",
        f"{sign}{whole} {rest}/{below}",
    ):
        number = read_number(simplify(text))
        assert number is not None and number.value == value and not number.percent, text


@pytest.mark.parametrize(
    ("text", "value", "places"),
    [
        ("1.50", Fraction(3, 2), 2),
        ("5.", Fraction(5), 0),
        (".5", Fraction(1, 2), 1),
        ("1.5e-3", Fraction(3, 2000), 4),
        (r"1.5 \times 10^{-3}", Fraction(3, 2000), 4),
        ("1.5*10^3", Fraction(1500), -2),
        ("6e+25", Fraction(6 * 10**25), -25),
        ("+7", Fraction(7), 0),
    ],
)
def test_a_decimal_keeps_its_places(text: str, value: Fraction, places: int) -> None:
    number = read_number(simplify(text))
    assert number is not None and (number.value, number.places) == (value, places)


@pytest.mark.parametrize("text", ["", "x", "1/0", "1 2", "5x", "(5)", "1e9999", "9" * 300, "1:2", "5,6", "--5", r"\pi"])
def test_what_is_no_number_is_none(text: str) -> None:
    assert read_number(simplify(text)) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("x = 5", 5), ("5 m", 5), ("144 m^3", 144), ("5 km/h", 5), ("5x", None), ("5i", None), ("5 million", None)],
)
def test_units_of_any_letters_follow_a_quantity(text: str, value: int | None) -> None:
    number = read_quantity(simplify(text))
    assert (None if number is None else number.value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("She has 72 clips left.", 72), ("about 75", 75), ("5 or 6 clips", None), ("not 5", None), ("minus 5", None),
     ("5", None), ("the root of 5", None)],
)  # fmt: skip
def test_a_sentence_tells_one_number_as_it_stands(text: str, value: int | None) -> None:
    assert read_sentence(text) == value
