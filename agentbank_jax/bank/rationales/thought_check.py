"""What a written Thought may be: text before an action that was there already, which knows nothing of what comes."""

import re
from collections.abc import Sequence

from agentbank_jax.bank.forcing import numbers
from agentbank_jax.bank.forcing.known_answer import KnownAnswer
from agentbank_jax.bank.forcing.leakage import find_leak, holds
from agentbank_jax.bank.forcing.replies import EMPTY, REACT, REFUSAL, UNREADABLE, Rejection, is_refusal, shortened

LEAK, LENGTH = "leak", "length"

_FIELD = re.compile(r"^\W*(?:Thought|Action|Final Answer|Observation|Task)\W*:", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"\S+")
# So many words in a row are not written by chance.
_RUN = 5
_SMALLEST_TELLING = 13


def check_thought(
    text: str, *, action: str, shown: Sequence[str], later: Sequence[str], answer: str | None, limits: tuple[int, int]
) -> str | Rejection:
    """Returns the Thought that a reply is, without a leading `Thought:`, or why it is none.

    Rejected are: an empty reply and a refusal; one with a line that begins as a field does (`Action:` and the like);
    one outside the limits of length; one that says the answer, or what is observed later, before it was shown. Of
    later observations count a number of at least 13 and five words in a row, where neither what was shown nor the
    action holds them; a number that the Thought itself computes from what was shown counts not.

    Args:
      text: the reply.
      action: that follows.
      shown: what was observed and done before, the question first.
      later: what is observed after.
      answer: that the trajectory ends with; None where it states none.
      limits: the least and the most characters.
    """
    thought = re.sub(r"^\s*Thought:\s*", "", text, flags=re.IGNORECASE).strip()
    if not thought:
        return Rejection(reason=EMPTY, detail="an empty reply")
    if is_refusal(thought):
        return Rejection(reason=REFUSAL, detail=shortened(thought))
    if field := _FIELD.search(thought):
        return Rejection(reason=UNREADABLE, detail=f"holds a line '{field.group().strip()}'")
    if not limits[0] <= len(thought) <= limits[1]:
        detail = f"{len(thought):,} characters; expected {limits[0]:,} to {limits[1]:,}"
        return Rejection(reason=LENGTH, detail=detail)
    parsed = REACT.parse(REACT.render(thought, action))
    if parsed is None or (parsed.thought, parsed.action) != (thought, action.strip()):
        return Rejection(reason=UNREADABLE, detail=f"is read back as another step: {shortened(thought)}")
    known = (*shown, action)
    if answer is not None:
        # What the action says, the Thought before it may say.
        told = KnownAnswer(kind="stated", text=answer, accepted=(answer,))
        if leak := find_leak(told, known, thought, ""):
            return Rejection(reason=LEAK, detail=leak)
    if foreseen := _foreseen(thought, known, later):
        return Rejection(reason=LEAK, detail=foreseen)
    return thought


def _foreseen(thought: str, known: Sequence[str], later: Sequence[str]) -> str | None:
    """What a Thought says of later observations."""
    values = set().union(*(numbers.values(text) for text in known))
    reckoned = [value for _, value in numbers.computed(thought, values)]
    coming = set().union(*(numbers.values(text) for text in later))
    for _, value in numbers.mentions(thought):
        telling = value >= _SMALLEST_TELLING or value.denominator != 1
        if telling and numbers.is_among(value, coming) and not numbers.is_among(value, [*values, *reckoned]):
            return f"says {numbers.format_value(value)}, which is observed only later"
    words = _WORD.findall(thought)
    for start in range(len(words) - _RUN + 1):
        run = " ".join(words[start : start + _RUN])
        if any(holds(text, run) for text in later) and not any(holds(text, run) for text in known):
            return f"says '{run}', which is observed only later"
    return None
