"""ReWOO: plan all actions first, take them, then solve with what they brought (Xu et al. 2023, arXiv 2305.18323).

A plan is pairs of lines, `Plan: …` and `#E1 = action`; later actions may name earlier results, `#E1 * 3`. The model
is asked twice, whatever the plan's length.
"""

import re
from dataclasses import dataclass

from agentbank_jax.agents.agent import Play, act, ask
from agentbank_jax.agents.react import ReAct
from agentbank_jax.trajectories.schema import Turn

_HOW_TO_PLAN = (
    "First plan the whole task, before you see any observation: for each action write a line 'Plan: ...' and a line "
    "'#E1 = ' with the action, and so on with #E2, #E3. A later action may contain an earlier result as #E1. You are "
    "then told what each action brought, and end the task."
)
_SOLVE = "End the task now, with 'Final Answer: ...' or the last 'Action: ...'."
_STEP = re.compile(r"^\s*#E(\d+)\s*[=:]\s*(.*)$")
_FIELD = re.compile(r"^\s*(?:Plan|Thought|Observation|Final Answer)\s*:", re.IGNORECASE)
_RESULT = re.compile(r"#E(\d+)")
_FENCE = "```"


@dataclass(frozen=True, kw_only=True)
class ReWOO(ReAct):
    """Plans, works and solves; where the solution does not end the task, it goes on as ReAct does."""

    name: str = "rewoo"
    plan_reminder: str = "Invalid format. Write for each action a line 'Plan: ...' and a line '#E1 = ' with the action."

    @property
    def facts(self) -> tuple[str, ...]:
        return *super().facts, self.plan_reminder, _HOW_TO_PLAN, _SOLVE

    def play(self, instruction: str, observation: str) -> Play:
        """Takes all actions of a plan, then those that the solution needs."""
        turns = self.opening(f"{instruction} {_HOW_TO_PLAN}".strip(), observation)
        while True:
            reply = yield from ask(turns, purpose="plan")
            turns = (*turns, Turn.assistant(reply))
            plan = self.parse_plan(reply)
            if plan:
                break
            told = yield from act(None, self.plan_reminder)
            if told.ended:
                return
            turns = (*turns, self.observe(told.text))
        results: dict[str, str] = {}
        for number, action in plan:
            told = yield from act(_RESULT.sub(lambda named: results.get(named[1], named[0]), action))
            if told.ended:
                return
            results[number] = told.text
        evidence = "\n".join(f"#E{number} = {text}" for number, text in results.items())
        yield from self.trial((*turns, self.observe(f"{evidence}\n{_SOLVE}")))

    def parse_plan(self, reply: str) -> list[tuple[str, str]]:
        """Reads (number, action) pairs; an action may run over several lines, a fenced block is taken whole."""
        steps: list[tuple[str, list[str]]] = []
        fenced = reading = False
        for line in reply.split("\n"):
            step = None if fenced else _STEP.match(line)
            if step:
                steps.append((step[1], [step[2]]))
                reading = True
            elif not fenced and _FIELD.match(line):
                reading = False
            elif reading:
                steps[-1][1].append(line)
            if reading and line.count(_FENCE) % 2:
                fenced = not fenced
        return [(number, text) for number, lines in steps if (text := "\n".join(lines).strip())]

    def render_plan(self, steps: tuple[tuple[str, str], ...]) -> str:
        return "\n".join(
            f"Plan: {thought}\n#E{number} = {action}" for number, (thought, action) in enumerate(steps, start=1)
        )
