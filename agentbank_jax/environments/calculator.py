"""Word problems solved with a calculator: an expression, its value, then `Final Answer: …`."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from agentbank_jax.environments.base import (
    FINAL_ANSWER_PREFIX,
    ExpertStep,
    TextEnvironment,
    begun,
    judged,
    payload_of,
)
from agentbank_jax.environments.turn_text import stated_answer

PROTOCOL = "calculator/1"
TOLERANCE = Fraction(1, 1_000_000)

_MAX_LENGTH = 400
_MAX_DEPTH = 50
_MAX_EXPONENT = 512
_MAX_BITS = 4096
_DECIMALS = 4

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d*)?|\.\d+)|(?P<operator>\*\*|//|[-+*/%()^])|(?P<of>of\b))"
)
_CURRENCY = re.compile(r"[$€£¥]")
_NUMBER_IN_TEXT = re.compile(r"-?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|/\d+)?|\.\d+)%?")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


class ExpressionError(ValueError):
    """Text that is not an expression, or one that is too large or undefined; the message is an observation."""


@dataclass(frozen=True, kw_only=True)
class CalculatorProblem:
    """A word problem.

    Fields:
      question: the first observation.
      answer: the accepted value.
      plan: the expert's expressions in order, and last its final answer.
    """

    question: str
    answer: Fraction
    plan: tuple[ExpertStep, ...] = field(default=())


class _Parser:
    """Recursive descent over rational numbers, evaluated while it reads; each rule is one method."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise ExpressionError(f"the expression is longer than {_MAX_LENGTH} characters")
        text = _CURRENCY.sub("", text.translate(_SIGNS)).rstrip()
        self._tokens: list[str] = []
        self._depth = 0
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise ExpressionError(f"cannot read '{text[at:].strip()[:20]}'")
            self._tokens.append(token[0].strip())
            at = token.end()
        self._at = 0

    def value(self) -> Fraction:
        result = self._sum()
        if self._peek():
            raise ExpressionError(f"unexpected '{self._peek()}'")
        return result

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _take(self, *choices: str) -> str:
        token = self._peek()
        if token and token in choices:
            self._at += 1
            return token
        return ""

    def _starts_operand(self, token: str) -> bool:
        return token == "(" or token[:1].isdigit() or token[:1] == "."

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpressionError("too many parentheses")
        result = self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            result = _bounded(result + term if sign == "+" else result - term)
        self._depth -= 1
        return result

    def _product(self) -> Fraction:
        result = self._signed()
        while True:
            if sign := self._take("*", "of", "/", "//", "%"):
                factor = self._signed()
            elif self._peek() == "(":
                # GSM8K writes 5(3) for a product.
                sign, factor = "*", self._signed()
            else:
                return result
            if sign in ("/", "//", "%") and factor == 0:
                raise ExpressionError("division by zero")
            if sign in ("*", "of"):
                result *= factor
            elif sign == "/":
                result /= factor
            elif sign == "//":
                result = Fraction(result // factor)
            else:
                result = result % factor
            result = _bounded(result)

    def _signed(self) -> Fraction:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        result = self._power()
        return -result if negative else result

    def _power(self) -> Fraction:
        base = self._percent()
        if self._take("**", "^"):
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise ExpressionError("too many powers")
            exponent = self._signed()
            self._depth -= 1
            return _power(base, exponent)
        return base

    def _percent(self) -> Fraction:
        result = self._atom()
        # A percent sign is a remainder only between two operands.
        while self._peek() == "%" and not self._starts_operand(self._peek(1)):
            self._at += 1
            result /= 100
        return result

    def _atom(self) -> Fraction:
        token = self._peek()
        if self._take("("):
            result = self._sum()
            if not self._take(")"):
                raise ExpressionError("a parenthesis is not closed")
            return result
        if not token or not self._starts_operand(token):
            raise ExpressionError(f"a number is missing before '{token}'" if token else "a number is missing")
        self._at += 1
        return _bounded(Fraction(token.replace(",", "").removesuffix(".")))


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > _MAX_BITS or value.denominator.bit_length() > _MAX_BITS:
        raise ExpressionError("the value is too large")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0 and exponent < 0:
        raise ExpressionError("division by zero")
    if abs(exponent) > _MAX_EXPONENT:
        raise ExpressionError("the exponent is too large")
    if exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent.numerator) > 2 * _MAX_BITS:
            raise ExpressionError("the value is too large")
        return _bounded(base**exponent.numerator)
    try:
        root = float(base) ** float(exponent)
    except OverflowError as error:
        raise ExpressionError("the value is too large") from error
    if isinstance(root, complex):
        raise ExpressionError("the root of a negative number")
    return Fraction(str(root))


