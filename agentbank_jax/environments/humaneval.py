"""HumanEval's problems: Chen et al. 2021, arXiv 2107.03374. The user has the file; the project ships none of it."""

import ast
import doctest
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows
from agentbank_jax.environments.code_problems import CodeProblem, written_lines
from agentbank_jax.environments.unit_tests import FunctionTests
from agentbank_jax.errors import AgentBankError

_FIELDS = {"task_id": str, "prompt": str, "entry_point": str, "canonical_solution": str, "test": str}


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads all problems of a file; the task is the prompt, and its tests are hidden.

    What the prompt holds before the function that is asked for (imports, helping functions) also runs where the
    agent's program leaves it out. The examples of the docstring are public. Difficulty is the canonical solution's
    lines.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    for number, row in read_rows(path, _FIELDS):
        prompt, name = row["prompt"], row["entry_point"]
        opening, mark, rest = prompt.rpartition(f"def {name}(")
        if not mark:
            raise AgentBankError(f"{path}:{number}:entry_point: '{name}'; expected a function that the prompt defines.")
        yield Instance(
            id=f"humaneval/{split}/{row['task_id'].rpartition('/')[2]}",
            fingerprint=question_fingerprint(prompt),
            payload=CodeProblem(
                task=prompt.strip("\n"),
                tests=FunctionTests(
                    tests=(f"{row['test']}\ncheck({name})\n",),
                    prelude=opening,
                    defined=frozenset({name}),
                    examples=_examples(mark + rest),
                ),
                solution=(prompt + row["canonical_solution"]).strip("\n"),
                opening=opening,
                signature=mark + rest,
                entry_point=name,
            ),
            difficulty=written_lines(row["canonical_solution"]),
        )


def _examples(function: str) -> tuple[tuple[str, str], ...]:
    """Expressions and their written values, of the docstring's lines that begin with `>>>`."""
    try:
        docstring = ast.get_docstring(ast.parse(function).body[0]) or ""  # type: ignore[arg-type]
        found = doctest.DocTestParser().get_examples(docstring)
    except (SyntaxError, ValueError):  # the prompt stops before its docstring does, or has none of doctest's examples
        return ()
    return tuple((each.source.strip(), each.want.strip()) for each in found if each.want and _is_expression(each))


def _is_expression(example: doctest.Example) -> bool:
    try:
        compile(example.source, "<example>", "eval")
    except SyntaxError:
        return False
    return True
