"""GSM8K's problems as instances of the calculator environment.

GSM8K: Cobbe et al. 2021, arXiv 2110.14168. The user has the file; the project ships none of it.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance
from agentbank_jax.environments.calculator import CalculatorProblem
from agentbank_jax.environments.gsm8k_rows import Problem, read_problems

_ANNOTATION = re.compile(r"<<([^<>=]*)=[^<>]*>>")


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads all problems of a file: JSON lines with `question` and `answer` (`… #### 72`), plain or gzipped.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row
        (from 1) and field.
    """
    return (_instance(problem) for problem in read_problems(path, split))


def _instance(problem: Problem) -> Instance:
    steps = [
        ExpertStep(action=expression.strip(), intent="calculate", slots={"expression": expression.strip()})
        for expression in _ANNOTATION.findall(problem.solution)
    ]
    final = ExpertStep(
        action=f"{FINAL_ANSWER_PREFIX} {problem.answer}", intent="answer", slots={"answer": problem.answer}
    )
    return Instance(
        id=problem.id,
        fingerprint=problem.fingerprint,
        payload=CalculatorProblem(question=problem.question, answer=Fraction(problem.answer), plan=(*steps, final)),
        difficulty=len(steps),
    )
