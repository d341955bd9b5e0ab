"""Whether two expressions are equal, asked of math-verify in a process of its own.

A model may state an answer that takes sympy for ever or all memory. The process ends by itself past its limits
(`answer_algebra_worker`), which says that the answer is wrong, and another is started at the next question. It ends
also when whoever started it does, since its standard input closes.
"""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from agentbank_jax.environments.packages import missing_package
from agentbank_jax.errors import AgentBankError

_WORKER = Path(__file__).with_name("answer_algebra_worker.py")
_MAX_DEPTH = 40


def available() -> str | None:
    """None where expressions can be compared here, else the reason and the remedy."""
    return missing_package("math-verify[antlr4_13_2]", "math_verify", "antlr4")


class Algebra:
    """Compares expressions; the process starts at the first question and lasts until `close`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def same(self, published: str, stated: str) -> bool:
        """Whether two LaTeX expressions, as `answer_text.simplify` writes them, are equal; False where it is not found.

        Raises:
          AgentBankError: math-verify is absent.
        """
        return self._ask("same", published, stated) is True

    def value(self, text: str) -> Fraction | None:
        """The real number that a LaTeX expression without variables is, to 30 digits; raises as `same`."""
        reply = self._ask("value", text)
        try:
            return Fraction(reply) if isinstance(reply, str) else None
        except ValueError:
            return None

    def close(self) -> None:
        """Ends the process; a later question starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, name: str, *texts: str) -> object:
        if any(not text.strip() or _depth(text) > _MAX_DEPTH for text in texts):
            return None
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([name, *texts]) + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            self.close()
            return None
        return json.loads(reply)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        reason = available()
        if reason is not None:
            raise AgentBankError(f"answers: {reason}.")
        process = subprocess.Popen(
            # Without the folder of this file on the module path: its names are not meant for other libraries.
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._process = process
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            self.close()
            raise AgentBankError(
                "answers: the process that compares expressions did not start; try: python -c 'import math_verify'."
            )
        return process


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += (character in "{([") - (character in "})]")
        deepest = max(deepest, depth)
    return deepest
