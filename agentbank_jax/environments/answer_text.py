"""What an answer in LaTeX or plain text says, however it is written: one writing for all, and the number it states.

Everything here is plain text work with bounds; nothing is evaluated.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from agentbank_jax.environments.calculator import parse_number

MAX_LENGTH = 1000
"""Characters of a stated answer beyond which it is wrong, whatever it says."""

_MAX_DIGITS = 200
_MAX_EXPONENT = 400

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–—‒﹣－", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u2007\t\r\n", " "),
        **{"×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "÷": "/", "⁄": "/", "∕": "/"},
        **{"π": "\\pi ", "∞": "\\infty ", "√": "\\sqrt ", "°": "", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in "},
        **{"≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "²": "^{2}", "³": "^{3}", "´": "'", "’": "'"},
        **{"½": " \\frac{1}{2}", "⅓": " \\frac{1}{3}", "⅔": " \\frac{2}{3}", "¼": " \\frac{1}{4}"},
        **{"¾": " \\frac{3}{4}", "⅕": " \\frac{1}{5}", "⅛": " \\frac{1}{8}", "⅙": " \\frac{1}{6}"},
    }
)

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:left|right|displaystyle|[bB]igg?[lr]?)(?![A-Za-z])\.?", ""),
        (r"\\(?:[!,;: ]|q?quad(?![A-Za-z]))|~", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:mbox|textrm|textbf|textit|mathrm|mathbf|operatorname)(?![A-Za-z])", r"\\text"),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])", ""),
        (r"\\leq(?![A-Za-z])", r"\\le"),
        (r"\\geq(?![A-Za-z])", r"\\ge"),
        (r"\\text\s*\{\s*(?:and|or)\s*\}|(?<=\s)and(?=\s)", ","),
        (r"\\?[$€£¥]", ""),
        (r"\\%|\bper ?cent\b", "%"),
        (r"\*\*(?=\s*[-\d(])", "^"),
        (r"\*", r"\\cdot "),
        (r"(?<![\\A-Za-z])sqrt\s*\(", r"\\sqrt("),
        (r"(?<![\\A-Za-z])pi(?![A-Za-z])", r"\\pi "),
        (r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])", r"\\infty "),
        (r"(?<=[\])}])\s*U\s*(?=[\[({])", r"\\cup "),
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
    )
)
_LEAD = re.compile(r"^(?:(?:so|thus|therefore|hence),? )?(?:the )?(?:final )?answer(?: is)?\s*:?\s+", re.IGNORECASE)
_UNIT_TEXT = re.compile(r"\\text\s*\{[^{}]*\}\s*(?:\^\s*\{?\s*\d\s*\}?)?")
_WHOLE_TEXT = re.compile(r"\(?\s*\\text\s*\{([^{}]*)\}\s*\)?")
_CLOCK = re.compile(r"(?<=\d)(?::00)?\s*(?:\\text\s*\{\s*)?([ap])\.?\s?m\b\.?(?:\s*\})?", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")

# Short words that may follow a number and say in what it is counted; longer ones may be any but the others below.
_SHORT_UNITS = frozenset(
    re.findall(
        r"\w+",
        "m g s h l j n w v a k c cm mm km nm kg mg ml hz ft in sq hr hrs oz lb lbs mi yd pa kj ev mv hp rs",
    )
)
_NO_UNITS = frozenset(
    re.findall(
        r"\w+",
        "million billion trillion thousand hundred dozen half percent pi sin cos tan cot sec csc log exp sqrt mod "
        "infty not and nor but minus plus negative times over root squared cubed factorial",
    )
)
_NUMBER_THEN_WORDS = re.compile(
    r"(?P<number>.*[\d}%)])\s*(?P<words>(?<![\\A-Za-z])[A-Za-z][A-Za-z. /]*?)(?:\s*\^?\s*\{?[23]\}?)?"
)

_DIGITS = rf"(?:\d{{1,{_MAX_DIGITS}}}(?:\.\d{{0,{_MAX_DIGITS}}})?|\.\d{{1,{_MAX_DIGITS}}})"
_NUMBER = re.compile(
    rf"""(?P<sign>[-+]?)\s*(?:
      (?P<decimal>{_DIGITS})(?:\s*[eE](?P<e>[-+]?\d{{1,4}})
        |\s*(?:\\times|\\cdot|x)\s*10\s*\^\s*(?:\{{\s*(?P<ten_braced>[-+]?\d{{1,4}})\s*\}}|\(?(?P<ten>[-+]?\d{{1,4}})\)?))?
      |(?:(?P<whole>\d{{1,{_MAX_DIGITS}}})\s*)?
        \\frac\{{\s*(?P<above>[-+]?\s*{_DIGITS})\s*\}}\{{\s*(?P<below>[-+]?\s*{_DIGITS})\s*\}}
      |(?:(?P<whole_plain>\d{{1,{_MAX_DIGITS}}})\s+)?(?P<above_plain>{_DIGITS})\s*/\s*(?P<below_plain>{_DIGITS})
    )\s*(?P<percent>%?)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """A number that a text states.

    Fields:
      value: as it is written: 50 for `50%`.
      percent: whether a percent sign follows.
      places: decimals after the point where it is written as a decimal, negative where tens are left out
        (`6e25`: -25); None for a fraction.
    """

    value: Fraction
    percent: bool = False
    places: int | None = None

    def readings(self) -> tuple[Fraction, ...]:
        """The values that may be meant: `50%` is 50 where a percentage is asked for, else a half."""
        return (self.value, self.value / 100) if self.percent else (self.value,)

    @property
    def significant(self) -> int:
        """How many digits it is given with, leading zeros aside; 0 for a fraction."""
        if self.places is None:
            return 0
        scaled = abs(self.value) * Fraction(10) ** self.places
        return len(str(scaled.numerator)) if scaled else 0


