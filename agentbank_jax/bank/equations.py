"""Equations in the running text of worked solutions: `46*7kg = 322kg`, `20% of $50 = $10`.

The text is read leniently (units, currency signs, words such as `times` are skipped or translated),
and a reading counts only where its value is the one that the text states. So a wrong reading
cannot become an action.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from agentbank_jax.environments import calculator
from agentbank_jax.environments.gsm8k_rows import NUMBER

_TOKEN = re.compile(
    rf"(?P<number>{NUMBER})"
    r"|(?P<symbol>[-+*/()\[\]×÷−–])"
    r"|(?P<times>(?<![A-Za-z])[xX](?![A-Za-z]))"
    r"|(?P<percent>%)"
    r"|(?P<currency>[$€£¢])"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_STATED = re.compile(
    rf"\s*(?P<sign>-?)\s*[$€£]?\s*(?P<sign2>-?)(?P<number>{NUMBER})"
    r"(?:/(?P<under>\d+))?(?P<percent>\s*%)?"
)
_SENTENCE_END = re.compile(r"[.!?;:]\s|\n")
_MIXED_NUMBER = re.compile(r"(?<![\d./])(\d+) (\d+)/(\d+)(?![\d/])")

_SYMBOLS: Mapping[str, str] = {"×": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"}
_WORDS: Mapping[str, str] = {"times": "*", "plus": "+", "minus": "-", "of": "*", "divided": "/", "multiplied": "*"}

_WINDOW = 200
_LONGEST = 24


@dataclass(frozen=True, kw_only=True)
class Equation:
    """An equation found in a text.

    Fields:
      start: offset of the first character of its left side.
      equals: offset of its `=`.
      end: offset just after the stated value (its percent sign included).
      expression: the left side as a calculator takes it, such as `46 * 7`.
      stated: the stated value.
    """

    start: int
    equals: int
    end: int
    expression: str
    stated: Fraction


def evaluate(expression: str) -> Fraction | None:
    """Returns the exact value of an expression, or None where it has none."""
    try:
        return calculator.evaluate(expression)
    except calculator.ExpressionError:
        return None


def has_operator(expression: str) -> bool:
    """Whether `expression` computes something, rather than being a number."""
    return re.search(r"[\d)]\s*[-+*/]", expression) is not None


def tidy(expression: str) -> str | None:
    """Writes an annotated expression with spaces around its operators (`48/2` → `48 / 2`).

    Returns None where it is not an expression over numbers, `+ - * /` and parentheses.
    """
    tokens = [(kind, text) for kind, text, _ in _tokens(expression) if kind not in ("space", "currency")]
    if any(kind not in ("number", "symbol") for kind, _ in tokens):
        return None
    written = _join([text for _, text in tokens])
    return written if evaluate(written) is not None else None


def numbers(text: str) -> list[tuple[int, int, Fraction]]:
    """Returns (start, end, value) of every number written in digits in `text`."""
    return [(match.start(), match.end(), _fraction(match.group())) for match in re.finditer(NUMBER, text)]


def find_equations(text: str) -> Iterator[Equation]:
    """Yields the equations of `text` whose left side computes the value stated on the right."""
    for match in re.finditer(r"(?<![=<>])=(?![=<>])", text):
        stated = _STATED.match(text, match.end())
        if stated is None:
            continue
        value = _fraction(stated["number"])
        if stated["under"] and int(stated["under"]):
            value /= int(stated["under"])
        if stated["sign"] or stated["sign2"]:
            value = -value
        decimals = len(stated["number"].partition(".")[2])
        lowest = max(text.rfind("=", 0, match.start()) + 1, match.start() - _WINDOW, 0)
        for boundary in _SENTENCE_END.finditer(text, lowest, match.start()):
            lowest = boundary.end()
        found = _left_side(text[lowest : match.start()], value, decimals, percent=stated["percent"] is not None)
        if found is not None:
            start, expression = found
            yield Equation(
                start=lowest + start, equals=match.start(), end=stated.end(), expression=expression, stated=value
            )


def _left_side(text: str, stated: Fraction, decimals: int, *, percent: bool) -> tuple[int, str] | None:
    """Returns (offset, expression) of the longest reading that ends `text` and computes `stated`."""
    tolerance = Fraction(1, 2 * 10**decimals) if decimals else abs(stated) / 10**6
    # Mixed numbers keep their length in the text by way of a private token for the joining blank.
    joined = _MIXED_NUMBER.sub(r"\1&\2/\3", text)
    tokens = [token for token in _tokens(joined) if token[0] != "space"]
    starts = [
        index
        for index, (kind, content, _) in enumerate(tokens)
        if kind == "number" or (kind == "symbol" and content in "([-−–")
    ]
    for index in starts[-_LONGEST:]:
        # `3/12 * 100% = 25%` counts in percent: there the sign is a unit.
        for drop_percent in (True, False) if percent else (False, True):
            pieces = _read(tokens[index:], drop_percent=drop_percent)
            if pieces is None:
                break
            expression = _join(pieces)
            if not has_operator(expression):
                continue
            value = evaluate(expression)
            if value is None:
                continue
            if abs(value - stated) <= tolerance:
                return tokens[index][2], expression
            if percent and abs(value * 100 - stated) <= tolerance:
                scaled = expression if _binds_tightly(pieces) else f"({expression})"
                return tokens[index][2], f"{scaled} * 100"
    return None


def _read(tokens: list[tuple[str, str, int]], *, drop_percent: bool) -> list[str] | None:
    """Translates tokens of running text to those of an expression; None where they are not one."""
    pieces: list[str] = []
    kinds = [kind for kind, _, _ in tokens]
    for position, (kind, content, _) in enumerate(tokens):
        before = kinds[position - 1] if position else ""
        after = kinds[position + 1] if position + 1 < len(tokens) else ""
        if kind == "number":
            if pieces and (pieces[-1][0].isdigit() or pieces[-1] == ")"):
                return None
            pieces.append(_plain(content))
        elif kind == "times":
            pieces.append("*")
        elif kind == "percent":
            if not drop_percent and pieces and pieces[-1] not in "(+-*/":
                pieces[-1:] = ["(", pieces[-1], "/", "100", ")"] if pieces[-1] != ")" else [")", "/", "100"]
        elif kind == "symbol":
            symbol = _SYMBOLS.get(content, content)
            # A sign inside words belongs to them: `miles/hour`, `two-thirds`, `3-page`.
            if symbol in "*/-+" and after == "word":
                following = tokens[position + 1][1].lower()
                if before in ("word", "number") and following not in _WORDS:
                    continue
            if symbol == "(" and pieces and (pieces[-1][0].isdigit() or pieces[-1] == ")"):
                pieces.append("*")
            if symbol == ")" and len(pieces) > 1 and pieces[-2] == "(" and pieces[-1][0].isdigit():
                pieces[-2:] = [pieces[-1]]
            else:
                pieces.append(symbol)
        elif kind == "word":
            word = content.lower()
            if word in _WORDS and pieces and (word != "of" or before in ("number", "percent") or pieces[-1] == ")"):
                pieces.append(_WORDS[word])
        elif kind == "other":
            if content == "&":
                pieces.append("+")
            elif content not in ",'’\"":
                return None
    return pieces or None


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(text):
        yield str(match.lastgroup), match.group(), match.start()


def _join(pieces: list[str]) -> str:
    """Joins the tokens of an expression with blanks around binary operators only."""
    written = ""
    before = ""
    for piece in pieces:
        piece = _plain(piece) if piece[0].isdigit() or piece[0] == "." else _SYMBOLS.get(piece, piece)
        binary = piece in "+-*/" and before not in ("", "(", "+", "-", "*", "/", "u-")
        if binary:
            written += f" {piece} "
        else:
            written += piece
        before = "u-" if piece in "+-*/" and not binary else piece
    return written


def _plain(number: str) -> str:
    """Writes a number without separators and superfluous zeros: `1,200` → `1200`, `.50` → `0.5`."""
    whole, _, decimals = re.sub("[, ]", "", number).partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


def _fraction(number: str) -> Fraction:
    return Fraction(re.sub("[, ]", "", number))


def _binds_tightly(pieces: list[str]) -> bool:
    """Whether a product with the expression needs no parentheses around it."""
    depth = 0
    for piece in pieces:
        depth += (piece == "(") - (piece == ")")
        if depth == 0 and piece in "+-":
            return False
    return True
