"""Python programs written for a task and judged by its unit tests, in the sandbox.

Each fenced block is a whole program, and each is judged: where all tests pass the episode ends with reward 1, else the
observation says what went wrong, and the agent may try again. Public examples are shown in full; of hidden tests only
their number and the kind of failure, with the line of the agent's own program.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.environments.base import (
    FINAL_ANSWER_PREFIX,
    ExpertStep,
    TextEnvironment,
    begun,
    payload_of,
)
from agentbank_jax.environments.sandbox import MAX_COMMAND_BYTES, isolation
from agentbank_jax.environments.turn_text import cut
from agentbank_jax.environments.unit_tests import (
    Failure,
    FunctionTests,
    Tests,
    Verdict,
    judge,
    unit_test_limits,
)

PROTOCOL = "code/1"

_FENCE = re.compile(r"```(?:python3?|py)?[ \t]*\n(.*?)\n?[ \t]*```", re.IGNORECASE | re.DOTALL)
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class CodeProblem:
    """A task and its tests.

    Fields:
      task: the first observation.
      tests: decide.
      solution: a published program that passes them.
      opening: source that runs before the agent's program, where that stands alone.
      signature: what an indented program continues, after `opening`.
      entry_point: name of the function that is asked for; empty where none is.
      public: whether the task shows the tests, so that observations may.
      seconds: for all function tests together; for each call or run of the other kinds.
      all_seconds: for all tests together.
    """

    task: str
    tests: Tests
    solution: str
    opening: str = ""
    signature: str = ""
    entry_point: str = ""
    public: bool = False
    seconds: float = 10.0
    all_seconds: float = 10.0


def written_lines(program: str) -> int:
    """How many lines of a program are not blank, at least 1: how hard it is to write."""
    return max(1, sum(bool(line.strip()) for line in program.split("\n")))


class CodeEnvironment(TextEnvironment):
    """Judges each program by the unit tests; see the module.

    Reward of a step: 1 where its program passes all tests, else 0; of `submit`, that of the last program. `submit` ends
    the episode, and so does a program that passes, or one given as `Final Answer:`. `info` has `sandbox`, the isolation
    in force, and after a program `passed` and `tests`, their numbers, and `fraction`; at the end also `success`. An
    action without a program is `invalid_action`.
    """

    def __init__(self) -> None:
        self._problem: CodeProblem | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Takes the problem; raises `AgentBankError` where `options['instance']` holds none."""
        self._problem = payload_of(options, CodeProblem, "code")
        self._last: dict[str, Any] = {"passed": 0, "tests": _size(self._problem.tests), "fraction": 0.0}
        return self._problem.task, self._info()

    @property
    def _current(self) -> CodeProblem:
        return begun(self._problem, "code")

    def _info(self, **more: Any) -> dict[str, Any]:
        return {"invalid_action": False, "sandbox": isolation(), **more}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        action = action.strip()
        if action.lower() == "submit":
            reward = float(self._last["fraction"] == 1)
            return "Submitted.", reward, True, False, self._info(success=reward == 1, **self._last)
        final = action.startswith(FINAL_ANSWER_PREFIX)
        program = program_of(action.removeprefix(FINAL_ANSWER_PREFIX))
        if not program.strip() or len(program.encode("utf-8", "replace")) > MAX_COMMAND_BYTES or "\0" in program:
            info = self._info(success=False, **self._last) if final else self._info()
            return "Not a program; write one in a fenced python block.", 0.0, final, False, info | _INVALID
        verdict = self._judge(problem, program)
        self._last = {
            "passed": verdict.passed,
            "tests": verdict.total,
            "fraction": verdict.passed / verdict.total,
        }
        solved = verdict.passed == verdict.total
        info = self._info(**self._last)
        if solved or final:
            info["success"] = solved
        return _observation(problem, verdict), float(solved), solved or final, False, info

    def _judge(self, problem: CodeProblem, program: str) -> Verdict:
        # An indented text goes on where the signature stops.
        if problem.signature and program.lstrip("\n")[:1] in (" ", "\t"):
            program = problem.signature + program
        return judge(
            program,
            problem.tests,
            seconds=problem.seconds,
            preamble=problem.opening,
            limits=unit_test_limits(problem.all_seconds),
        )

    def expert_steps(self) -> list[ExpertStep]:
        return [ExpertStep(action=f"```python\n{self._current.solution}\n```", intent="solve")]

    def sample_action(self, rng: random.Random) -> str:
        name = self._current.entry_point or "main"
        body = rng.choice(("pass", "return None", "return 0", "return []", "return arguments"))
        return rng.choice((f"```python\ndef {name}(*arguments):\n    {body}\n```", "```python\nprint(input())\n```"))

    def close(self) -> None:
        """Forgets the problem; no process lives between steps."""
        self._problem = None


_INVALID = {"invalid_action": True}


def _size(tests: Tests) -> int:
    return len(tests.tests if isinstance(tests, FunctionTests) else tests.inputs)


def program_of(action: str) -> str:
    """The program in an action: its fenced blocks one after the other, or all of it where it has none.

    A block that is not closed, as of a reply that was cut off, counts up to its end.
    """
    blocks = _FENCE.findall(action if action.count("```") % 2 == 0 else f"{action}\n```")
    return "\n\n".join(blocks) if blocks else action.strip("` \n")


def _observation(problem: CodeProblem, verdict: Verdict) -> str:
    parts = [_summary(problem, verdict)]
    for source, wanted, came in verdict.examples:
        parts.append(f"Example {_cut(source)}: expected {_cut(wanted)}, got {_cut(came)}.")
    if verdict.output and verdict.failure is not None:
        parts.append(f"Output:\n{_cut(verdict.output)}")
    return "\n".join(parts)


def _summary(problem: CodeProblem, verdict: Verdict) -> str:
    failure = verdict.failure
    if failure is None:
        return "All tests passed."
    if failure.test < 0:
        return f"The program failed: {_reason(failure, told=True)}."
    counts = f"{verdict.passed} of {verdict.total} tests passed. " if verdict.total > 1 else ""
    which = f"Test {failure.test + 1}"
    if problem.public and isinstance(problem.tests, FunctionTests):
        which += f" ({_cut(problem.tests.tests[failure.test])})"
    return f"{counts}{which} failed: {_reason(failure, told=problem.public)}."


def _reason(failure: Failure, *, told: bool) -> str:
    """What happened; of the text of an exception, which may tell what a test passed in, only where `told`."""
    if failure.kind in _REASONS:
        return _REASONS[failure.kind].format(failure.error)
    told = told or failure.error == "SyntaxError"
    name = failure.error if failure.kind == "program" else f"{failure.error} with the result"
    text = f": {_cut(failure.text)}" if told and failure.text else ""
    line = f" in line {failure.line}" if failure.line is not None else ""
    return f"{name}{line}{text}"


_REASONS = {
    "wrong": "the result is wrong",
    "time": "it took too long",
    "ended": "its process ended",
    "stopped": "it was stopped at the limit of {}",
}


def _cut(text: str) -> str:
    return cut(text.strip(), _SHOWN_CHARACTERS)
