"""MathQA's annotated formulas as expressions that a calculator takes: `divide(8.5, subtract(5.5, 5))`."""

import math
import re
from dataclasses import dataclass

from agentbank_jax.environments.calculator import ExpressionError, evaluate, format_value

_TOKEN = re.compile(r"\s*([A-Za-z_][\w.]*|-?\d[\d,]*(?:\.\d+)?|[(),])")

# Operation → its expression over the values of its arguments.
_OPERATIONS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "speed": "{} / {}",
    "power": "{} ** {}",
    "sqrt": "{} ** 0.5",
    "inverse": "1 / {}",
    "negate": "0 - {}",
    "negate_prob": "1 - {}",
    "floor": "{} // 1",
    "reminder": "{} % {}",
    "square_area": "{} ** 2",
    "rectangle_area": "{} * {}",
    "triangle_area": "{} * {} / 2",
    "circle_area": "3.1416 * {} ** 2",
    "circumface": "2 * 3.1416 * {}",
    "volume_cube": "{} ** 3",
    "volume_sphere": "4 / 3 * 3.1416 * {} ** 3",
    "volume_cylinder": "3.1416 * {} ** 2 * {}",
}
_LARGEST_FACTORIAL = 10


class FormulaError(ValueError):
    """A formula that cannot be calculated here."""


@dataclass(frozen=True)
class Calculation:
    """An expression of numbers alone, and its value as the calculator shows it."""

    expression: str
    value: str


def calculations(formula: str, *, most: int | None = None) -> list[Calculation]:
    """Returns the calculations of a formula, inner ones first and none twice; the last one's value is the formula's.

    Args:
      formula: the annotation.
      most: where there are more, the first ones become parts of those that use their values, until so many are left:
        a long formula then fits into an episode of few turns, and is not left out for being hard.

    Raises:
      FormulaError: on an operation without an expression, or one that is undefined or too large.
    """
    found = _calculations(formula, inline=0)
    return found if most is None or len(found) <= most else _calculations(formula, inline=len(found) - most)


def _calculations(formula: str, *, inline: int) -> list[Calculation]:
    """As of `calculations`; the first `inline` ones are written where they are used."""
    # Operation and values so far of each parenthesis that is open; the outermost holds the result.
    open_calls: list[tuple[str, list[str]]] = [("", [])]
    found: dict[str, str] = {}
    name = ""
    at = 0
    formula = formula.strip()
    while at < len(formula):
        token = _TOKEN.match(formula, at)
        if token is None:
            raise FormulaError(f"cannot read {formula[at : at + 20]!r}")
        at = token.end()
        text = token[1]
        if text == "(":
            open_calls.append((name, []))
        elif text == ")":
            if len(open_calls) == 1:
                raise FormulaError("a parenthesis too many")
            operation, values = open_calls.pop()
            expression = _expression(operation, values)
            if expression not in found:
                found[expression] = _value(expression)
            inner = list(found).index(expression) < inline
            open_calls[-1][1].append(f"({expression})" if inner else found[expression])
        elif text[0].isalpha() and not text.startswith("const_"):
            name = text
        elif text != ",":
            open_calls[-1][1].append(_number(text))
    if len(open_calls) != 1 or len(open_calls[0][1]) != 1:
        raise FormulaError("not one value")
    # A value is found before it is used again, so its place is that of its first use.
    return [Calculation(expression, value) for expression, value in found.items()][inline:]


def _number(text: str) -> str:
    if text == "const_pi":
        return "3.1416"
    return text.removeprefix("const_").replace("_", ".").replace(",", "")


def _expression(operation: str, values: list[str]) -> str:
    if operation == "factorial" and len(values) == 1 and values[0].isdigit():
        number = int(values[0])
        if 2 <= number <= _LARGEST_FACTORIAL:
            return " * ".join(str(factor) for factor in range(number, 0, -1))
    if operation == "choose" and all(value.isdigit() for value in values) and len(values) == 2:
        total, chosen = map(int, values)
        if 1 <= chosen <= total <= _LARGEST_FACTORIAL:
            above = " * ".join(str(total - step) for step in range(chosen))
            return f"{above} / {math.factorial(chosen)}" if chosen > 1 else above
    template = _OPERATIONS.get(operation)
    if template is None or template.count("{}") != len(values):
        raise FormulaError(f"no expression for {operation!r} of {len(values)} values")
    return template.format(*(f"({value})" if value.startswith("-") else value for value in values))


def _value(expression: str) -> str:
    try:
        return format_value(evaluate(expression))
    except ExpressionError as error:
        raise FormulaError(str(error)) from None
