import pytest

from agentbank_jax.environments import python_cells
from agentbank_jax.environments.python_cells import MAX_OUTPUT, Cell, read_block, run_block

needs_sandbox = pytest.mark.skipif(python_cells.available() is not None, reason=str(python_cells.available()))


@pytest.mark.parametrize(
    ("action", "block"),
    [("```python\nprint(1)\n```", "print(1)"), ("```py\nx = 1\n\nx\n```", "x = 1\n\nx"), ("```\n1 + 1\n```", "1 + 1"),
     ("```python print(1)```", "print(1)"), ("```sql\nselect 1\n```", None), ("```python\nprint(1)", None),
     ("1 + 1", None), ("``````", None), ("```\n```", ""), ("```python\n" + " " * 90_000 + "x", None)],
)  # fmt: skip
def test_a_fenced_block_is_python(action: str, block: str | None) -> None:
    assert read_block(action) == block


@needs_sandbox
@pytest.mark.parametrize(
    ("block", "output"),
    [("print(6 * 7)", "42"), ("x = 6\nx * 7", "42"), ("import math\nprint(1); math.sqrt(4)", "1\n2.0"),
     ("None", "(no output)"), ("def f():\n    return 7\nif __name__ == '__main__':\n    print(f())", "7"),
     ("import sys; sys.exit(0)", "(no output)")],
)  # fmt: skip
def test_a_block_shows_what_a_notebook_would(block: str, output: str) -> None:
    assert run_block(block) == Cell(output, True)


@needs_sandbox
def test_a_block_knows_the_names_of_earlier_ones_and_repeats_nothing_they_printed() -> None:
    earlier = ["import math\nprint('seen')\nx = 40", "raise SystemExit", "def f(y):\n    return math.floor(x + y)"]
    assert run_block("f(2.5)", earlier) == Cell("42", True)


@needs_sandbox
@pytest.mark.parametrize(
    ("block", "told"),
    [("x = 1\n1 / 0", "line 2: ZeroDivisionError: division by zero"), ("def f(:", "SyntaxError"),
     ("import no_such_package", "ModuleNotFoundError"), ("open('/etc/shadow').read()", "FileNotFoundError"),
     ("import os; os._exit(7)", "code 7"), ("x = 'a' * 10 ** 10", "MemoryError"),
     ("import socket; socket.create_connection(('1.1.1.1', 80), 2)", "OSError"),
     ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "out of time or memory")],
)  # fmt: skip
def test_a_block_that_fails_says_why(block: str, told: str) -> None:
    cell = run_block(block)
    assert told in cell.output and not cell.succeeded


@needs_sandbox
def test_long_output_is_cut() -> None:
    assert run_block("print('a' * 5000)").output == "a" * MAX_OUTPUT + " …"


def test_a_block_beyond_its_length_is_not_run() -> None:
    cell = run_block("#" * 60_000)
    assert "longer" in cell.output and not cell.succeeded
