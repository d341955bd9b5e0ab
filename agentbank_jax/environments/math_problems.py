"""Mathematical problems with a calculator and a Python interpreter, and an answer that is judged."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.environments import python_cells
from agentbank_jax.environments.answer_text import read_quantity, simplify
from agentbank_jax.environments.answers import AnswerJudge, PublishedAnswer
from agentbank_jax.environments.base import (
    FINAL_ANSWER_PREFIX,
    AnswerProtocol,
    ExpertStep,
    TextEnvironment,
    answers_of,
    begun,
    judged,
    payload_of,
)
from agentbank_jax.environments.calculator import ExpressionError, evaluate, format_value, parse_number
from agentbank_jax.environments.turn_text import stated_answer


@dataclass(frozen=True, kw_only=True)
class MathProblem:
    """A problem.

    Fields:
      question: the first observation.
      answer: the published answer.
      plan: the expert's actions in order, and last its final answer.
      solution: what the source says of the way to the answer; never shown.
      unplanned: why the source's calculations are not part of the plan; empty where they are.
    """

    question: str
    answer: PublishedAnswer
    plan: tuple[ExpertStep, ...]
    solution: str = ""
    unplanned: str = ""


class MathEnvironment(TextEnvironment):
    """Answers an expression with its value and a fenced Python block with its output, and judges `Final Answer: …`.

    Expressions are the calculator's, blocks the cells of a notebook (`python_cells`); where blocks cannot run, the
    observation says why. The reward is 1 for the right answer, else 0, and each step before the answer has 0. `info`
    of the final step holds `success`, `answer_computed` (whether an earlier step of the episode produced the stated
    number) and `answers`, the protocol that judged. A block that fails is no invalid action: `info['failed']` says so.
    """

    def __init__(self) -> None:
        self._judge = AnswerJudge()
        self._problem: MathProblem | None = None
        self._protocol: AnswerProtocol = "exact"
        self._blocks: list[str] = []
        self._shown: list[str] = []

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._protocol = answers_of(options)
        self._problem = payload_of(options, MathProblem, "math")
        self._blocks = []
        self._shown = []
        return self._current.question, {"invalid_action": False}

    @property
    def _current(self) -> MathProblem:
        return begun(self._problem, "math")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        action = action.strip()
        stated = stated_answer(action)
        if stated is not None:
            right = self._judge.right(stated, problem.answer, self._protocol)
            return judged(right, answer_computed=self._was_computed(stated), answers=self._protocol)
        block = python_cells.read_block(action)
        if block is not None:
            return self._run(block)
        try:
            shown = format_value(evaluate(action))
        except ExpressionError as error:
            return f"Error: {error}.", 0.0, False, False, {"invalid_action": True}
        self._shown.append(shown)
        return shown, 0.0, False, False, {"invalid_action": False}

    def _run(self, block: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        reason = python_cells.available()
        if reason is not None:
            return f"Error: Python cannot run here: {reason}.", 0.0, False, False, {"invalid_action": True}
        cell = python_cells.run_block(block, self._blocks)
        if cell.succeeded:
            self._blocks.append(block)
            self._shown += cell.output.split()
        return cell.output, 0.0, False, False, {"invalid_action": False, "failed": not cell.succeeded}

    def _was_computed(self, stated: str) -> bool:
        """Whether a value that was shown is the stated number, to the digits that are shown."""
        number = parse_number(stated)
        if number is None:
            told = read_quantity(simplify(stated[:200]))
            number = None if told is None else told.value
        return number is not None and format_value(number) in self._shown

    def expert_steps(self) -> list[ExpertStep]:
        return list(self._current.plan)

    def sample_action(self, rng: random.Random) -> str:
        problem = self._current
        numbers = re.findall(r"\d{1,6}", problem.question) or ["1"]
        if rng.random() < 0.5:
            return f"{rng.choice(numbers)} {rng.choice('+-*/')} {rng.choice(numbers)}"
        letters = [letter for letter, _ in problem.answer.options]
        return f"{FINAL_ANSWER_PREFIX} {rng.choice(letters or numbers)}"

    def close(self) -> None:
        self._judge.close()


def calculation_step(expression: str) -> ExpertStep:
    """An expert's expression."""
    return ExpertStep(action=expression, intent="calculate", slots={"expression": expression})
