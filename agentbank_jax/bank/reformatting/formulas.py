"""MathQA's annotated formulas as calculations, with Thoughts from the published rationales.

MathQA: Amini et al. 2019, arXiv 1905.13319. A formula gives the expressions and their order (`mathqa_formula`). Its
rationales are lower-case running text with equations in it: where the text has an equation with the expression on its
left, the words before it name what is computed (`relative speed = 5.5 - 5 = 0.5 kmph`); else the formula's operation
does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.equations import evaluate, find_equations, numbers
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import Wording, recorded_steps, reformatted
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.calculator import format_value
from agentbank_jax.environments.math_problems import MathProblem
from agentbank_jax.environments.registry import EnvironmentSpec

_LABEL = re.compile(r"(?:^|[=.,;:)>]|\b(?:so|then|therefore|hence|thus|given|let|and)\b)\s*([a-z][a-z '’-]*?)\s*=?\s*$")
_MOST_LABEL_WORDS = 8
_UNPLANNED = {"cannot be calculated": "not_calculable", "leads to": "other_option"}
_FILLERS = frozenset(("the", "are", "was", "were", "get", "and", "now"))

# By the shape of an expression; the first that matches. The groups are its operands.
_SHAPES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), wordings)
    for pattern, wordings in (
        (r"3\.1416 \* (.+) \*\* 2", ("I need the area of a circle with the radius {0}.",)),
        (r"2 \* 3\.1416 \* (.+)", ("I need the circumference of a circle with the radius {0}.",)),
        (r"4 / 3 \* 3\.1416 \* (.+) \*\* 3", ("I need the volume of a sphere with the radius {0}.",)),
        (r"3\.1416 \* (\S+) \*\* 2 \* (.+)", ("I need the volume of a cylinder, radius {0} and height {1}.",)),
        (r"(\S+) \* (\S+) / 2", ("I take half of the product of {0} and {1}.",)),
        (r"(\S+) \*\* 0\.5", ("I need the square root of {0}.", "Next comes the square root of {0}.")),
        (r"(\S+) \*\* 2", ("I square {0}.", "I need the square of {0}.")),
        (r"(\S+) \*\* (\S+)", ("I raise {0} to the power {1}.",)),
        (r"(\S+) // 1", ("I need the whole part of {0}.",)),
        (r"1 / (\S+)", ("I need one part in {0}.", "I take the inverse of {0}.")),
        (r"(\S+) \+ (\S+)", ("I add {0} and {1}.", "I need the sum of {0} and {1}.", "{0} and {1} go together.")),
        (r"(\S+) - (\S+)", ("I subtract {1} from {0}.", "I need what {0} exceeds {1} by.", "I take {1} from {0}.")),
        (r"(\S+) \* (\S+)", ("I multiply {0} by {1}.", "I need the product of {0} and {1}.", "I take {0} times {1}.")),
        (r"(\S+) / (\S+)", ("I divide {0} by {1}.", "I need the ratio of {0} to {1}.", "I split {0} by {1}.")),
        (r"(\S+) % (\S+)", ("I need what is left when {0} is divided by {1}.",)),
        (r"(.+)", ("I compute {0}.", "Next I need {0}.", "I work out {0}.")),
    )
)


@dataclass(frozen=True, kw_only=True)
class FormulaReformatter:
    """Calculates an annotated formula step by step and chooses the option.

    Drops, beside those of a replay: `not_calculable` (operations without an expression, or without a value),
    `too_long`, `other_option` (the formula leads to another option than the published one).

    Fields:
      seed: chooses the wording.
    """

    seed: int = 0

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        problem: MathProblem = instance.payload
        *calculations, last = recorded_steps(spec, instance)
        if not calculations:
            reason = next((name for mark, name in _UNPLANNED.items() if problem.unplanned.startswith(mark)), "too_long")
            return Drop(id=instance.id, reason=reason, detail=problem.unplanned)
        wording = Wording(instance.id, self.seed)
        labels = _labels(problem.solution)
        return reformatted(
            [*calculations, last],
            [
                *(_thought(step.action, labels, wording) for step in calculations),
                _choice(calculations[-1], problem, wording),
            ],
        )

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "formula", "seed": self.seed}


def _labels(rationale: str) -> dict[tuple[str, ...], str]:
    """What the rationale calls its equations, by their operands and operators in sorted order."""
    found: dict[tuple[str, ...], str] = {}
    for equation in find_equations(rationale):
        match = _LABEL.search(rationale[: equation.start])
        words = match[1].split() if match else []
        # Letters and short words name nothing.
        telling = [word for word in words if len(word) > 2 and word not in _FILLERS]
        if telling and len(words) <= _MOST_LABEL_WORDS:
            found.setdefault(_key(equation.expression), " ".join(words))
    return found


def _key(expression: str) -> tuple[str, ...]:
    return tuple(sorted(re.findall(r"[\d.]+|[-+*/%]+", expression)))


def _thought(expression: str, labels: Mapping[tuple[str, ...], str], wording: Wording) -> str:
    label = labels.get(_key(expression))
    if label is not None:
        return wording.choose((f"I need the {label}: {expression}.", f"The {label} is {expression}.")).replace(
            "he the ", "he "
        )
    for shape, wordings in _SHAPES:
        match = shape.fullmatch(expression)
        if match:
            return wording.choose(wordings).format(*match.groups())
    raise AssertionError(f"the last shape matches all expressions, and not {expression!r}")


def _choice(last: ExpertStep, problem: MathProblem, wording: Wording) -> str:
    value = evaluate(last.action)
    assert value is not None, "the environment has computed it"
    shown, letter = format_value(value), problem.answer.text
    told = dict(problem.answer.options).get(letter, "")
    same = value in [number for _, _, number in numbers(told)]
    return wording.say("option" if same else "near_option", value=shown, letter=letter)
