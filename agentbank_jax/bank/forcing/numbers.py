"""Numbers in sentences, by value: in digits, in words, and computed before the reader's eyes."""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction

from agentbank_jax.environments.calculator import ExpressionError, evaluate, format_value, parse_number, same_value

_SMALL = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9},
    **{"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16},
    **{"seventeen": 17, "eighteen": 18, "nineteen": 19},
}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_PARTS = {
    "half": Fraction(1, 2),
    "halves": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
    "dozen": Fraction(12),
    "score": Fraction(20),
    "hundred": Fraction(100),
    "thousand": Fraction(1000),
    "million": Fraction(1_000_000),
}
# What nobody has to tell: small counts, and how units of time, angle, length and money are parted; a hundredth.
_COMMON = frozenset({*range(13), 14, 24, 28, 30, 31, 52, 60, 90, 100, 180, 360, 365, 1000, Fraction(1, 100)})

_DIGITS = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+")
_NAMED = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})(?:[- ](?P<unit>{'|'.join(list(_SMALL)[1:10])}))?"
    rf"|(?P<small>{'|'.join(_SMALL)}))\b"
)
_PART = re.compile(rf"\b(?:{'|'.join(_PARTS)})\b")
_EQUATION = re.compile(r"(?P<left>[-+*/×·÷−^().,%$€£\d\s]+)=\s*(?P<right>[-−]?[$€£]?\d[\d,]*(?:\.\d+)?)")
_OPERATOR = re.compile(r"[\d)%]\s*[-+*/×·÷−^]\s*[$(.\d]")


def mentions(text: str) -> Iterator[tuple[int, Fraction]]:
    """The numbers of a text with the places where they begin; of `144/2` the two."""
    for digits in _DIGITS.finditer(text):
        value = parse_number(digits.group())
        if value is not None:
            yield digits.start(), value
    for word in _NAMED.finditer(text.lower()):
        if word["small"]:
            yield word.start(), Fraction(_SMALL[word["small"]])
        else:
            yield word.start(), Fraction(_TENS[word["tens"]] + _SMALL[word["unit"] or "zero"])


def values(text: str) -> set[Fraction]:
    """The numbers of a text; `half` and the like count as what they mean."""
    return {value for _, value in mentions(text)} | {_PARTS[found] for found in _PART.findall(text.lower())}


def is_among(value: Fraction, others: Iterable[Fraction]) -> bool:
    """Whether one of `others` is this number, up to its sign and to the digits that a calculator shows."""
    return any(same_value(abs(value), abs(other)) or format_value(value) == format_value(other) for other in others)


def computed(text: str, known: set[Fraction]) -> list[tuple[int, Fraction]]:
    """The right sides of a text's equations that hold, such as `24 * 3 = 72`, from numbers that were known.

    Args:
      text: the text.
      known: values that were told before; each right side is known to the equations after it.

    Returns:
      Where each right side's number begins, and its value.
    """
    known = set(known)
    found = []
    for equation in _EQUATION.finditer(text):
        left = equation["left"].strip().strip(",.").strip()
        right = parse_number(equation["right"])
        if right is None or not _OPERATOR.search(left):
            continue
        try:
            value = evaluate(left)
        except ExpressionError:
            continue
        if (same_value(value, right) or format_value(value) == format_value(right)) and is_derived(left, known):
            digits = re.search(r"\d", equation["right"])
            assert digits is not None
            found.append((equation.start("right") + digits.start(), right))
            known.add(right)
    return found


def is_derived(expression: str, known: set[Fraction]) -> bool:
    """Whether an expression computes with what was known: each number was told, also as a percentage, its rest or its
    growth, or is one that nobody has to tell; and at least one was told."""
    operands = [value for _, value in mentions(expression)]
    percentages = {value / 100 for value in known}
    told = known | percentages | {1 - value for value in percentages} | {1 + value for value in percentages}
    told |= {100 - value for value in known} | {100 + value for value in known} | {1 - value for value in known}
    return any(value in known for value in operands) and all(
        value in _COMMON or is_among(value, told) for value in operands
    )


def arithmetic(action: str) -> Fraction | None:
    """The value of an action that is an expression; None of any other."""
    try:
        return evaluate(action)
    except ExpressionError:
        return None
