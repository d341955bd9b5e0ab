"""APPS's problems: Hendrycks et al. 2021, arXiv 2105.09938. The user has the files; the project ships none of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import (
    parse_json,
    question_fingerprint,
    read_object,
    read_rows,
    read_text,
)
from agentbank_jax.environments.code_problems import CodeProblem
from agentbank_jax.environments.unit_tests import CallTests, OutputTests
from agentbank_jax.errors import AgentBankError

# The publisher's programs rely on these: its evaluation runs them before each program.
PREAMBLE = """\
import collections, fractions, functools, heapq, itertools, math, random, sys, time
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from functools import lru_cache
from heapq import *
from itertools import accumulate, combinations, permutations, product
from math import ceil, cos, exp, fabs, floor, gcd, log, log2, sin, sqrt
from typing import List, Tuple
try:
    import numpy as np
except ImportError:
    pass
"""
# For each test, as the publisher has it, and for all of a problem.
_TEST_SECONDS = 4.0
_ALL_SECONDS = 50.0
_DIFFICULTIES = {"introductory": 1, "interview": 2, "competition": 3}


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Reads the problem of a folder by its `question.txt`, or all problems of a file of JSON lines.

    A problem without tests is left out. A folder has `input_output.json` and, perhaps, `solutions.json`,
    `metadata.json` and `starter_code.py`; a row has the same contents as strings, as on the Hugging Face hub.

    Raises:
      AgentBankError: where a file cannot be read or breaks the layout; names file, row and field.
    """
    if path.name == "question.txt":
        yield from _instance(_of_folder(path.parent), str(path.parent), split)
        return
    for number, row in read_rows(path, {"problem_id": int, "question": str}):
        yield from _instance({**row, "name": f"{row['problem_id']:04d}"}, f"{path}:{number}", split)


def _of_folder(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"name": folder.name, "question": read_text(folder / "question.txt")}
    for field, name in (
        ("input_output", "input_output.json"),
        ("solutions", "solutions.json"),
        ("starter_code", "starter_code.py"),
    ):
        row[field] = read_text(folder / name) if (folder / name).exists() else ""
    if (folder / "metadata.json").exists():
        row["difficulty"] = read_object(folder / "metadata.json", {}).get("difficulty")
    return row


def _instance(row: Mapping[str, Any], where: str, split: str) -> Iterator[Instance]:
    tests = _tests(row.get("input_output") or "", f"{where}:input_output")
    if tests is None:
        return
    solutions = parse_json(row.get("solutions") or "[]", f"{where}:solutions")
    if not isinstance(solutions, list) or not all(isinstance(solution, str) for solution in solutions):
        raise AgentBankError(f"{where}:solutions: {solutions!r:.40}; expected a list of programs.")
    called = isinstance(tests, CallTests)
    parts = [row["question"].strip(), (row.get("starter_code") or "").strip("\n")]
    parts.append("Use Call-Based format" if called else "Use Standard Input format")
    yield Instance(
        id=f"apps/{split}/{row['name']}",
        fingerprint=question_fingerprint(row["question"]),
        payload=CodeProblem(
            task="\n\n".join(part for part in parts if part),
            tests=tests,
            solution=solutions[0].replace("\r\n", "\n").strip("\n") if solutions else "",
            opening=PREAMBLE,
            entry_point=tests.function if isinstance(tests, CallTests) else "",
            seconds=_TEST_SECONDS,
            all_seconds=min(_ALL_SECONDS, _TEST_SECONDS * len(tests.inputs)),
        ),
        difficulty=_DIFFICULTIES.get(str(row.get("difficulty")), 1),
    )


def _tests(text: str, where: str) -> CallTests | OutputTests | None:
    if not text.strip():
        return None
    said = parse_json(text, where)
    inputs, outputs = (said.get(name) if isinstance(said, dict) else None for name in ("inputs", "outputs"))
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise AgentBankError(f"{where}: expected an object with lists 'inputs' and 'outputs' of one length.")
    if not inputs:
        return None
    if function := said.get("fn_name"):
        for number, given in enumerate(inputs):
            if not isinstance(given, list):
                raise AgentBankError(f"{where}: inputs[{number}] is {given!r:.40}; expected a list of arguments.")
        return CallTests(
            function=str(function),
            inputs=tuple(_with_whole_keys(given) for given in inputs),
            outputs=tuple(
                _with_whole_keys(output) if isinstance(output, list) else _with_whole_keys([output])[0]
                for output in outputs
            ),
        )
    return OutputTests(inputs=tuple(map(_lines, inputs)), outputs=tuple(map(_lines, outputs)))


def _with_whole_keys(values: list[Any]) -> list[Any]:
    """The values, the first with whole numbers as keys where it can have them: JSON made strings of these."""
    if values and isinstance(values[0], dict):
        try:
            return [{int(key): value for key, value in values[0].items()}, *values[1:]]
        except ValueError:
            pass
    return values


def _lines(text: Any) -> str:
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)
