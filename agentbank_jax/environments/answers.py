"""Whether a stated answer to a mathematical problem is the published one, by one of two protocols.

`exact`, by the kind of the published answer:

- `number` (GSM8K) and `integer` (TheoremQA, where an expression such as `10!` counts as its value): equal values.
  What floating point leaves over is forgiven: a millionth of the value, and at most a thousandth, so that no
  neighbouring integer passes.
- `measured` (TheoremQA's decimals, which are published rounded): the two agree once both are rounded to the fewer
  decimals that either is given with, and differ by no more than 4 %, the tolerance of MINT for this benchmark. A
  stated answer needs four significant digits to be the coarser one.
- `list` (TheoremQA): as many items, each right by the two rules above, in their order.
- `truth` (TheoremQA): true or yes, false or no.
- `choice` (MathQA, TheoremQA): the letter of the right option, its value, or both; where a value is that of several
  options that are written differently, or where several letters are named, the answer is wrong.
- `expression` (MATH): equal once written alike; two rational numbers by their values; text by its letters; anything
  else where math-verify finds the two expressions equal (sets in any order; points and intervals in theirs).

`mint` accepts what `exact` accepts, and besides a number within 5 % of the published one (TheoremQA: 4 %), or, where
the stated answer is no number, one that contains the published text (MINT: Wang et al. 2023, arXiv 2309.10691). Of
MathQA's options the one nearest to the stated number must be the right one.

Units, currency signs, degrees, a leading `x =` and a full stop at the end are passed over. A percentage is read as
written and as a hundredth. A stated answer of more than 1,000 characters is wrong.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from agentbank_jax.environments.answer_algebra import Algebra
from agentbank_jax.environments.answer_text import (
    MAX_LENGTH,
    Number,
    key,
    last_boxed,
    read_number,
    read_quantity,
    read_sentence,
    simplify,
    split_equation,
)
from agentbank_jax.environments.base import AnswerProtocol
from agentbank_jax.environments.calculator import TOLERANCE, parse_number

Kind = Literal["number", "integer", "measured", "list", "truth", "choice", "expression"]

MINT_TOLERANCE = Fraction(5, 100)
THEOREMQA_TOLERANCE = Fraction(4, 100)

_LARGEST_LEFTOVER = Fraction(1, 1000)
_SIGNIFICANT = 4

_LETTER = re.compile(
    r"(?:(?:the )?(?:correct )?(?:option|choice|answer)(?: is)?:?\s*)?\(?\s*([a-z])\s*[).:]?", re.IGNORECASE
)
_LETTER_AND_VALUE = re.compile(r"\(?\s*([a-z])\s*[).:]\s*(\S.*)", re.IGNORECASE | re.DOTALL)
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_TEXT = re.compile(r"[A-Za-z(][A-Za-z .,()]*(?:\d{1,2})?")
_CLOCK = re.compile(r"[\d:]+\s*[ap]m")
_CURRENCY_WORD = re.compile(r"^[A-Za-z]{1,3}\s*[.:=]+\s*(?=[\d.-])")
_RATIO = re.compile(r"(\d{1,50}(?:\.\d{1,50})?)\s*:\s*(\d{1,50}(?:\.\d{1,50})?)")


@dataclass(frozen=True, kw_only=True)
class PublishedAnswer:
    """The right answer of a problem.

    Fields:
      kind: which rule compares it.
      text: as published; of a list its items, parted by commas; of a choice the letter.
      options: letter and value of each option of a choice; empty where only letters are known.
      mint_tolerance: relative difference that `mint` forgives.
    """

    kind: Kind
    text: str
    options: tuple[tuple[str, str], ...] = ()
    mint_tolerance: Fraction = MINT_TOLERANCE


class AnswerJudge:
    """Compares answers; it starts a process for expressions when it first needs one, which `close` ends."""

    def __init__(self) -> None:
        self._algebra = Algebra()
        self._exact: dict[Kind, Callable[[str, PublishedAnswer], bool]] = {
            "number": self._number,
            "integer": self._number,
            "measured": self._number,
            "list": self._list,
            "truth": self._truth,
            "choice": self._choice,
            "expression": self._expression,
        }

    def right(self, stated: str, answer: PublishedAnswer, protocol: AnswerProtocol = "exact") -> bool:
        """Whether `stated` is the published answer under a protocol.

        Raises:
          AgentBankError: an expression must be compared and math-verify is absent.
        """
        stated = stated.strip()
        if not stated or len(stated) > MAX_LENGTH:
            return False
        if self._exact[answer.kind](stated, answer):
            return True
        return protocol == "mint" and self._tolerated(stated, answer)

    def close(self) -> None:
        """Ends the process that compares expressions."""
        self._algebra.close()

    def _readings(self, stated: str, answer: PublishedAnswer) -> tuple[Number, ...]:
        """The numbers that a stated answer may mean."""
        simple = simplify(stated)
        number = read_quantity(simple)
        if number is None and (told := read_sentence(stated)) is not None:
            number = Number(told, "%" in stated)
        if number is None and answer.kind != "number" and re.search(r"[\d\\]", simple) and not _is_prose(stated):
            value = self._algebra.value(split_equation(simple)[1])
            number = None if value is None else Number(value)
        if number is None:
            return ()
        first, *others = number.readings()
        return (Number(first, places=number.places), *(Number(other) for other in others))

    def _number(self, stated: str, answer: PublishedAnswer) -> bool:
        published = read_number(answer.text)
        assert published is not None, f"{answer.text!r} is no number"
        equal = _measured_alike if answer.kind == "measured" else _alike
        return any(equal(number, published) for number in self._readings(stated, answer))

    def _list(self, stated: str, answer: PublishedAnswer) -> bool:
        return self._item_by_item(stated, answer, lambda item, published: self._number(item, published))

    def _item_by_item(
        self, stated: str, answer: PublishedAnswer, right: Callable[[str, PublishedAnswer], bool]
    ) -> bool:
        published = [item.strip() for item in answer.text.split(",")]
        items = [item.strip() for item in simplify(stated).strip("[](){}\\ ").split(",")]
        return len(items) == len(published) and all(
            right(item, PublishedAnswer(kind=number_kind(wanted), text=wanted, mint_tolerance=answer.mint_tolerance))
            for item, wanted in zip(items, published, strict=True)
        )

    def _truth(self, stated: str, answer: PublishedAnswer) -> bool:
        return _TRUTHS.get(simplify(stated).strip(" .!").lower()) == _TRUTHS[answer.text.lower()]

    def _choice(self, stated: str, answer: PublishedAnswer) -> bool:
        simple = (last_boxed(stated) or stated).strip(" .*`$")
        if letter := _LETTER.fullmatch(simple):
            return letter[1].lower() == answer.text
        both = _LETTER_AND_VALUE.fullmatch(simple)
        if both and any(both[1].lower() == letter for letter, _ in answer.options):
            return both[1].lower() == answer.text and self._chosen(both[2], answer) in (answer.text, None)
        return self._chosen(stated, answer) == answer.text

    def _chosen(self, stated: str, answer: PublishedAnswer) -> str | None:
        """The letter of the option whose value is stated; of several that are written alike, the right one if any."""
        told, number = key(stated).casefold(), _option_number(stated)
        same = [each for each in answer.options if key(each[1]).casefold() == told]
        same = same or [each for each in answer.options if _option_key(each[1]) == _option_key(stated)]
        if not same and number is not None:
            same = [each for each in answer.options if _option_number(each[1]) == number]
        if len({key(value).casefold() for _, value in same}) != 1:
            return None
        letters = [letter for letter, _ in same]
        return answer.text if answer.text in letters else letters[0]

    def _expression(self, stated: str, answer: PublishedAnswer) -> bool:
        gold, said = simplify(answer.text), simplify(stated)
        if key(gold) == key(said):
            return True
        gold_name, gold_value = split_equation(gold)
        said_name, said_value = split_equation(said)
        if not gold_name or not said_name or gold_name == said_name:
            gold, said = gold_value, said_value
        if key(gold) == key(said):
            return True
        published, number = read_number(gold), read_number(said)
        if published is not None and (number or read_quantity(said)) is not None:
            number = number or read_quantity(said)
            assert number is not None
            return any(one == other for one in number.readings() for other in published.readings()) and not (
                number.percent and published.percent and number.value != published.value
            )
        if _CLOCK.fullmatch(gold):
            return False
        if _RATIO.fullmatch(gold):
            return _ratio(gold) in (_ratio(said), number.value if number and number.places is None else None)
        if _is_words(answer.text, gold):
            return _letters(gold) == _letters(said)
        return not _is_prose(said) and self._algebra.same(gold, said)

    def _tolerated(self, stated: str, answer: PublishedAnswer) -> bool:
        """What `mint` accepts beyond `exact`."""
        if answer.kind == "choice" and answer.options:
            return self._nearest(stated, answer) == answer.text
        if answer.kind == "list":
            return self._item_by_item(stated, answer, self._within)
        if answer.kind == "truth":
            told = {_TRUTHS[word] for word in re.findall(r"[a-z]+", stated.lower()) if word in _TRUTHS}
            return told == {_TRUTHS[answer.text.lower()]}
        if read_number(simplify(answer.text)) is not None and self._readings(stated, answer):
            return self._within(stated, answer)
        contained = f"({answer.text})" if answer.kind == "choice" else answer.text
        return contained.lower() in stated.lower() or key(simplify(contained)) in key(simplify(stated))

    def _within(self, stated: str, answer: PublishedAnswer) -> bool:
        published = read_number(simplify(answer.text))
        assert published is not None
        return any(
            abs(number.value - wanted) <= answer.mint_tolerance * abs(wanted)
            for number in self._readings(stated, answer)
            for wanted in published.readings()
        )

    def _nearest(self, stated: str, answer: PublishedAnswer) -> str | None:
        told = _option_number(stated)
        if told is None:
            return None
        away = {
            letter: abs(told - value)
            for letter, text in answer.options
            if (value := _option_number(text)) is not None and abs(told - value) <= answer.mint_tolerance * abs(value)
        }
        nearest = [letter for letter, distance in away.items() if distance == min(away.values())]
        return nearest[0] if len(nearest) == 1 else None


def number_kind(text: str) -> Kind:
    """`measured` for a number published with a point or an exponent, else `integer`."""
    return "measured" if re.search(r"[.eE]", text) else "integer"


def _alike(number: Number, published: Number) -> bool:
    forgiven = min(TOLERANCE * max(Fraction(1), abs(published.value)), _LARGEST_LEFTOVER)
    both_whole = number.value.denominator == 1 == published.value.denominator
    return number.value == published.value or (not both_whole and abs(number.value - published.value) <= forgiven)


def _measured_alike(number: Number, published: Number) -> bool:
    difference = abs(number.value - published.value)
    places = published.places or 0
    if number.places is not None and number.significant >= _SIGNIFICANT:
        places = min(places, number.places)
    half_unit = Fraction(10) ** -places / 2
    forgiven = min(half_unit, THEOREMQA_TOLERANCE * abs(published.value))
    return difference <= max(forgiven, TOLERANCE * abs(published.value))


def _is_words(text: str, simple: str) -> bool:
    """Whether a published answer is a name or a letter, not a quantity: `\\text{Monday}`, `C`, `\\text{June 20}`."""
    told = "\\text" in text or (simple.isupper() and len(simple) == 1)
    return told and _TEXT.fullmatch(simple) is not None and "\\" not in simple


def _is_prose(simple: str) -> bool:
    """Whether a text is a sentence: three words or more of three letters or more, commands aside."""
    return len(re.findall(r"(?<![\\A-Za-z])[A-Za-z]{3,}", simple)) >= 3


def _letters(text: str) -> str:
    return re.sub(r"[\s().]", "", text).casefold()


def _option_key(text: str) -> str:
    text = re.sub(r"(?<=\d)\s*,\s*(?=\d{3}\b)", "", simplify(text))
    return key(text).casefold()


def _ratio(simple: str) -> Fraction | None:
    found = _RATIO.fullmatch(simple)
    return Fraction(found[1]) / Fraction(found[2]) if found and Fraction(found[2]) else None


def _option_number(text: str) -> Fraction | None:
    """The one number of an option such as `rs . 1,027`, `17 hr`, `4 / 5`, `3 : 2` or `220.75 cm 2`."""
    simple = _CURRENCY_WORD.sub("", simplify(text))
    if (ratio := _ratio(simple)) is not None:
        return ratio
    number = read_quantity(re.sub(r"^-\s+", "-", simple))
    if number is not None:
        return number.value
    if ":" in simple or "\\" in simple:
        return None
    return parse_number(simple)
