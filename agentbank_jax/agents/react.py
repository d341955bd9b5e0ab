"""ReAct, the paper's way of driving a model: think, act, observe.

An assistant turn is `Thought: …` and then `Action: …` or `Final Answer: …`; the environment
answers with `Observation: …`. Acting uses exactly the messages that training used: the
instruction as the system turn, then the bare task.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass

from agentbank_jax.agents.agent import Play, Told, Wish, act, ask
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX
from agentbank_jax.trajectories.schema import Turn

_FIELD = re.compile(r"(Thought|Action|Final Answer|Observation|Task):", re.IGNORECASE)
_FENCE = "```"


@dataclass(frozen=True, kw_only=True)
class ParsedReply:
    """What an assistant turn says.

    Fields:
      thought: the reasoning, possibly empty.
      action: what `TextEnvironment.step` takes; a final answer keeps its prefix.
    """

    thought: str
    action: str


@dataclass(frozen=True, kw_only=True)
class ReAct:
    """The ReAct format: how a conversation begins, how replies are read and observations told.

    Fields:
      format_reminder: the observation after a reply that holds no action.
    """

    name: str = "react"
    format_reminder: str = (
        "Invalid format. Reply with 'Thought: ...' and then, on a new line, 'Action: ...' or 'Final Answer: ...'."
    )

    @property
    def facts(self) -> tuple[str, ...]:
        return self.name, self.format_reminder

    def play(self, instruction: str, observation: str) -> Play:
        """Thinks, acts and observes until the environment ends."""
        yield from self.trial(self.opening(instruction, observation))

    def trial(self, turns: tuple[Turn, ...]) -> Generator[Wish, str | Told, tuple[tuple[Turn, ...], Told]]:
        """Goes on from a conversation until the trial ends; returns the conversation then, and what was told last."""
        while True:
            reply = yield from ask(turns)
            parsed = self.parse(reply)
            told = yield from act(parsed.action if parsed else None, self.format_reminder)
            turns = (*turns, Turn.assistant(reply))
            if told.ended:
                return turns, told
            turns = (*turns, self.observe(told.text))

    def opening(self, instruction: str, observation: str) -> tuple[Turn, ...]:
        """The conversation before the first reply."""
        task = Turn.user(observation)
        return (Turn.system(instruction), task) if instruction else (task,)

    def observe(self, observation: str) -> Turn:
        """The user turn that tells an observation."""
        return Turn.user(f"Observation: {observation}")

    def parse(self, reply: str) -> ParsedReply | None:
        """Reads the first action or final answer of a reply; None where there is none.

        A field begins a line. An action may run over several lines (a fenced block is taken
        whole); it ends where the next field begins, so that a model that goes on to imagine
        an observation acts on what it said before.
        """
        thought, action = "", None
        for name, value in _fields(reply):
            if name == "thought" and not thought:
                thought = value
            elif name in ("action", "final answer") and value:
                action = f"{FINAL_ANSWER_PREFIX} {value}" if name == "final answer" else value
                break
            elif name in ("observation", "task"):
                break
        return None if action is None else ParsedReply(thought=thought, action=action)

    def render(self, thought: str, action: str) -> str:
        """The assistant turn that `parse` reads as this thought and action."""
        line = action if action.startswith(FINAL_ANSWER_PREFIX) else f"Action: {action}"
        return f"Thought: {thought}\n{line}"

    def render_plan(self, steps: tuple[tuple[str, str], ...]) -> str:
        return self.render(*steps[0])


def _fields(reply: str) -> list[tuple[str, str]]:
    """Splits a reply into (lower-case field name, stripped value); text before a field is dropped."""
    fields: list[tuple[str, list[str]]] = []
    fenced = False
    for line in reply.strip().split("\n"):
        match = None if fenced else _FIELD.match(line.lstrip())
        if match:
            line = line.lstrip()[match.end() :]
            fields.append((match.group(1).lower(), [line]))
        elif fields:
            fields[-1][1].append(line)
        # Only an action's block hides field names; backticks within a thought are just text.
        opens = line.strip().startswith(_FENCE) and fields and fields[-1][0] == "action"
        if (fenced or opens) and line.count(_FENCE) % 2:
            fenced = not fenced
    return [(name, "\n".join(lines).strip()) for name, lines in fields]
