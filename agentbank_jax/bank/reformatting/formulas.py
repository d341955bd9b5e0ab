"""MathQA's annotated formulas as calculations, with Thoughts from the published rationales.

MathQA: Amini et al. 2019, arXiv 1905.13319. A formula gives the expressions and their order (`mathqa_formula`). Its
rationales are lower-case running text with equations in it: where the text has an equation with the expression on its
left, the words before it name what is computed (`relative speed = 5.5 - 5 = 0.5 kmph`); else the formula's operation
does.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.equations import evaluate, find_equations, numbers
from agentbank_jax.bank.gsm8k import pastes
from agentbank_jax.bank.gsm8k_solution import Step, known_numbers, read_steps
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import Wording, reformatted
from agentbank_jax.bank.replay import expert_plan
from agentbank_jax.environments.answers import AnswerJudge
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.calculator import format_value
from agentbank_jax.environments.math_problems import MathProblem, calculation_step
from agentbank_jax.environments.registry import EnvironmentSpec

_LABEL = re.compile(r"(?:^|[=.,;:)>]|\b(?:so|then|therefore|hence|thus|given|let|and)\b)\s*([a-z][a-z '’-]*?)\s*=?\s*$")
_MOST_LABEL_WORDS = 8
# What a rationale says last: `answer : option c`, `the correct answer is a`.
_VERDICT = re.compile(
    r"\b(?:hence\s+|so\s+)?(?:the\s+)?(?:correct\s+)?(?:answer|ans|option)\b(?:(?!\banswer\b).){0,40}$", re.DOTALL
)
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

    Three formulas of ten cannot be calculated or lead to another option than the published one, long ones more often:
    there the equations of the rationale are taken where they lead to the right one. Drops, beside those of a replay,
    where neither does: `not_calculable` (operations without an expression, or without a value), `other_option`.

    Fields:
      seed: chooses the wording.
    """

    seed: int = 0

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        problem: MathProblem = instance.payload
        wording = Wording(instance.id, self.seed)
        *calculations, last = expert_plan(spec, instance)
        if calculations:
            labels = _labels(problem.solution)
            thoughts = [_thought(step.action, labels, wording) for step in calculations]
        else:
            told = _told_steps(instance.id, problem, self.seed)[: spec.max_steps - 1]
            if not told:
                # `mathqa.read_instances` says which of the two it is.
                reason = "other_option" if problem.unplanned.startswith("leads to") else "not_calculable"
                return Drop(id=instance.id, reason=reason, detail=problem.unplanned)
            calculations = [calculation_step(step.expression) for step in told]
            thoughts = [step.thought for step in told]
        return reformatted([*calculations, last], [*thoughts, _choice(calculations[-1], problem, wording)])

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "formula", "seed": self.seed}


def _told_steps(identifier: str, problem: MathProblem, seed: int) -> list[Step]:
    """The equations of a rationale up to the last whose value is the right option's, or none.

    As in GSM8K, a value that the text states before it is computed from what is known does not count.
    """
    question = problem.question.rpartition("\nOptions: ")[0]
    values = [value for _, _, value in numbers(_told(problem))]
    if len(values) != 1:
        return []
    target = values[0]
    steps = read_steps(question, _VERDICT.sub("", problem.solution), target, random.Random(f"{seed}/{identifier}"))
    known, last = known_numbers(question), 0
    for count, step in enumerate(steps, start=1):
        value = evaluate(step.expression)
        if value is None:
            return []
        right = AnswerJudge().right(format_value(value), problem.answer, "mint")
        if right and (target in known or not pastes(step.expression, target)):
            last = count
        known.add(value)
    return steps[:last]


def _told(problem: MathProblem) -> str:
    """What the right option says."""
    return dict(problem.answer.options).get(problem.answer.text, "")


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
    same = value in [number for _, _, number in numbers(_told(problem))]
    return wording.say("option" if same else "near_option", value=shown, letter=letter)
