"""MathQA's problems as instances of the environment of mathematical problems.

MathQA: Amini et al. 2019, arXiv 1905.13319. The user has the files; the project ships none of them.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.environments.answers import AnswerJudge, PublishedAnswer
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows
from agentbank_jax.environments.math_problems import MathProblem, calculation_step
from agentbank_jax.environments.mathqa_formula import Calculation, FormulaError, calculations
from agentbank_jax.environments.turn_text import answer_step
from agentbank_jax.errors import AgentBankError

_FIELDS = {"problem": str, "options": str, "correct": str, "annotated_formula": str}
_MOST_CALCULATIONS = 9


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads all problems of a file; the expert calculates by the annotated formula where it leads to the right option.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    for number, row in read_rows(path, _FIELDS):
        options = read_options(row["options"])
        correct = row["correct"].strip().lower()
        if correct not in dict(options):
            raise AgentBankError(
                f"{path}:{number}:correct: {row['correct']!r}; expected a letter of the options {row['options']!r}."
            )
        answer = PublishedAnswer(kind="choice", text=correct, options=options)
        found, unplanned = _right_calculations(row["annotated_formula"], answer)
        steps = [calculation_step(each.expression) for each in found]
        told = " , ".join(f"{letter} ) {value}" for letter, value in options)
        yield Instance(
            id=f"mathqa/{split}/{number}",
            fingerprint=question_fingerprint(row["problem"]),
            payload=MathProblem(
                question=f"{row['problem'].strip()}\nOptions: {told}",
                answer=answer,
                plan=(*steps, answer_step(correct)),
                solution=str(row.get("rationale") or "").strip(' "'),
                unplanned=unplanned,
            ),
            difficulty=max(1, row["annotated_formula"].count("(")),
        )


def read_options(text: str) -> tuple[tuple[str, str], ...]:
    """Letters and values of `a ) 12 , b ) 16 , …`, or of a Python list of such strings.

    Letters that a value repeats (`a ) a ) 12`) are left out; what is no option in the order of the alphabet stays
    in the value before it.
    """
    if text.lstrip().startswith("["):
        try:
            text = " , ".join(str(item) for item in ast.literal_eval(text.strip()))
        except (ValueError, SyntaxError):
            return ()
    found: list[tuple[str, str]] = []
    start = None
    for letter in "abcdefgh":
        mark = re.compile(rf"(?:^|,)\s*{letter}\s*\)\s*(?:{letter}\s*\)\s*)?").search(text, start or 0)
        if mark is None:
            break
        if found:
            found[-1] = (found[-1][0], text[start : mark.start()].strip())
        start = mark.end()
        found.append((letter, text[start:].strip()))
    return tuple(found)


def _right_calculations(formula: str, answer: PublishedAnswer) -> tuple[list[Calculation], str]:
    """The calculations of a formula; or none, and why: it cannot be calculated or leads to another option."""
    try:
        found = calculations(formula, most=_MOST_CALCULATIONS)
    except FormulaError as error:
        return [], f"cannot be calculated: {error}"
    if not found:
        return [], "cannot be calculated: it has no operation"
    # Published options are often rounded.
    if not AnswerJudge().right(found[-1].value, answer, "mint"):
        return [], f"leads to {found[-1].value}, not to option {answer.text}"
    return found, ""
