"""Tasks solved with Bash, after InterCode-Bash's protocol, in the sandbox: commands, then `submit`.

The agent's commands and the gold command each run in a copy of the same file system; the reward
compares what changed in the two, and their last outputs.
"""

import math
import os
import random
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from agentbank_jax.environments.base import ExpertStep, TextEnvironment, begun, payload_of
from agentbank_jax.environments.intercode_files import (
    Entry,
    FileState,
    changes,
    file_states,
    initial_states,
    write_entries,
)
from agentbank_jax.environments.sandbox import (
    MAX_COMMAND_BYTES,
    Completed,
    Limits,
    SandboxError,
    available,
    isolation,
    run_shell,
    sandbox_root,
)
from agentbank_jax.environments.turn_text import cut, unfenced

PROTOCOL = "intercode_bash/1"

_CHANGE_DIRECTORY = re.compile(r"^cd(\s+[^;&|\n]*)?$")
# What scikit-learn's vectorizer takes for a word.
_WORD = re.compile(r"\b\w\w+\b")

_GOLD_PATIENCE = 6


@dataclass(frozen=True, kw_only=True)
class BashProblem:
    """A task in a file system.

    Fields:
      query: the first observation.
      gold: the command whose effect and output are wanted.
      entries: the file system at the start.
      cwd: the directory in which both start.
      plan: the expert's actions in order, `submit` last; without them `gold`, then `submit`.
    """

    query: str
    gold: str
    entries: tuple[Entry, ...]
    cwd: str = "/"
    plan: tuple[ExpertStep, ...] = ()


def bash_reward(
    before: Mapping[str, FileState],
    agent: Mapping[str, FileState],
    gold: Mapping[str, FileState],
    agent_output: str,
    gold_output: str,
) -> float:
    """InterCode-Bash's reward.

    `0.01 + round(0.33 (1 - erf(|missing| + |extra|)), 2) + round(0.33 alike / common, 2)
    + round(0.33 cosine, 2)`, at most 1. Missing and extra are the changes (path and kind) that only
    the gold command, or only the agent, has made. Of the changes in common only added files are
    compared by content; the term is 0.33 where there are none. The cosine is that of the TF-IDF
    vectors of the two outputs.

    Args:
      before: the files at the start.
      agent: the files after the agent's commands.
      gold: the files after the gold command.
      agent_output: the output of the agent's last command.
      gold_output: the output of the gold command.
    """
    ours, theirs = changes(before, agent), changes(before, gold)
    unlike = len(ours.items() ^ theirs.items())
    common = [path for path, status in ours.items() & theirs.items() if status == "added"]
    alike = sum(agent[path].digest == gold[path].digest for path in common)
    content = alike / len(common) if common else 1.0
    total = (
        0.01
        + round(0.33 * (1 - math.erf(unlike)), 2)
        + round(0.33 * content, 2)
        + round(0.33 * tfidf_cosine(agent_output, gold_output), 2)
    )
    return min(1.0, round(total, 2))


def tfidf_cosine(first: str, second: str) -> float:
    """Cosine of the TF-IDF vectors of two texts, fitted on the two, as scikit-learn's defaults give it.

    Words are lower-case runs of two or more word characters; `idf = ln(3 / (1 + df)) + 1`. Where
    neither text has a word it is 1 for equal texts, else 0.

    Returns:
      A number in [0, 1].
    """
    ours, theirs = (Counter(_WORD.findall(text.lower())) for text in (first, second))
    if not ours and not theirs:
        return float(first == second)
    if ours == theirs:
        return 1.0
    idf = {word: math.log(3 / (1 + (word in ours) + (word in theirs))) + 1 for word in ours | theirs}
    product = sum(ours[word] * theirs[word] * idf[word] ** 2 for word in ours)
    lengths = [math.sqrt(sum((n * idf[word]) ** 2 for word, n in words.items())) for words in (ours, theirs)]
    return product / math.prod(lengths) if all(lengths) else 0.0


