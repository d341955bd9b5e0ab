"""GSM8K's problems as instances of the environment of mathematical problems.

GSM8K: Cobbe et al. 2021, arXiv 2110.14168. The user has the file; the project ships none of it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.environments.answers import PublishedAnswer
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.gsm8k_rows import Problem, read_problems
from agentbank_jax.environments.math_problems import MathProblem, calculation_step
from agentbank_jax.environments.turn_text import answer_step

_ANNOTATION = re.compile(r"<<([^<>=]*)=[^<>]*>>")


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads all problems of a file: JSON lines with `question` and `answer` (`… #### 72`), plain or gzipped.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row
        (from 1) and field.
    """
    return (_instance(problem) for problem in read_problems(path, split))


def _instance(problem: Problem) -> Instance:
    steps = [calculation_step(expression.strip()) for expression in _ANNOTATION.findall(problem.solution)]
    return Instance(
        id=problem.id,
        fingerprint=problem.fingerprint,
        payload=MathProblem(
            question=problem.question,
            answer=PublishedAnswer(kind="number", text=problem.answer),
            plan=(*steps, answer_step(problem.answer)),
            solution=problem.solution,
        ),
        difficulty=len(steps),
    )
