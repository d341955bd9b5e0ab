"""Episodes of code tasks: tries, submission and final answer, and what an observation tells."""

import random

import pytest

from agentbank_jax.environments import sandbox
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.code_problems import CodeEnvironment, CodeProblem, program_of
from agentbank_jax.environments.sandbox import SandboxConfig
from agentbank_jax.environments.unit_tests import CallTests, FunctionTests, OutputTests
from agentbank_jax.errors import AgentBankError

needs_python = pytest.mark.skipif(
    sandbox.available(python=True) is not None, reason=str(sandbox.available(python=True))
)

HIDDEN = CodeProblem(
    task='def double(x):\n    """ Twice x.\n    >>> double(1)\n    2\n    """',
    tests=FunctionTests(
        tests=("def check(candidate):\n    assert candidate(7654321) == 15308642\ncheck(double)\n",),
        defined=frozenset({"double"}),
        examples=(("double(1)", "2"),),
    ),
    solution="def double(x):\n    return 2 * x",
    opening="import math\n",
    signature='def double(x):\n    """ Twice x. """\n',
    entry_point="double",
    seconds=1.0,
    all_seconds=1.0,
)
PUBLIC = CodeProblem(
    task="Double.\nassert double(3) == 6",
    tests=FunctionTests(tests=("assert double(3) == 6", "assert double(4) == 8")),
    solution="def double(x): return 2 * x",
    entry_point="double",
    public=True,
    seconds=1.0,
    all_seconds=1.0,
)


def started(problem: CodeProblem) -> CodeEnvironment:
    environment = CodeEnvironment()
    observation, info = environment.reset(
        options={"instance": Instance(id="t/0", fingerprint="0", payload=problem), "answers": "exact"}
    )
    assert observation == problem.task and info["sandbox"] == sandbox.isolation()
    return environment


def fenced(program: str) -> str:
    return f"```python\n{program}\n```"


RIGHT, WRONG = fenced("def double(x):\n    return 2 * x"), fenced("def double(x):\n    return x + 1")


@needs_python
@pytest.mark.parametrize("problem", [HIDDEN, PUBLIC])
def test_a_program_that_passes_ends_the_episode_with_reward_1(problem: CodeProblem) -> None:
    environment = started(problem)
    for step in environment.expert_steps():
        observation, reward, terminated, truncated, info = environment.step(step.action)
    size = len(problem.tests.tests)
    assert (observation, reward, terminated, truncated) == ("All tests passed.", 1.0, True, False)
    assert info == {
        "invalid_action": False,
        "sandbox": "bubblewrap",
        "passed": size,
        "tests": size,
        "fraction": 1.0,
        "success": True,
    }


@needs_python
def test_an_agent_may_try_again_until_it_submits_and_the_last_program_counts() -> None:
    environment = started(PUBLIC)
    observation, reward, terminated, _, info = environment.step(WRONG)
    assert observation == ("0 of 2 tests passed. Test 1 (assert double(3) == 6) failed: the result is wrong.")
    assert (reward, terminated, info["fraction"]) == (0.0, False, 0.0) and "success" not in info
    assert environment.step(fenced("def double(x): return 6"))[0].startswith("1 of 2 tests passed. Test 2 (")
    observation, reward, terminated, _, info = environment.step("submit")
    assert (observation, reward, terminated) == ("Submitted.", 0.0, True)
    assert (info["success"], info["passed"], info["tests"], info["fraction"]) == (False, 1, 2, 0.5)


@needs_python
def test_a_submission_without_a_program_earns_nothing() -> None:
    assert started(PUBLIC).step("Submit")[1:3] == (0.0, True)


@needs_python
@pytest.mark.parametrize(("program", "reward"), [(RIGHT, 1.0), (WRONG, 0.0), ("", 0.0)])
def test_a_final_answer_ends_the_episode_whatever_it_earns(program: str, reward: float) -> None:
    _, earned, terminated, _, info = started(PUBLIC).step(f"Final Answer: {program}")
    assert (earned, terminated, info["success"]) == (reward, True, reward == 1)


@needs_python
@pytest.mark.parametrize("action", ["", "```python\n```", "``` ```", "x = '\0'", "x" * 200_000])
def test_what_is_no_program_is_an_invalid_action(action: str) -> None:
    _, reward, terminated, _, info = started(PUBLIC).step(action)
    assert (reward, terminated, info["invalid_action"]) == (0.0, False, True)