class InterCodeBashEnvironment(TextEnvironment):
    """Runs Bash, bare or in a fenced block, and on `submit` scores the files and the last output.

    Each command runs in a shell of its own; the files stay, and so does the directory that a lone
    `cd` has entered. `info` has `sandbox`, the isolation, `exit_code` after a command (None where it was stopped),
    and `success` (reward 1) at the end. An empty or over-long action is `invalid_action`.

    Args:
      max_characters: where an observation is cut; the reward sees the whole output.
      limits: of each command.
    """

    def __init__(self, *, max_characters: int = 1000, limits: Limits | None = None) -> None:
        self._max_characters = max_characters
        self._limits = limits or Limits()
        self._resources = ExitStack()
        self._problem: BashProblem | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Makes the agent's copy of the file system.

        Raises:
          SandboxError: where bubblewrap is absent or the weaker isolation is configured, which lets no command see the
            file system as its own.
        """
        problem = payload_of(options, BashProblem, "intercode_bash")
        self.close()
        if reason := available():
            raise SandboxError(f"intercode_bash: {reason}.")
        self._problem = problem
        self._root = self._resources.enter_context(sandbox_root())
        write_entries(self._root, problem.entries)
        self._cwd = problem.cwd
        self._output = ""
        return problem.query, self._info()

    @property
    def _current(self) -> BashProblem:
        return begun(self._problem, "intercode_bash")

    def _info(self, **more: Any) -> dict[str, Any]:
        return {"invalid_action": False, "sandbox": isolation(), **more}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        command = unfenced(action, "bash", "sh", "shell")
        if command.lower() == "submit":
            reward = self._score(problem)
            self.close()
            return "Submitted.", reward, True, False, self._info(success=reward >= 1)
        if not command or "\0" in command or len(command.encode("utf-8", "replace")) > MAX_COMMAND_BYTES:
            return "Not a command; write Bash, or submit.", 0.0, False, False, self._info(invalid_action=True)
        completed = self._run(command)
        self._output = completed.output
        text = completed.output.strip() or "No output."
        if completed.stopped:
            text = f"{text[: self._max_characters]}\nStopped: the limit of {completed.stopped} was reached."
        else:
            text = cut(text, self._max_characters)
        return text, 0.0, False, False, self._info(exit_code=completed.exit_code)

    def _run(self, command: str) -> Completed:
        if not os.path.isdir(self._root / self._cwd.lstrip("/")):
            self._cwd = "/"  # its directory has been removed
        if not _CHANGE_DIRECTORY.match(command):
            return run_shell(command, root=self._root, cwd=self._cwd, limits=self._limits)
        completed = run_shell(f"{command} > /dev/null && pwd -P", root=self._root, cwd=self._cwd, limits=self._limits)
        if completed.exit_code == 0:
            self._cwd = completed.output.rstrip("\n")
            completed = Completed(output="", exit_code=0, stopped=None, seconds=completed.seconds)
        return completed

    def _score(self, problem: BashProblem) -> float:
        with sandbox_root() as root:
            write_entries(root, problem.entries)
            # Where it were stopped on a busy machine, doing nothing would be right.
            patient = replace(self._limits, wall_seconds=_GOLD_PATIENCE * self._limits.wall_seconds)
            gold = run_shell(problem.gold, root=root, cwd=problem.cwd, limits=patient)
            before = initial_states(problem.entries)
            return bash_reward(before, file_states(self._root), file_states(root), self._output, gold.output)

    def expert_steps(self) -> list[ExpertStep]:
        problem = self._current
        if problem.plan:
            return list(problem.plan)
        return [
            ExpertStep(action=f"```bash\n{problem.gold}\n```", intent="solve"),
            ExpertStep(action="submit", intent="submit"),
        ]

    def sample_action(self, rng: random.Random) -> str:
        path = rng.choice([entry.path for entry in self._current.entries] or ["/"])
        command = rng.choice(("ls -l {}", "cat {}", "wc -l {}", "find {} -type f", "rm {}", "submit")).format(path)
        return command if command == "submit" else f"```bash\n{command}\n```"

    def close(self) -> None:
        """Removes the agent's copy of the file system."""
        self._problem = None
        self._resources.close()
