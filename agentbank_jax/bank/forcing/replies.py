"""What a teacher's reply is worth: a Thought and an action, or a reason why it is neither."""

import re
from dataclasses import dataclass

from agentbank_jax.agents.react import ReAct
from agentbank_jax.environments.turn_text import cut, stated_answer

REACT = ReAct()
"""How replies are read and written: as in the released data."""

EMPTY, REFUSAL, UNREADABLE = "empty", "refusal", "unreadable"

_LONGEST_THOUGHT = 2000
_LONGEST_DETAIL = 120
_REFUSAL = re.compile(
    r"^\W*(?:(?:i['’]?m|i am) (?:really |so |very )?sorry\b|sorry\b|i apologi[sz]e\b|unfortunately,? i\b"
    r"|(?:as an ai|i['’]?m an ai|i am an ai)\b"
    r"|i (?:can(?:not|['’]t| not)|(?:am|['’]m) (?:unable|not able)|won['’]t|must decline|do not feel comfortable"
    r"|don['’]t feel comfortable)\b)",
    re.IGNORECASE,
)
_OBSERVATION = re.compile(r"^\s*Observation:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A step that a teacher proposes.

    Fields:
      thought, action: as `ReAct` reads them.
      imagined: whether the reply went on with an observation of its own, which is left out.
    """

    thought: str
    action: str
    imagined: bool = False


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a reply is no step: `empty`, `refusal`, `unreadable`, or another short name; and details to look at."""

    reason: str
    detail: str


def read_reply(text: str) -> Proposal | Rejection:
    """Reads a teacher's reply.

    A reply that is nothing but an apology is a refusal, and so is one whose final answer is; one without a Thought, or
    whose Thought is longer than 2,000 characters or would be read back as another step, is unreadable.
    """
    if not text.strip():
        return Rejection(reason=EMPTY, detail="an empty reply")
    parsed = REACT.parse(text)
    if parsed is None:
        return Rejection(reason=REFUSAL if is_refusal(text) else UNREADABLE, detail=shortened(text))
    if is_refusal(stated_answer(parsed.action) or ""):
        return Rejection(reason=REFUSAL, detail=shortened(parsed.action))
    if not parsed.thought:
        return Rejection(reason=UNREADABLE, detail=f"no Thought: {shortened(text)}")
    if len(parsed.thought) > _LONGEST_THOUGHT:
        return Rejection(reason=UNREADABLE, detail=f"a Thought of {len(parsed.thought):,} characters")
    if REACT.parse(REACT.render(parsed.thought, parsed.action)) != parsed:
        return Rejection(reason=UNREADABLE, detail=f"is read back as another step: {shortened(text)}")
    return Proposal(thought=parsed.thought, action=parsed.action, imagined=bool(_OBSERVATION.search(text)))


def is_refusal(text: str) -> bool:
    """Whether a text begins as models do that decline: `I cannot …`, `I'm sorry, but …`, `As an AI …`."""
    return bool(_REFUSAL.match(text.strip().removeprefix("Thought:")))


def shortened(text: str) -> str:
    """The first words of a text, in one line."""
    return cut(" ".join(text.split()), _LONGEST_DETAIL, "…")
