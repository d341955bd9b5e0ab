"""Linear equations in worked solutions: from `2x + 30 = 160` and `x = 65`, the arithmetic between them.

Solutions that call the unknown by a letter state equations and leave the arithmetic unwritten.
Where the next equation follows from the one before by subtracting a constant or dividing by the
coefficient, that computation is read off: `160 - 30`, then `130 / 2`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from agentbank_jax.bank.equations import evaluate, has_operator, tidy

# `p = 16` or `16 = p`: only a letter whose value is stated somewhere is taken for an unknown.
_VALUE_OF = re.compile(r"(?<![A-Za-z\d)*/+.-])(?<![-+*/] )([A-Za-z])\s*=\s*-?\s*[$€£]?-?[\d.]")
_OF_VALUE = re.compile(r"(?<![-+*/.\d])(?<![-+*/] )[$€£]?[\d.]+\s*=\s*([A-Za-z])(?![A-Za-z\d'’])(?!\s*[-+*/(])")
_TOKEN = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+|[A-Za-z]+|[-+*/()%×÷−–]|[$€£]|\s+|.", re.DOTALL)
_LONGEST = 40


@dataclass(frozen=True, kw_only=True)
class Computation:
    """Arithmetic that leads to a stated equation.

    Fields:
      line: index of the line that states it.
      equals: offset of the equation's `=` in that line.
      end: offset just after the equation.
      expressions: what to compute, in order; the last gives the right side.
    """

    line: int
    equals: int
    end: int
    expressions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Linear:
    """`coefficient * unknown + constant = right`."""

    coefficient: Fraction
    constant: Fraction
    right: Fraction


def computations(lines: Sequence[str]) -> list[Computation]:
    """Returns the computations between consecutive linear equations of a solution, in order.

    Args:
      lines: the solution without calculator annotations.
    """
    found: list[Computation] = []
    text = "\n".join(lines)
    unknowns = list(dict.fromkeys([*_VALUE_OF.findall(text), *_OF_VALUE.findall(text)]))
    # A number before another unknown is a coefficient, not the whole side: `s = 4 + 1/3b`.
    coefficient = re.compile(rf"\s*[*/(]|\s*\d|\s?[{''.join(unknowns)}](?![A-Za-z])") if unknowns else None
    for unknown in unknowns:
        before: _Linear | None = None
        for number, line in enumerate(lines):
            for match in re.finditer(r"(?<![=<>])=(?![=<>])", line):
                left = _side(line[: match.start()], unknown, forward=False)
                right = _side(line[match.end() :], unknown, forward=True)
                if left is None or right is None or (coefficient and coefficient.match(line, match.end() + right[2])):
                    continue
                equation = _equation(left[:2], right[:2])
                if equation is None:
                    continue
                expressions = _between(before, equation) if before else ()
                if not expressions and equation.coefficient == 1 and left[:2] == (1, 0):
                    expressions = _as_written(line[match.end() : match.end() + right[2]])
                if expressions:
                    end = match.end() + right[2]
                    found.append(Computation(line=number, equals=match.start(), end=end, expressions=expressions))
                before = equation
    return sorted(found, key=lambda item: (item.line, item.equals))


def _side(text: str, unknown: str, *, forward: bool) -> tuple[Fraction, Fraction, int] | None:
    """Reads `a * unknown + b` next to the equals sign; returns a, b and the length in characters."""
    tokens: list[str] = []
    pieces = _TOKEN.findall(text)
    for token in pieces if forward else reversed(pieces):
        # `4p` and `pp` are one word to the tokenizer only without digits between.
        if not re.fullmatch(rf"[\d.,]+|{unknown}|[-+*/()%×÷−–$€£]|\s+", token) or len(tokens) == _LONGEST:
            break
        tokens.append(token)
    if not forward:
        tokens.reverse()
    while tokens:
        written = "".join(tokens).strip()
        if written and (values := _linear(written, unknown)) is not None:
            return (*values, len("".join(tokens).rstrip()))
        tokens = tokens[:-1] if forward else tokens[1:]
    return None


def _linear(text: str, unknown: str) -> tuple[Fraction, Fraction] | None:
    """Returns (a, b) where the text is `a * unknown + b`, by evaluating it at three values."""
    values = [evaluate(text.replace(unknown, f"({value})")) for value in (0, 1, 2)]
    if any(value is None for value in values):
        return None
    at0, at1, at2 = (value for value in values if value is not None)
    return (at1 - at0, at0) if at2 - at1 == at1 - at0 else None


def _equation(left: tuple[Fraction, Fraction], right: tuple[Fraction, Fraction]) -> _Linear | None:
    if right[0] and not left[0]:
        left, right = right, left
    coefficient = left[0] - right[0]
    if not coefficient:
        return None
    if coefficient < 0:
        return _Linear(coefficient=-coefficient, constant=right[1], right=left[1])
    return _Linear(coefficient=coefficient, constant=left[1], right=right[1])


def _between(before: _Linear, after: _Linear) -> tuple[str, ...]:
    """Returns the expressions that lead from one equation to the next, or none where they do not follow."""
    if after.constant:
        return ()
    rest = before.right - before.constant
    moved = (_difference(before.right, before.constant),) if before.constant else ()
    if after.coefficient == before.coefficient and after.right == rest:
        return moved
    if after.coefficient == 1 and before.coefficient != 1 and after.right == rest / before.coefficient:
        return (*moved, f"{_written(rest)} / {_written(before.coefficient)}")
    return ()


def _as_written(text: str) -> tuple[str, ...]:
    """Returns the right side of `x = 300/3` where it computes something."""
    expression = tidy(text)
    return (expression,) if expression is not None and has_operator(expression) else ()


def _difference(one: Fraction, other: Fraction) -> str:
    return f"{_written(one)} - {_written(other)}" if other > 0 else f"{_written(one)} + {_written(-other)}"


def _written(value: Fraction) -> str:
    """Writes a value as an operand: plainly where its decimals end soon, else as a quotient."""
    if value.denominator == 1:
        return str(value.numerator)
    if 10**4 % value.denominator == 0:
        return f"{float(value):.4f}".rstrip("0")
    return f"({value.numerator} / {value.denominator})"
