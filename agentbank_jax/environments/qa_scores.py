"""How a stated answer is compared with the published ones: exact match, F1, aliases, and MINT's tolerances."""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agentbank_jax.environments.base import AnswerProtocol

Scoring = Literal["words", "yes_no", "aliases"]
"""`words`: HotpotQA's scorer; `yes_no`: StrategyQA, whose answers are booleans; `aliases`: TriviaQA."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# TriviaQA's scorer puts a blank where HotpotQA's puts nothing, and knows more quotation marks.
_PUNCTUATION_TO_BLANKS = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
# A partly right answer of these is none.
_CLOSED = frozenset({"yes", "no", "noanswer"})

MINT_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class AnswerScore:
    """How good an answer is.

    Fields:
      success: whether it is accepted under the protocol that was asked for.
      exact_match: whether it equals an accepted one, both normalised.
      f1: over words, in [0, 1]; see `f1_score`.
    """

    success: bool
    exact_match: bool
    f1: float


def normalise_answer(text: str) -> str:
    """Lower-cases and drops punctuation, English articles and extra blanks, as SQuAD's and HotpotQA's scorers do."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def normalise_trivia(text: str) -> str:
    """Normalises as TriviaQA's scorer does (Joshi et al. 2017, arXiv 1705.03551): punctuation becomes a blank."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION_TO_BLANKS)).split())


def normalise_yes_no(text: str) -> str:
    """Returns `yes` or `no` for those words and for `true` and `false`; any other text as `normalise_answer` does."""
    normalised = normalise_answer(text)
    return _YES_NO.get(normalised, normalised)


def exact_match(answer: str, accepted: Sequence[str], normalise: Callable[[str], str] = normalise_answer) -> bool:
    """Whether the normalised answer equals one of the accepted ones."""
    return normalise(answer) in {normalise(one) for one in accepted}


def f1_score(answer: str, accepted: Sequence[str], normalise: Callable[[str], str] = normalise_answer) -> float:
    """The best harmonic mean of precision and recall over the words of the normalised answers, in [0, 1]."""
    words = Counter(normalise(answer).split())
    best = 0.0
    for one in accepted:
        gold = Counter(normalise(one).split())
        shared = (words & gold).total()
        if shared:
            best = max(best, 2 * shared / (words.total() + gold.total()))
    return best


def hotpot_f1(answer: str, accepted: Sequence[str]) -> float:
    """`f1_score` as HotpotQA's scorer has it (Yang et al. 2018, arXiv 1809.09600): 0 where one of the two is yes, no
    or noanswer and they differ."""
    stated = normalise_answer(answer)
    comparable = [
        one for one in accepted if normalise_answer(one) == stated or not {stated, normalise_answer(one)} & _CLOSED
    ]
    return f1_score(answer, comparable)


def contains_alias(answer: str, aliases: Sequence[str]) -> bool:
    """Whether the words of an alias stand in the answer, one after the other, both normalised as TriviaQA does."""
    stated = f" {normalise_trivia(answer)} "
    normalised = (normalise_trivia(alias) for alias in aliases)
    return any(f" {alias} " in stated for alias in normalised if alias)


def mint_match(answer: str, reference: str) -> bool:
    """MINT's comparison (Wang et al. 2023, arXiv 2309.10691): two numbers within 5 % of the reference, else the
    reference is contained in the answer, whatever its case.

    As there, `no` is contained in `I do not know`.
    """
    answer, reference = answer.strip().lower(), reference.strip().lower()
    try:
        stated, published = float(answer), float(reference)
    except ValueError:
        return bool(reference) and reference in answer
    return math.isfinite(stated) and abs(stated - published) <= MINT_TOLERANCE * abs(published)


def score_answer(
    answer: str, accepted: Sequence[str], scoring: Scoring, protocol: AnswerProtocol = "exact"
) -> AnswerScore:
    """Scores a stated answer.

    Args:
      answer: the text after `Final Answer:`.
      accepted: the published answer and its aliases.
      scoring: the benchmark's own; under `exact` it decides success: a normalised exact match, or for `aliases` an
        alias that is contained in the answer.
      protocol: under `mint` success is `mint_match`, but for `yes_no`, which MINT does not have.
    """
    if scoring == "yes_no":
        matched = exact_match(answer, accepted, normalise_yes_no)
        return AnswerScore(success=matched, exact_match=matched, f1=float(matched))
    if scoring == "aliases":
        matched = exact_match(answer, accepted, normalise_trivia)
        success, f1 = contains_alias(answer, accepted), f1_score(answer, accepted, normalise_trivia)
    else:
        matched = success = exact_match(answer, accepted)
        f1 = hotpot_f1(answer, accepted)
    if protocol == "mint":
        success = any(mint_match(answer, one) for one in accepted)
    return AnswerScore(success=success, exact_match=matched, f1=f1)
