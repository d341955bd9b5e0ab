"""Whether a step says the answer before anything has shown it.

An annotator that knows the answer must write what one would write who does not. A step leaks where

- it says that the answer is known, given or told;
- a number equals the answer's value (in digits or words) before an observation held it, or an equation computed it
  before the reader's eyes: `24 * 3 = 72`, from numbers that were told;
- an action computes the answer's value from numbers that nobody told, such as `70 + 2`;
- the answer's words stand in it before an observation held them, or half or more of a name's words do that no
  observation held.

A formula or a fraction is seldom observed as the answer writes it (`3/4` for `\\frac{3}{4}`): before the last step its
writing counts, at the last step only that something was looked up or computed.

The question is the first observation. A short answer (yes or no, true or false, one or two letters, a whole number
below ten) stands in any text by chance: of these only `the answer is …` counts before the last step, and a last step
that nothing but the question precedes.

What is paraphrased is not found.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from agentbank_jax.bank.forcing import numbers
from agentbank_jax.bank.forcing.known_answer import KnownAnswer
from agentbank_jax.environments.answer_text import read_quantity, simplify
from agentbank_jax.environments.calculator import parse_number
from agentbank_jax.environments.qa_scores import normalise_trivia
from agentbank_jax.environments.turn_text import stated_answer

LEAK = "leak"

_TRUTHS = frozenset({"yes", "no", "true", "false"})
_SHORT_LETTERS = 2
_SHORT_BELOW = 10
_NAME_LETTERS = 4

_LATEX_NAME = re.compile(r"\\[A-Za-z]+")
_OPERATOR = r"[-+*/^=,()\[\]{}]"
_FORMULA = re.compile(rf"\\|\d.*{_OPERATOR}|{_OPERATOR}.*\d", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{3,}")
# What changes how a formula is set, and not what it says.
_SETTING = re.compile(r"\s|\$|\\(?:left|right)(?![A-Za-z])|\\[!,;: ]")

_IS_NUMBER = re.compile(r"\s*[$€£]?\s*[-−]?[$€£]?[\d.,/]*\d\s*%?\s*[A-Za-z]{0,12}[.]?\s*")
_ANSWER = r"(?:final |correct |right )?(?:answer|solution|result)"
_TOLD = re.compile(
    rf"\b(?:known|given|provided|supplied|reference|gold|golden|published|expected|target) (?:final )?"
    r"(?:answer|solution|result)\b(?! choices?| options?| set| as)"
    rf"|\b(?:was|were|been|am|are) (?:told|given|provided with) (?:that )?the {_ANSWER}\b"
    rf"|\balready know (?:that )?the {_ANSWER}\b"
    rf"|\b(?:answer|solution) (?:that )?(?:i|we) (?:was|were|have|had) (?:been )?(?:told|given)\b"
    rf"|\b(?:answer|solution) (?:is|was) (?:already )?(?:given|provided|known|told)\b",
    re.IGNORECASE,
)
_DECLARED = r"\banswer\b[^.\n]{{0,20}}?(?:\bis|\bbe|=|:|\bequals?)\s*(?:the |a |an )?[$\"'(*]*{}\b"


def find_leak(answer: KnownAnswer, shown: Sequence[str], thought: str, action: str) -> str | None:
    """Returns what a step says too early, for people to read; None where it says nothing too early.

    Args:
      answer: of the problem.
      shown: what the environment said so far, the question first; and `computed_in` the Thoughts before.
      thought: of the step.
      action: of the step; a final answer with its prefix.
    """
    if told := _TOLD.search(thought) or _TOLD.search(action):
        return f"says '{told.group()}'"
    if answer.kind == "program":
        return None
    stated = stated_answer(action)
    for accepted in answer.accepted:
        value = _value(accepted)
        if is_short(accepted):
            leak = _short_leak(accepted, value, shown, thought, stated)
        elif value is not None and "/" not in accepted:
            leak = _number_leak(accepted, value, shown, thought, action)
        elif value is not None or is_formula(accepted):
            leak = _formula_leak(accepted, shown, thought, action)
        else:
            leak = _text_leak(accepted, shown, thought, action)
        if leak is None and value is not None and stated is None:
            leak = _unfounded(value, shown, thought, action)
        if leak is not None:
            return leak
    return None


def computed_in(thought: str, shown: Sequence[str]) -> tuple[str, ...]:
    """What the equations of a Thought add to what was shown."""
    return tuple(str(value) for _, value in numbers.computed(thought, _known(shown)))


def is_short(text: str) -> bool:
    """Whether an answer is so short that it stands in any text by chance; see the module."""
    value = _value(text)
    if value is not None:
        return value.denominator == 1 and abs(value) < _SHORT_BELOW
    words = normalise_trivia(text)
    return words in _TRUTHS or len(words) <= _SHORT_LETTERS


def is_formula(text: str) -> bool:
    """Whether an answer is written in signs rather than words: `2\\sqrt{3}`, `(3, 5]`, `x^2 + 1`."""
    return bool(_FORMULA.search(text)) and not _WORD.search(_LATEX_NAME.sub(" ", text))


def holds(text: str, words: str) -> bool:
    """Whether a text holds some words one after the other, cases, articles and punctuation aside."""
    wanted = normalise_trivia(words)
    return bool(wanted) and f" {wanted} " in f" {normalise_trivia(text)} "


def _value(text: str) -> Fraction | None:
    return parse_number(text) if _IS_NUMBER.fullmatch(text) else None


def _known(shown: Sequence[str]) -> set[Fraction]:
    return set().union(*(numbers.values(text) for text in shown))


def _short_leak(
    accepted: str, value: Fraction | None, shown: Sequence[str], thought: str, stated: str | None
) -> str | None:
    known = _known(shown)
    if value is not None and (
        numbers.is_among(value, known) or any(found == value for _, found in numbers.computed(thought, known))
    ):
        return None
    if stated is not None:
        same = _value(stated) == value if value is not None else normalise_trivia(stated) == normalise_trivia(accepted)
        if same and len(shown) == 1:
            return f"states '{accepted}' though nothing was looked up or computed"
        return None
    declared = re.search(_DECLARED.format(re.escape(accepted.strip())), thought, re.IGNORECASE)
    return f"declares '{declared.group()}'" if declared else None


def _number_leak(accepted: str, value: Fraction, shown: Sequence[str], thought: str, action: str) -> str | None:
    known = _known(shown)
    readings = (value, value / 100) if "%" in accepted else (value,)
    if any(numbers.is_among(reading, known) for reading in readings):
        return None
    places = [place for place, found in numbers.computed(thought, known) if numbers.is_among(found, readings)]
    said = [place for place, found in numbers.mentions(thought) if numbers.is_among(found, readings)]
    if said and (not places or min(said) < min(places)):
        return f"the Thought says {accepted} before it is known"
    if places:
        return None
    if any(numbers.is_among(found, readings) for _, found in numbers.mentions(action)):
        return f"the action says {accepted} before it is known"
    return None


def _formula_leak(accepted: str, shown: Sequence[str], thought: str, action: str) -> str | None:
    quantity = read_quantity(simplify(accepted))
    writings = [_set_plainly(accepted)]
    if quantity is not None:
        if numbers.is_among(quantity.value, _known(shown)):
            return None
        if quantity.value.denominator > 1:
            writings.append(f"{abs(quantity.value.numerator)}/{quantity.value.denominator}")
    written = re.compile(rf"(?<![\d.])(?:{'|'.join(map(re.escape, writings))})(?!\d)")
    if any(written.search(_set_plainly(text)) for text in shown):
        return None
    if stated_answer(action) is not None:
        return f"states '{accepted}' though nothing was looked up or computed" if len(shown) == 1 else None
    for place, text in (("Thought", thought), ("action", action)):
        if written.search(_set_plainly(text)):
            return f"the {place} says '{accepted}' before it is known"
    return None


def _set_plainly(formula: str) -> str:
    return re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", _SETTING.sub("", formula))


def _unfounded(value: Fraction, shown: Sequence[str], thought: str, action: str) -> str | None:
    result = numbers.arithmetic(action)
    if result is None or not numbers.is_among(result, (value,)):
        return None
    known = _known(shown)
    known |= {found for _, found in numbers.computed(thought, known)}
    if numbers.is_derived(action, known):
        return None
    return f"'{action}' gives the answer from numbers that nobody told"


def _text_leak(accepted: str, shown: Sequence[str], thought: str, action: str) -> str | None:
    if any(holds(text, accepted) for text in shown):
        return None
    for place, text in (("Thought", thought), ("action", action)):
        if holds(text, accepted):
            return f"the {place} says '{accepted}' before it is known"
    # A name is given away by half of it: `Obama` for `Barack Obama`.
    names = [
        word for word in dict.fromkeys(re.findall(r"\w+", accepted)) if word[0].isupper() and len(word) >= _NAME_LETTERS
    ]
    unseen = [word for word in names if not any(holds(text, word) for text in shown)]
    said = [word for word in unseen if re.search(rf"\b{re.escape(word)}\b", f"{thought}\n{action}")]
    if said and 2 * len(said) >= len(unseen):
        return f"says '{' '.join(said)}' of '{accepted}' before it is known"
    return None