def last_boxed(text: str) -> str | None:
    r"""Returns what stands in the last `\boxed{…}`, `\boxed 5` or `\fbox{…}`; None where there is none."""
    found = max(text.rfind(r"\boxed"), text.rfind(r"\fbox"))
    if found < 0:
        return None
    start = text.index("x", text.index("o", found)) + (3 if text.startswith(r"\boxed", found) else 1)
    argument, _ = _argument(text, start)
    return argument


def _argument(text: str, start: int) -> tuple[str | None, int]:
    """The argument of a LaTeX command whose name ends at `start`, without its braces, and where it ends."""
    while start < len(text) and text[start] == " ":
        start += 1
    if start == len(text):
        return None, start
    if text[start] == "\\":
        command = re.compile(r"\\(?:[A-Za-z]+|.)").match(text, start)
        if command is None:
            return None, start
        end = command.end()
        while end < len(text) and text[end] == "{":
            inner, end = _argument(text, end)
            if inner is None:
                return None, start
        return text[start:end], end
    if text[start] != "{":
        return text[start], start + 1
    return _enclosed(text, start, "{", "}")


def _enclosed(text: str, start: int, opening: str, closing: str) -> tuple[str | None, int]:
    """What stands in the bracket that opens at `start`, and where it ends; None where it does not close."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == opening) - (text[at] == closing)
        if depth == 0:
            return text[start + 1 : at], at + 1
    return None, start


def _with_braces(text: str) -> str:
    r"""Writes `\frac12` as `\frac{1}{2}`, and `\sqrt2` and `\sqrt(2)` as `\sqrt{2}`."""
    for command, arguments in (("\\frac", 2), ("\\sqrt", 1)):
        parts = []
        at = 0
        while (found := text.find(command, at)) >= 0:
            end = found + len(command)
            if text[end : end + 1].isalpha() or text[end : end + 1] == "[":
                parts.append(text[at:end])
                at = end
                continue
            written = [text[at:end]]
            for _ in range(arguments):
                if arguments == 1 and text[end : end + 1] == "(":
                    argument, after = _enclosed(text, end, "(", ")")
                else:
                    argument, after = _argument(text, end)
                if argument is None:
                    break
                written.append(f"{{{argument}}}")
                end = after
            parts.extend(written)
            at = end
        text = "".join(parts) + text[at:]
    return text


def simplify(text: str) -> str:
    """Returns an answer in one way of writing: LaTeX without spacing commands, units, currency signs and degrees.

    `25 ft`, `$25$`, `\\boxed{25\\text{ feet}}` and `The answer is 25.` all read `25`. It changes how an answer is
    written, never its value; a word of a text that is no unit stays.
    """
    if (boxed := last_boxed(text)) is not None:
        text = boxed
    text = text.translate(_CHARACTERS).strip().strip("`\"'").strip()
    text = re.sub(r"^\*\*(.*)\*\*$", r"\1", text)
    text = re.sub(r"\\[()\[\]](?![A-Za-z])", " ", text)
    text = _LEAD.sub("", text.strip())
    text = re.sub(r"(?<=\d)(?:,\s*\\!\s*|\{,\})(?=\d{3})", "", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    if (whole := _WHOLE_TEXT.fullmatch(text.strip())) is not None:
        text = whole[1]
    # The half of the day that an hour is in is no unit.
    text = _CLOCK.sub(lambda found: f"{found[1].lower()}m", text)
    without = _UNIT_TEXT.sub(" ", text)
    text = without if without.strip() else text
    text = _with_braces(" ".join(text.split())).strip().rstrip(" .,;")
    bare, _ = split_unit(text)
    # Outside of brackets a comma before three digits sets off thousands; within, it parts a pair.
    if _THOUSANDS.fullmatch(bare.lstrip("-+ ").split(".", 1)[0].rstrip("% ")):
        bare = bare.replace(",", "")
    return bare


def split_unit(text: str) -> tuple[str, str]:
    """Parts a number, or an expression, from the words of a unit behind it; the second is empty where there is none.

    A unit of one letter is left: behind an expression it may be a variable.
    """
    number, words = _number_and_words(text)
    short = any(len(word) == 1 for word in words)
    return (text, "") if not words or short else (number, " ".join(words))


def _number_and_words(text: str) -> tuple[str, list[str]]:
    found = _NUMBER_THEN_WORDS.fullmatch(text)
    words = re.findall(r"[a-z]+", found["words"].lower()) if found else []
    if found is None or any(word in _NO_UNITS or (len(word) < 3 and word not in _SHORT_UNITS) for word in words):
        return text, []
    # `5xy` is a product, `5cm` hardly ever is; a blank tells.
    if found.end("number") == found.start("words") and min(map(len, words)) < 3:
        return text, []
    return found["number"].strip(), words


def read_number(text: str) -> Number | None:
    """Returns the number that a simplified text is, with nothing beside it; None where it is anything else.

    Reads decimals, thousands commas, fractions, mixed numbers, powers of ten and percentages.
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    part = found.groupdict()
    places = None
    if part["decimal"] is not None:
        exponent = int(part["e"] or part["ten_braced"] or part["ten"] or 0)
        if abs(exponent) > _MAX_EXPONENT:
            return None
        digits = part["decimal"].rstrip(".") if part["decimal"].endswith(".") else part["decimal"]
        value = Fraction(digits) * Fraction(10) ** exponent
        places = len(digits.partition(".")[2]) - exponent
    else:
        above = Fraction((part["above"] or part["above_plain"]).replace(" ", ""))
        below = Fraction((part["below"] or part["below_plain"]).replace(" ", ""))
        if below == 0:
            return None
        value = Fraction(part["whole"] or part["whole_plain"] or 0) + above / below
    return Number(-value if part["sign"] == "-" else value, bool(part["percent"]), places)