def evaluate(expression: str) -> Fraction:
    """Returns the exact value of an arithmetic expression.

    Accepts + - * / // % ** ^ and parentheses, decimals, percentages (`20%`, `20% of 50`),
    thousands commas, currency signs and products such as `5(3)`. Roots are rounded to a float.

    Raises:
      ExpressionError: where the text is no expression, divides by zero or is too large.
    """
    return _Parser(expression).value()


def format_value(value: Fraction) -> str:
    """Writes a value as GSM8K does: an integer plainly, a decimal with at most 4 decimals, a tiny one with 4 digits."""
    if value.denominator == 1:
        return str(value.numerator)
    rounded = round(value, _DECIMALS)
    if abs(value) < Fraction(1, 10):
        text = f"{float(value):.{_DECIMALS}g}"
        if "e" not in text:
            return text
        return f"{float(value):.12f}".rstrip("0").rstrip(".") if abs(value) >= Fraction(1, 10**12) else "0"
    whole, decimals = divmod(abs(rounded.numerator) * (10**_DECIMALS // rounded.denominator), 10**_DECIMALS)
    text = f"{'-' if value < 0 else ''}{whole}.{decimals:0{_DECIMALS}d}"
    return text.rstrip("0").rstrip(".")


def parse_number(text: str) -> Fraction | None:
    """Returns the number that an answer states, or None where it states none or several.

    Units, currency signs, thousands commas and a full stop at the end are passed over.
    """
    if len(text) > _MAX_LENGTH:
        return None
    found = _NUMBER_IN_TEXT.findall(_CURRENCY.sub("", text.translate(_SIGNS)))
    if len(found) != 1:
        return None
    number = found[0].replace(",", "")
    try:
        return Fraction(number.removesuffix("%"))
    except ZeroDivisionError:
        return None


def same_value(one: Fraction, other: Fraction) -> bool:
    """Whether two values differ by at most `TOLERANCE`, relative where they exceed 1."""
    return abs(one - other) <= TOLERANCE * max(Fraction(1), abs(other))


class CalculatorEnvironment(TextEnvironment):
    """Answers an expression with its value, and scores `Final Answer: …` as a number.

    `info` of a calculation holds `value`, the exact `Fraction`; the final step's holds `success`,
    and `answer_computed`: whether an earlier step of the episode produced the stated value.
    """

    def __init__(self) -> None:
        self._problem: CalculatorProblem | None = None
        self._values: list[Fraction] = []

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._problem = payload_of(options, CalculatorProblem, "calculator")
        self._values = []
        return self._current.question, {"invalid_action": False}

    @property
    def _current(self) -> CalculatorProblem:
        return begun(self._problem, "calculator")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        action = action.strip()
        answer = stated_answer(action)
        if answer is not None:
            stated = parse_number(answer)
            right = stated is not None and same_value(stated, problem.answer)
            computed = stated is not None and any(same_value(value, stated) for value in self._values)
            return judged(right, answer_computed=computed)
        try:
            value = evaluate(action)
        except ExpressionError as error:
            return f"Error: {error}.", 0.0, False, False, {"invalid_action": True}
        self._values.append(value)
        return format_value(value), 0.0, False, False, {"invalid_action": False, "value": value}

    def expert_steps(self) -> list[ExpertStep]:
        return list(self._current.plan)

    def sample_action(self, rng: random.Random) -> str:
        numbers = re.findall(r"\d+", self._current.question) or ["1"]
        numbers += [format_value(value) for value in self._values]
        expression = f"{rng.choice(numbers)} {rng.choice('+-*/')} {rng.choice(numbers)}"
        return rng.choice((expression, f"{FINAL_ANSWER_PREFIX} {rng.choice(numbers)}"))
