"""Runs unit tests on a program that a model wrote, so that it passes them only by doing what they ask.

In the sandbox two processes run: one with the tests, and one with the program, which gets arguments and gives results
and sees nothing else. What each of them does is in `unit_test_tester` and `unit_test_program`.
"""

import ast
import functools
import math
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentbank_jax.environments.sandbox import (
    PYTHON,
    Limits,
    SandboxError,
    available,
    isolation,
    run_program,
    sandbox_root,
)

# A second interpreter, and what is put aside for starting both.
_PATIENCE = 3
_START_SECONDS = 5.0
# For libraries such as NumPy, and for the tests beside the program.
_MEMORY_BYTES = 1 << 30
_MAX_VERDICT_BYTES = 16 << 20
# Of one result, for what is expected to be this long; more of it is wrong anyway.
_SPARE_CHARACTERS = 1000
# As numpy.allclose has them, which the published comparison of APPS calls.
_RELATIVE, _ABSOLUTE = 1e-5, 1e-8

FailureKind = Literal["wrong", "program", "test", "time", "ended", "stopped"]


@dataclass(frozen=True, kw_only=True)
class FunctionTests:
    """Statements that call functions of the program and assert.

    Fields:
      tests: each is a test.
      setup: runs once before them; may call functions of the program.
      prelude: runs before everything; must not need the program.
      defined: global names that are the program's, even where a built-in has that name; other built-in names are not.
      examples: public expressions and what their values are written as; they decide nothing.
    """

    tests: tuple[str, ...]
    setup: str = ""
    prelude: str = ""
    defined: frozenset[str] = frozenset()
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class CallTests:
    """Calls of one function, of the class `Solution` where the program has it, compared as APPS compares.

    Fields:
      function: its name.
      inputs: lists of arguments.
      outputs: what each call is to return.
    """

    function: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class OutputTests:
    """Whole runs of the program from standard input to standard output, compared as APPS compares."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong first.

    Fields:
      kind: `wrong` result; an exception of the `program`, or of the `test` over its result; out of `time`; the
        process `ended`; the sandbox `stopped` it.
      test: number of the test, from 0; -1 for the program itself, before any test.
      error: type of an exception, or the limit for which the sandbox stopped it.
      text: of an exception; it may tell what the test passed in.
      line: of the program, from 1; None where it is not known.
    """

    kind: FailureKind
    test: int = -1
    error: str = ""
    text: str = ""
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the tests say.

    Fields:
      passed, total: numbers of tests.
      failure: the first one; None where all passed.
      output: what the program printed before the first test, its beginning.
      examples: of each public example that failed, the expression, what was expected and what came.
    """

    passed: int
    total: int
    failure: Failure | None = None
    output: str = ""
    examples: tuple[tuple[str, str, str], ...] = ()


Tests = FunctionTests | CallTests | OutputTests


def judge(program: str, tests: Tests, *, seconds: float, preamble: str = "", limits: Limits | None = None) -> Verdict:
    """Runs the tests on a program.

    Args:
      program: Python source.
      tests: at least one.
      seconds: of processor time, for all function tests together; for each call or run of the other kinds. In real
        time it may take `_PATIENCE` times as long: what a program may do must not depend on what else the machine does.
      preamble: source that runs before the program, in its names.
      limits: of each process; `wall_seconds` is that of all tests together.

    Raises:
      SandboxError: where the sandbox cannot be had.
    """
    limits = limits or Limits()
    if PYTHON is None:
        raise SandboxError(available(file_system=False, python=True) or "")
    request: dict[str, Any] = {
        **_request(tests),
        "program": program.encode("utf-8", "replace").decode(),
        "preamble": preamble,
        "seconds": _PATIENCE * seconds,
        "python": PYTHON,
        "harness": _source("unit_test_program.py"),
        "limits": {
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": limits.open_files,
            "RLIMIT_CPU": limits.cpu_seconds,
            "RLIMIT_AS": limits.memory_bytes,
            "RLIMIT_FSIZE": limits.file_bytes,
        },
    }
    if isolation() == "bubblewrap":  # else it would count all processes of the user
        request["limits"]["RLIMIT_NPROC"] = limits.processes
    requests, verdicts = os.memfd_create("requests"), os.memfd_create("verdicts")
    try:
        os.write(requests, pickle.dumps(request))
        with sandbox_root() as root:
            completed = run_program(
                [PYTHON, "-I", "-S", "-c", _source("unit_test_tester.py"), str(requests), str(verdicts)],
                root=root,
                limits=limits,
                descriptors=(requests, verdicts),
                own_limits=True,
            )
        said = os.pread(verdicts, _MAX_VERDICT_BYTES, 0)
    finally:
        os.close(requests)
        os.close(verdicts)
    total = len(tests.tests if isinstance(tests, FunctionTests) else tests.inputs)
    if completed.stopped is not None:
        return Verdict(passed=0, total=total, failure=Failure(kind="stopped", error=completed.stopped))
    try:
        verdict = ast.literal_eval(said.decode("utf-8"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return Verdict(passed=0, total=total, failure=Failure(kind="ended"))
    return _verdict(verdict, tests, total)


@functools.cache
def _source(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _request(tests: Tests) -> dict[str, Any]:
    if isinstance(tests, FunctionTests):
        return {
            "kind": "functions",
            "tests": list(tests.tests),
            "setup": tests.setup,
            "prelude": tests.prelude,
            "defined": set(tests.defined),
            "examples": [source for source, _ in tests.examples],
        }
    if isinstance(tests, CallTests):
        longest = max(len(repr(output)) for output in tests.outputs)
        kind = {"kind": "calls", "function": tests.function}
    else:
        longest = max(len(output.encode("utf-8", "replace")) for output in tests.outputs)
        kind = {"kind": "outputs"}
    return {**kind, "inputs": list(tests.inputs), "most": 2 * longest + _SPARE_CHARACTERS}


def _verdict(said: Mapping[str, Any], tests: Tests, total: int) -> Verdict:
    if said["began"] is not None:
        return Verdict(passed=0, total=total, failure=_failure(said["began"], -1), output=said["output"])
    failures = list(_failures(said["tests"], tests))
    # A process that ended took the tests after it along.
    failures += [Failure(kind="ended", test=number) for number in range(len(failures), total)]
    examples = []
    if isinstance(tests, FunctionTests):
        for (source, wanted), (value, failure) in zip(tests.examples, said["examples"], strict=False):
            if value is None:
                examples.append((source, wanted, _failure(failure, -1).error or "no result"))
            elif value != wanted:
                examples.append((source, wanted, value))
    return Verdict(
        passed=sum(failure is None for failure in failures),
        total=total,
        failure=next((failure for failure in failures if failure is not None), None),
        output=said["output"],
        examples=tuple(examples),
    )


def _failures(said: Sequence[Any], tests: Tests) -> Iterator[Failure | None]:
    for number, result in enumerate(said):
        if isinstance(tests, FunctionTests):
            yield result and _failure(result, number)
            continue
        value, failure = result
        if failure is not None:
            yield _failure(failure, number)
        elif isinstance(tests, CallTests):
            alike = same_value(value, tests.outputs[number])
            yield None if alike else Failure(kind="wrong", test=number)
        else:
            yield None if same_output(value, tests.outputs[number]) else Failure(kind="wrong", test=number)


def _failure(said: Sequence[Any], test: int) -> Failure:
    kind, error, text, line = said
    return Failure(kind=kind, test=test, error=error, text=text, line=int(line) if line is not None else None)


def same_value(written: str, wanted: Any) -> bool:
    """Whether a returned value is the published one, after APPS's `testing_util.py` (github.com/hendrycks/apps).

    Equal, or equal to the first item of the published value where that is a list; tuples count as lists.

    Args:
      written: the value as Python writes it.
      wanted: the published value, as JSON has it.
    """
    try:
        value = ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    value = list(value) if isinstance(value, tuple) else value
    first = wanted[0] if isinstance(wanted, list) and wanted else wanted
    if value in (wanted, first):
        return True
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return [list(item) for item in value if isinstance(item, tuple)] == first
    return False


def same_output(printed: str, wanted: str) -> bool:
    """Whether a printed output is the published one, after APPS's `testing_util.py` (github.com/hendrycks/apps).

    Equal but for blanks at the ends of lines and empty lines; or one number per line, all close; or lines of the same
    words in any order, numbers rounded to 3 places, the lines themselves in any order.
    """
    ours, theirs = ([line.strip() for line in text.split("\n") if line.strip()] for text in (printed, wanted))
    if ours == theirs:
        return True
    if _all_close(_numbers(ours), _numbers(theirs)):
        return True
    words = [{frozenset(line.split()) for line in lines} for lines in (ours, theirs)]
    if words[0] == words[1]:
        return True
    rounded = [{_rounded(line) for line in lines} for lines in (ours, theirs)]
    return None not in rounded[0] and rounded[0] == rounded[1]


def _all_close(ours: list[float] | None, theirs: list[float] | None) -> bool:
    if ours is None or theirs is None or len(ours) != len(theirs):
        return False
    return all(abs(one - two) <= _ABSOLUTE + _RELATIVE * abs(two) for one, two in zip(ours, theirs, strict=True))


def _numbers(words: Sequence[str]) -> list[float] | None:
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _rounded(line: str) -> frozenset[float] | None:
    numbers = _numbers(line.split())
    return None if numbers is None else frozenset(round(number, 3) for number in numbers)


def unit_test_limits(seconds: float) -> Limits:
    """The limits for tests that may take `seconds` of processor time together."""
    return Limits(
        wall_seconds=_PATIENCE * seconds + _START_SECONDS,
        cpu_seconds=max(1, math.ceil(seconds)),
        memory_bytes=_MEMORY_BYTES,
    )