def read_quantity(text: str) -> Number | None:
    """As `read_number`, of a simplified text that may begin with `x =` and end in a unit of any letters: `x = 5 m`."""
    _, text = split_equation(text)
    return read_number(text) or read_number(_number_and_words(text)[0])


def read_sentence(text: str) -> Fraction | None:
    """The one number of a sentence as written, `She has 72 clips left.`; None where its words may change the number."""
    words = re.findall(r"[A-Za-z]+", text.lower())
    if not words or "\\" in text or any(word in _NO_UNITS or (len(word) == 1 and word not in "ai") for word in words):
        return None
    return parse_number(text) if max(map(len, words)) > 2 else None


_EQUATION = re.compile(r"\s*([A-Za-z](?:_\{?\w\}?)?(?:\([A-Za-z]\))?)\s*(?:=|\\in(?![A-Za-z]))\s*([^=]+)")


def split_equation(text: str) -> tuple[str, str]:
    r"""Parts `x = 5` and `x \in [0, 1]` into the name and what it is; the name is empty for anything else."""
    found = _EQUATION.fullmatch(text)
    return (found[1], found[2].strip()) if found else ("", text)


def key(text: str) -> str:
    """A simplified text without blanks, by which equal writings are known."""
    return re.sub(r"\s+", "", text)
