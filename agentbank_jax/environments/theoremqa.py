"""TheoremQA's problems as instances of the environment of mathematical problems.

TheoremQA: Chen et al. 2023, arXiv 2305.12524. The user has the file; the project ships none of it. Problems that refer
to a picture are left out: a text agent cannot see it.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from agentbank_jax.environments.answers import THEOREMQA_TOLERANCE, Kind, PublishedAnswer, number_kind
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows
from agentbank_jax.environments.math_problems import MathProblem
from agentbank_jax.environments.turn_text import answer_step
from agentbank_jax.errors import AgentBankError

_FIELDS = {"Question": str, "Answer_type": str, "id": str}
_TYPES = ("integer", "float", "bool", "list of integer", "list of float", "option")


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads the problems of a file that need no picture.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    for number, row in read_rows(path, _FIELDS, exact_decimals=True):
        if row.get("Picture"):
            continue
        told = _answer(row["Answer_type"], row.get("Answer"))
        if told is None:
            raise AgentBankError(
                f"{path}:{number}:Answer: {row.get('Answer')!r} of type {row['Answer_type']!r}; "
                f"expected a value of one of the types {', '.join(_TYPES)}."
            )
        kind, text, stated = told
        yield Instance(
            id=f"theoremqa/{split}/{row['id'].removesuffix('.json')}",
            fingerprint=question_fingerprint(row["Question"]),
            payload=MathProblem(
                question=row["Question"].strip(),
                answer=PublishedAnswer(kind=kind, text=text, mint_tolerance=THEOREMQA_TOLERANCE),
                plan=(answer_step(stated),),
            ),
        )


def _answer(kind: str, value: Any) -> tuple[Kind, str, str] | None:
    """How an answer is compared, its text for that, and as the expert states it; None where it is malformed."""
    if kind == "bool" and isinstance(value, bool):
        return "truth", str(value).lower(), str(value)
    if kind == "option" and isinstance(value, str) and len(letter := value.strip("() ").lower()) == 1:
        return "choice", letter, value
    if kind in ("integer", "float") and _is_number(value):
        return number_kind(str(value)), str(value), str(value)
    if kind.startswith("list of") and isinstance(value, list) and value and all(map(_is_number, value)):
        return "list", ",".join(map(str, value)), f"[{', '.join(map(str, value))}]"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)
