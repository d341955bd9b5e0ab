import gzip
import json
import os
import random
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.calculator import (
    CalculatorEnvironment,
    CalculatorProblem,
    ExpressionError,
    evaluate,
    format_value,
    parse_number,
    same_value,
)


def started(answer: Fraction = Fraction(72)) -> CalculatorEnvironment:
    environment = CalculatorEnvironment()
    problem = CalculatorProblem(question="How many are 2 * 12, three times?", answer=answer)
    environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=problem)})
    return environment


@pytest.mark.parametrize(
    ("expression", "observation"),
    [
        ("2 * 12", "24"),
        ("48/2", "24"),
        (".75*20", "15"),
        ("$1,200 * 3", "3600"),
        ("20%*50", "10"),
        ("20% of 50", "10"),
        ("50 / 20%", "250"),
        ("10%-1", "-0.9"),
        ("7 % 3", "1"),
        ("7 // 2", "3"),
        ("5(3)", "15"),
        ("(1+2)(3)", "9"),
        ("2 × 3 ÷ 4 − 1", "0.5"),
        ("-2**2", "-4"),
        ("2**3**2", "512"),
        ("2^-1", "0.5"),
        ("4 ** 0.5", "2"),
        ("1/3", "0.3333"),
        ("-2/3", "-0.6667"),
        ("1/8", "0.125"),
        ("1/16", "0.0625"),
        ("1,000,000/7", "142857.1429"),
        ("0.1 + 0.2", "0.3"),
        ("5.", "5"),
    ],
)
def test_an_expression_is_answered_with_its_value(expression: str, observation: str) -> None:
    shown, reward, terminated, _, info = started().step(expression)
    assert shown == observation and reward == 0 and not terminated and not info["invalid_action"]
    assert info["value"] == evaluate(expression)


@pytest.mark.parametrize(
    "expression",
    ["", "x + 1", "1 +", ")", "(1", "1 2", "12,34", "1/0", "5 % 0", "0 ** -1", "9**9**9", "(-2) ** 0.5", "2 ** 100000",
     "(" * 200, "-" * 500 + "1", "9" * 1000, "2^" * 150 + "1", "__import__('os')", "1e999", "(9**500)**500"],
)  # fmt: skip
def test_what_is_no_expression_or_too_large_is_an_observation(expression: str) -> None:
    observation, reward, terminated, _, info = started().step(expression)
    assert observation.startswith("Error: ") and reward == 0 and not terminated and info["invalid_action"]


@given(st.text(alphabet="0123456789+-*/%()., ^$of", max_size=40))
def test_no_text_raises(text: str) -> None:
    observation, *_ = started().step(text)
    assert observation


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=1000))
def test_what_is_shown_is_within_half_a_unit_of_its_last_place(value: Fraction) -> None:
    assert abs(Fraction(format_value(value)) - value) <= Fraction(1, 10_000)


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from("+-*"))
def test_integers_are_exact(one: int, other: int, operator: str) -> None:
    assert evaluate(f"({one}) {operator} ({other})") == {"+": one + other, "-": one - other, "*": one * other}[operator]


@pytest.mark.parametrize(
    ("answer", "number"),
    [("72", 72), ("$72.", 72), ("72 clips", 72), ("1,234.50", Fraction("1234.5")), ("-3", -3), (".5", Fraction(1, 2)),
     ("2,125", 2125), ("1,200 dollars", 1200), ("1,2", None), ("3/4", Fraction(3, 4)),
     ("72.0", 72), ("50%", 50), ("12 or 13", None), ("none", None), ("1/0", None)],
)  # fmt: skip
def test_an_answer_is_read_as_a_number(answer: str, number: Fraction | None) -> None:
    assert parse_number(answer) == number


@pytest.mark.parametrize(
    ("answer", "reward"), [("72", 1.0), ("$72.00", 1.0), ("71", 0.0), ("72 or 71", 0.0), ("", 0.0)]
)
def test_the_answer_is_compared_as_a_number(answer: str, reward: float) -> None:
    _, got, terminated, _, info = started().step(f"Final Answer: {answer}")
    assert got == reward and terminated and info["success"] == (reward == 1)


def test_a_relative_millionth_is_forgiven() -> None:
    assert same_value(Fraction("0.3333334"), Fraction(1, 3)) and not same_value(Fraction("0.3334"), Fraction(1, 3))


def test_info_tells_whether_the_answer_was_computed() -> None:
    pasted, worked = started(), started()
    worked.step("24 * 3")
    assert not pasted.step("Final Answer: 72")[4]["answer_computed"]
    assert worked.step("Final Answer: 72")[4]["answer_computed"]


def test_reset_forgets_the_values() -> None:
    environment = started()
    environment.step("24 * 3")
    problem = CalculatorProblem(question="?", answer=Fraction(72))
    environment.reset(options={"instance": Instance(id="y", fingerprint="y", payload=problem)})
    assert not environment.step("Final Answer: 72")[4]["answer_computed"]


def test_a_random_action_is_understood() -> None:
    rng = random.Random(0)
    for _ in range(20):
        environment = started()
        assert not environment.step(environment.sample_action(rng))[4]["invalid_action"]


DATA = os.environ.get("AGENTBANK_TEST_DATA")


@pytest.mark.skipif(DATA is None, reason="AGENTBANK_TEST_DATA is not set")
def test_every_annotation_of_gsm8k_is_computed() -> None:
    # Its own values are rounded to two places.
    wrong = []
    with gzip.open(Path(DATA or "") / "gsm8k" / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            for expression, stated in re.findall(r"<<([^>=]*)=([^>]*)>>", json.loads(line)["answer"]):
                try:
                    value = evaluate(expression)
                except ExpressionError as error:
                    wrong.append((expression, str(error)))
                    continue
                number = parse_number(stated)
                if number is None or abs(value - number) > Fraction(1, 50):
                    wrong.append((expression, stated))
    assert not wrong
