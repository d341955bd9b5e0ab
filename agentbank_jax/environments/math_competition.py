"""MATH's problems as instances of the environment of mathematical problems.

MATH: Hendrycks et al. 2021, arXiv 2103.03874. The user has the files; the project ships none of them.
"""

from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.environments.answer_text import last_boxed
from agentbank_jax.environments.answers import PublishedAnswer
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows
from agentbank_jax.environments.math_problems import MathProblem
from agentbank_jax.environments.turn_text import answer_step
from agentbank_jax.errors import AgentBankError


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    r"""Reads all problems of a file; the answer is what the solution's last `\boxed{…}` holds.

    An id ends in the row's `idx`, for a file of one problem in its type and number (`algebra/12`), else in the row's
    number. Difficulty is the level, 1 to 5 (1 where none is given).

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    alone = path.suffix == ".json" and path.stem.isdigit()
    for number, row in read_rows(path, {"problem": str, "level": str, "solution": str}):
        answer = (last_boxed(row["solution"]) or "").strip()
        if not answer:
            raise AgentBankError(
                rf"{path}:{number}:solution: ends in {row['solution'][-40:]!r}; expected an answer in \boxed{{…}}."
            )
        place = f"{path.parent.name}/{path.stem}" if alone else row.get("idx", number)
        level = row["level"][-1:]
        yield Instance(
            id=f"math/{split}/{place}",
            fingerprint=question_fingerprint(row["problem"]),
            payload=MathProblem(
                question=row["problem"].strip(),
                answer=PublishedAnswer(kind="expression", text=answer),
                plan=(answer_step(answer),),
            ),
            difficulty=int(level) if level.isdigit() else 1,
        )
