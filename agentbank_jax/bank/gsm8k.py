"""GSM8K's worked solutions, read as actions and Thoughts in the calculator environment.

GSM8K (Cobbe et al. 2021, arXiv 2110.14168) writes a solution as sentences with calculator
annotations, `She earned 0.2 x 50 = $<<0.2*50=10>>10.`, and ends it with `#### 10`. Each annotated
expression becomes an action, and the sentence, without annotation and result, the Thought before
it. Equations that carry no annotation are read too. The observations are what the environment
computes. A row is kept only if one of them equals the published answer.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.equations import evaluate, numbers
from agentbank_jax.bank.gsm8k_solution import known_numbers, read_steps
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.calculator import CalculatorEnvironment, CalculatorProblem, format_value, same_value
from agentbank_jax.environments.gsm8k_rows import Problem
from agentbank_jax.environments.math_problems import calculation_step
from agentbank_jax.environments.turn_text import answer_step

_FINAL_THOUGHTS = (
    "This is what the question asks for.",
    "That answers the question.",
    "Now I know the answer.",
    "All steps are done, so I can answer.",
    "The last result is the answer.",
    "Nothing more is needed to answer.",
)
_EARLIER_THOUGHTS = (
    "The question asks for the {answer} found above.",
    "Of these results, {answer} answers the question.",
    "So the answer is the {answer} from before.",
)


@dataclass(frozen=True, kw_only=True)
class Solved:
    """A worked solution as actions, and what the calculator says before each of them; the first is the question."""

    sequence: ActionSequence
    observations: tuple[str, ...]


def solve(problem: Problem, *, seed: int = 0) -> Solved | Drop:
    """Reads a worked solution as actions with a Thought each, and runs them in the calculator environment.

    Args:
      problem: the row.
      seed: varies the wording where the solution has none.

    Returns:
      Actions that earn reward 1, or the reason why there are none: `no_expression`, `rejected_expression`,
      `pasted_answer`, `rounded_answer`, `other_unit`, `other_sign`, `answer_not_computed`, `not_rewarded`.
    """
    # A string seeds `Random` by its hash value under SHA-512, the same in every process.
    rng = random.Random(f"{seed}/{problem.id}")
    target = Fraction(problem.answer)
    steps = read_steps(problem.question, problem.solution, target, rng)
    if not steps:
        return Drop(id=problem.id, reason="no_expression", detail=problem.solution)
    environment = CalculatorEnvironment()
    payload = CalculatorProblem(question=problem.question, answer=target)
    instance = Instance(id=problem.id, fingerprint=problem.fingerprint, payload=payload, difficulty=len(steps))
    observation, _ = environment.reset(options={"instance": instance})
    observations = [observation]
    known = known_numbers(problem.question)
    results: list[Fraction] = []
    found = pasted = False
    for step in steps:
        observation, _, _, _, info = environment.step(step.expression)
        if info["invalid_action"]:
            return Drop(id=problem.id, reason="rejected_expression", detail=f"{step.expression}: {observation}")
        result: Fraction = info["value"]
        if same_value(result, target):
            if target not in known and pastes(step.expression, target):
                pasted = True
            else:
                found = True
        results.append(result)
        known.add(result)
        observations.append(observation)
    if not found:
        reason = "pasted_answer" if pasted else _why_not(target, results)
        detail = f"answer {problem.answer}; computed " + ", ".join(
            f"{step.expression} = {format_value(result)}" for step, result in zip(steps, results, strict=True)
        )
        return Drop(id=problem.id, reason=reason, detail=detail)
    wordings = _FINAL_THOUGHTS if same_value(results[-1], target) else _EARLIER_THOUGHTS
    final = rng.choice(wordings).format(answer=problem.answer)
    last = answer_step(problem.answer)
    observation, reward, terminated, _, _ = environment.step(last.action)
    if reward != 1.0 or not terminated:
        return Drop(id=problem.id, reason="not_rewarded", detail=observation)
    sequence = ActionSequence(
        steps=(*(calculation_step(step.expression) for step in steps), last),
        method="reformatting",
        thoughts=(*(step.thought for step in steps), final),
    )
    return Solved(sequence=sequence, observations=tuple(observations))


def pastes(expression: str, target: Fraction) -> bool:
    """Whether the expression holds the target as an operand and only passes it on (`15*1`, `0+15`).

    Such an operand moves the result by as much as it is moved itself.
    """
    for start, end, value in numbers(expression):
        if value == target and evaluate(f"{expression[:start]}({value + 1}){expression[end:]}") == target + 1:
            return True
    return False


def _why_not(target: Fraction, results: Sequence[Fraction]) -> str:
    for result in results:
        if result and abs(result - target) < 1 and target.denominator == 1:
            return "rounded_answer"
    if any(result * factor == target for result in results for factor in (100, 1000, 60, 12)) or any(
        result == target * factor for result in results for factor in (100, 1000, 60, 12)
    ):
        return "other_unit"
    if any(result == -target for result in results):
        return "other_sign"
    return "answer_not_computed"
