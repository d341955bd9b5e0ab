"""MBPP's problems: Austin et al. 2021, arXiv 2108.07732. The user has the file; the project ships none of it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows, typed_field
from agentbank_jax.environments.code_problems import CodeProblem, written_lines
from agentbank_jax.environments.unit_tests import FunctionTests
from agentbank_jax.errors import AgentBankError

PUBLISHED_TEST = range(11, 511)
"""The numbers of the publisher's test problems; 1 to 10 are of prompts, 511 to 600 for validation."""

# Of InterCode's file and of the publisher's own.
_FIELDS = {"query": "text", "gold": "code", "tests": "test_list"}


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads all problems of a file, in InterCode's layout (`query`, `gold`, `tests`) or the publisher's (`text`, …).

    The task shows the tests, as the benchmark's own prompt does. `test` has all problems of the file, `train` those
    outside the publisher's test split, which is 11 to 510. Difficulty is the lines of the published program.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    for number, row in read_rows(path, {"task_id": int}):
        if split == "train" and row["task_id"] in PUBLISHED_TEST:
            continue
        for name, other in _FIELDS.items():
            if name not in row and other in row:
                row[name] = row[other]
        where = f"{path}:{number}"
        for name in ("query", "gold"):
            typed_field(row, name, str, where)
        tests = row.get("tests")
        if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
            raise AgentBankError(f"{where}:tests: {tests!r:.40}; expected a list of statements.")
        gold = row["gold"].replace("\r\n", "\n")
        try:
            statements = ast.parse(gold).body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise AgentBankError(f"{where}:gold: not Python ({error}); expected a program.") from None
        imports = [ast.unparse(each) for each in statements if isinstance(each, ast.Import | ast.ImportFrom)]
        yield Instance(
            id=f"mbpp/{split}/{row['task_id']}",
            fingerprint=question_fingerprint(row["query"]),
            payload=CodeProblem(
                task="\n".join((row["query"].strip(), "Your code should pass these tests:", *map(str.strip, tests))),
                tests=FunctionTests(
                    tests=tuple(tests),
                    setup=str(row.get("test_setup_code") or "").replace("\r\n", "\n"),
                    prelude="\n".join(imports),
                    defined=frozenset(
                        each.name for each in statements if isinstance(each, ast.FunctionDef | ast.ClassDef)
                    ),
                ),
                solution=gold.strip("\n"),
                entry_point=next((each.name for each in statements if isinstance(each, ast.FunctionDef)), ""),
                public=True,
            ),
            difficulty=written_lines(gold),
        )
