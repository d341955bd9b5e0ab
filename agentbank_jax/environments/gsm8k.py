"""GSM8K's problems in the calculator environment, from a file in the publisher's layout.

GSM8K: Cobbe et al. 2021, arXiv 2110.14168. The user has the file; the project ships none of it.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance
from agentbank_jax.environments.calculator import PROTOCOL, CalculatorEnvironment, CalculatorProblem
from agentbank_jax.environments.gsm8k_rows import Problem, read_problems
from agentbank_jax.environments.registry import EnvironmentRegistryError, EnvironmentSpec

NAME = "gsm8k"
TEST_FILE_VARIABLE = "AGENTBANK_GSM8K_TEST"
HOW_TO_GET = (
    "download test.jsonl of GSM8K (github.com/openai/grade-school-math, grade_school_math/data/test.jsonl) and pass "
    f"--gin.Gsm8kConfig.test_file=PATH, or set {TEST_FILE_VARIABLE}"
)

_ANNOTATION = re.compile(r"<<([^<>=]*)=[^<>]*>>")


@dataclass(frozen=True, kw_only=True)
class Gsm8kConfig:
    """Where GSM8K's test problems are.

    Fields:
      test_file: JSON lines with `question` and `answer` (`… #### 72`), plain or gzipped; None takes
        the environment variable AGENTBANK_GSM8K_TEST.
    """

    test_file: str | None = None

    def path(self) -> Path | None:
        name = self.test_file or os.environ.get(TEST_FILE_VARIABLE)
        return Path(name).expanduser() if name else None


@lru_cache(maxsize=4)
def read_instances(path: Path, split: str) -> tuple[Instance, ...]:
    """Reads all problems of a file.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row
        (from 1) and field.
    """
    return tuple(_instance(problem) for problem in read_problems(path, split))


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


class Problems:
    """The test problems of the file that a configuration names; another may be named later."""

    def __init__(self, config: Gsm8kConfig) -> None:
        self.path = config.path()

    def instance(self, split: str, index: int) -> Instance:
        """Returns problem `index` of the file.

        Raises:
          AgentBankError: where no file is named, it cannot be read, or it holds fewer.
        """
        if self.path is None:
            raise EnvironmentRegistryError(f"{NAME}: no test file is named; {HOW_TO_GET}.")
        instances = read_instances(self.path, split)
        if not 0 <= index < len(instances):
            raise EnvironmentRegistryError(f"{NAME}: problem {index} of {self.path}; it holds {len(instances)}.")
        return instances[index]

    def available(self) -> str | None:
        """Returns None where the problems can be played, else the reason and the remedy."""
        if self.path is None:
            return f"no test file is named; {HOW_TO_GET}"
        return None if self.path.is_file() else f"'{self.path}' is not there; {HOW_TO_GET}"

    def version(self) -> str:
        """Returns a hash of all problems.

        Raises:
          AgentBankError: as `read_instances`.
        """
        assert self.path is not None
        prints = [f"{instance.fingerprint} {instance.payload.answer}" for instance in read_instances(self.path, "test")]
        return hashlib.sha256("".join(prints).encode()).hexdigest()[:16]


def make_spec(problems: Problems, *, instruction: str) -> EnvironmentSpec:
    """Describes GSM8K as an environment.

    Args:
      problems: what is played.
      instruction: the system turn; the one that the trained task carries.
    """
    return EnvironmentSpec(
        name=NAME,
        skill="math",
        action_space="continuous",
        max_steps=12,
        protocol=PROTOCOL,
        instruction=instruction,
        licence="MIT",
        requires=("GSM8K's test.jsonl, from its publisher",),
        make=CalculatorEnvironment,
        instance=problems.instance,
        data_version=problems.version,
        available=problems.available,
    )
