"""Blocks of Python run in the sandbox as the cells of a notebook: what one defines, the next may use.

Each block gets a fresh interpreter and a fresh file system. The blocks before it that ended without an exception are
run again first, unseen, so that their names exist: a block must not count on the clock or on chance to come out the
same twice, and the time of all of them counts. Blocks see the system's Python (`/usr`) and the packages installed
there (Debian, Ubuntu: `apt-get install python3-sympy python3-numpy`), nothing of this project's own.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from agentbank_jax.environments import sandbox
from agentbank_jax.environments.sandbox import Limits, give_to_sandbox, run_shell, sandbox_root
from agentbank_jax.environments.turn_text import cut

LIMITS = Limits(wall_seconds=20.0, cpu_seconds=10, memory_bytes=1 << 30)
MAX_OUTPUT = 2000
MAX_BLOCK = 50_000

_OPENING = re.compile(r"```(?:(?:python3?|py)\s|[ \t]*\n)", re.IGNORECASE)
_CLOSING = "```"

# Runs inside. A last expression's value is shown as a notebook shows it.
_RUNNER = r"""
import ast, contextlib, io, json, sys, traceback

def run(source, scope):
    tree = ast.parse(source, "<block>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<block>", "exec"), scope)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "<block>", "eval"), scope)
        if value is not None:
            print(repr(value))

*earlier, current = json.load(open("/blocks.json"))
scope = {"__name__": "__main__"}
try:
    for source in earlier:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            with contextlib.suppress(SystemExit):
                run(source, scope)
    run(current, scope)
except SystemExit as stop:
    sys.stdout.flush()
    sys.exit(1 if stop.code else 0)
except BaseException as error:
    sys.stdout.flush()
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<block>"]
    where = f"line {lines[-1]}: " if lines else ""
    print(where + "".join(traceback.format_exception_only(type(error), error)).strip()[-500:])
    sys.exit(1)
"""


@dataclass(frozen=True)
class Cell:
    """What a block has shown.

    Fields:
      output: its standard output and error, the value of its last expression, and its exception, cut to `MAX_OUTPUT`
        characters.
      succeeded: whether it ended without an exception and within the limits.
    """

    output: str
    succeeded: bool


def read_block(action: str) -> str | None:
    """The code of an action that is a fenced block, else None."""
    action = action.strip()
    opening = _OPENING.match(action)
    if opening is None or not action.endswith(_CLOSING) or len(action) < opening.end() + len(_CLOSING):
        return None
    return action[opening.end() : -len(_CLOSING)].strip("\n").rstrip()


def available() -> str | None:
    """None where blocks can run here, else the reason and the remedy."""
    if shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") is None:
        return "the system has no python3 in /usr for the sandbox (Debian, Ubuntu: apt-get install python3)"
    return sandbox.available()


def run_block(block: str, earlier: Sequence[str] = ()) -> Cell:
    """Runs a block after the earlier ones.

    Raises:
      SandboxError: bubblewrap is absent; see `available`.
    """
    if len(block) + sum(map(len, earlier)) > MAX_BLOCK:
        return Cell(f"Error: the blocks are longer than {MAX_BLOCK} characters together.", False)
    with sandbox_root() as root:
        (root / "blocks.json").write_text(json.dumps([*earlier, block]), encoding="utf-8")
        (root / "run.py").write_text(_RUNNER, encoding="utf-8")
        give_to_sandbox(root)
        completed = run_shell("exec python3 -I -B /run.py", root=root, limits=LIMITS)
    # A shell tells of a signal in a line of its own.
    output = re.sub(r"^sandbox: line \d+:.*", "", completed.output, flags=re.MULTILINE).strip()
    output = cut(output, MAX_OUTPUT, " …")
    if completed.stopped == "wall_seconds":
        output = f"{output}\nError: stopped after {LIMITS.wall_seconds:g} seconds."
    elif completed.stopped == "output_bytes":
        output = f"{output}\nError: stopped, too much output."
    elif completed.exit_code and completed.exit_code > 1:
        reason = " (out of time or memory)" if completed.exit_code > 128 else ""
        output = f"{output}\nError: the interpreter ended with code {completed.exit_code}{reason}."
    return Cell(output.strip() or "(no output)", completed.exit_code == 0)