@needs_python
@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("def double(x): return x", "Test 1 failed: the result is wrong.\nExample double(1): expected 2, got 1."),
        ("def double(x):\n  return 2 * x if x < 9 else {}[x]", "Test 1 failed: KeyError in line 2."),
        ("def double(x):\n  print('seen', x)\n  raise ValueError(x)", "Test 1 failed: ValueError in line 3."),
        ("print('begun')\ndef double(x): return 1", "Output:\nbegun"),
        ("def double(x): return None + x", "Test 1 failed: TypeError in line 1."),
        ("print('begun')\nx = 1 / 0", "The program failed: ZeroDivisionError in line 2: division by zero."),
        ("def double(x) return x", "SyntaxError in line 1"),
        ("seen = []\ndef double(x):\n  seen.append(x)\n  return seen", "Example double(1): expected 2, got [1]."),
        ("def double(x):\n  while x > 9: pass\n  return 2 * x", "Test 1 failed: it took too long."),
        ("import os\ndef double(x): os._exit(0)", "Test 1 failed: its process ended."),
    ],
)
def test_of_a_hidden_test_only_the_kind_of_failure_is_told(program: str, told: str) -> None:
    observation, reward, *_ = started(HIDDEN).step(fenced(program))
    assert told in observation and reward == 0
    assert "7654321" not in observation and "15308642" not in observation and "check" not in observation


@needs_python
def test_the_rest_of_a_function_alone_is_a_program_too() -> None:
    assert started(HIDDEN).step(fenced("    return int(math.floor(2 * x))"))[1] == 1
    assert started(HIDDEN).step("Final Answer: def double(x): return 2 * x")[1] == 1


@needs_python
def test_inputs_of_hidden_runs_and_calls_are_not_told() -> None:
    runs = CodeProblem(
        task="Double.", tests=OutputTests(inputs=("765",), outputs=("1530",)), solution="", seconds=1, all_seconds=1
    )
    observation = started(runs).step(fenced("n = input()\nprint(n)\nint(n + 'x')"))[0]
    assert observation == "Test 1 failed: ValueError in line 3."
    calls = CodeProblem(
        task="Double.",
        tests=CallTests(function="f", inputs=([765],), outputs=(1530,)),
        solution="",
        seconds=1,
        all_seconds=1,
    )
    assert started(calls).step(fenced("def f(x): raise KeyError(x)"))[0] == "Test 1 failed: KeyError in line 1."
    assert started(calls).step(fenced("def f(x): return x"))[0] == "Test 1 failed: the result is wrong."


@needs_python
def test_the_weaker_isolation_judges_alike_and_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBANK_SANDBOX", "bubblewrap")
    sandbox.configure(SandboxConfig(isolation="rlimits"))
    environment = started(HIDDEN)
    assert environment.step(WRONG)[4]["sandbox"] == "rlimits"
    assert environment.step(RIGHT)[1] == 1
    leave = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  time.sleep(6543)\ndef double(x): return 2 * x"
    assert started(HIDDEN).step(fenced(leave))[1] == 1
    assert started(HIDDEN).step(fenced("import sys; sys.exit(0)"))[1] == 0


@pytest.mark.parametrize(
    ("action", "program"),
    [
        ("```python\nx\n```", "x"), ("```\nx\n```", "x"), ("```py\n  x\n```", "  x"), ("x", "x"),
        ("First:\n```python\nx\n```\nthen\n```python\ny\n```", "x\n\ny"), ("```python\nx = 1\n", "x = 1"),
        ("```Python3 \nx\n```", "x"), ("``````", ""),
    ],
)  # fmt: skip
def test_programs_are_found_in_actions(action: str, program: str) -> None:
    assert program_of(action).strip("\n") == program


@needs_python
def test_a_random_action_is_a_program() -> None:
    rng = random.Random(0)
    for _ in range(3):
        environment = started(PUBLIC)
        assert not environment.step(environment.sample_action(rng))[4]["invalid_action"]


def test_using_it_before_reset_or_with_something_else_is_an_error() -> None:
    with pytest.raises(AgentBankError, match="before reset"):
        CodeEnvironment().step("x")
    with pytest.raises(AgentBankError, match="expected options"):
        CodeEnvironment().reset(options={"instance": Instance(id="t", fingerprint="0", payload=3)})
