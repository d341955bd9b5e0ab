"""The text of turns: final answers and fenced blocks in actions, and observations that are cut."""

import re

from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep


def stated_answer(action: str) -> str | None:
    """What a final answer states, without its prefix and blanks around it; None of any other action."""
    action = action.strip()
    if not action.startswith(FINAL_ANSWER_PREFIX):
        return None
    return action.removeprefix(FINAL_ANSWER_PREFIX).strip()


def answer_step(answer: str) -> ExpertStep:
    """An expert's last action, which states an answer."""
    return ExpertStep(action=f"{FINAL_ANSWER_PREFIX} {answer}", intent="answer", slots={"answer": answer})


def unfenced(action: str, *languages: str) -> str:
    """What an action holds that is one fenced block, else the action; without blanks around it.

    Args:
      action: the action.
      languages: names that may stand behind the opening fence, in upper or lower case, or none.
    """
    action = action.strip()
    block = re.match(rf"^```(?:{'|'.join(languages)})?\s*(.*?)\s*```$", action, re.IGNORECASE | re.DOTALL)
    return block[1] if block else action


def cut(text: str, characters: int, mark: str = "...") -> str:
    """A text, or where it is longer its first characters and a mark."""
    return text if len(text) <= characters else f"{text[:characters]}{mark}"
