"""Where in a reply the Thought stands."""

import re

# Fields begin a line; as the agent reads them, their case does not matter.
_THOUGHT = re.compile(r"^[ \t]*Thought:", re.IGNORECASE | re.MULTILINE)
_ACTION = re.compile(r"^[ \t]*(Action|Final Answer):", re.IGNORECASE | re.MULTILINE)


def thought_span(content: str) -> tuple[int, int] | None:
    """Returns the characters from a reply's Thought up to its Action or Final Answer.

    The span ends where the line of the Action or Final Answer begins, or with the content where
    there is none. None where no Thought comes first.

    Example:
      >>> thought_span("Thought: look.\\nAction: go")
      (0, 15)
    """
    thought = _THOUGHT.search(content)
    if thought is None:
        return None
    action = _ACTION.search(content)
    if action is not None and action.start() < thought.start():
        return None
    return thought.start(), action.start() if action is not None else len(content)
