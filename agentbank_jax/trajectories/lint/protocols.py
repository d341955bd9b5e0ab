"""What an assistant turn must hold, and how a trajectory ends, task by task.

Where the released data's form is known, a breach is an error; where it is inferred, a warning;
where it is not known at all, a note. The page of the dataset states no protocol: the table follows
the rows' form and the environments of this project.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agentbank_jax.trajectories.lint.rules import Level

_FORMS: Mapping[str, "re.Pattern[str]"] = {
    "action": re.compile(r"^[ \t]*Action[ \t]*:\s*\S", re.MULTILINE),
    "answer": re.compile(r"^[ \t]*Final Answer[ \t]*:\s*\S", re.MULTILINE),
    "code": re.compile(r"^[ \t]*(?:Action[ \t]*:[ \t]*)?```[^\n]*\n.*?```", re.MULTILINE | re.DOTALL),
}
_FORM_NAMES: Mapping[str, str] = {"action": "'Action: …'", "answer": "'Final Answer: …'", "code": "a fenced block"}

_LAST_ACTIONS: Mapping[str, "re.Pattern[str]"] = {
    "submit": re.compile(r"^[ \t]*Action[ \t]*:\s*(?:```\w*\s*)?submit\b", re.MULTILINE | re.IGNORECASE),
    "click[Buy Now]": re.compile(r"^[ \t]*Action[ \t]*:\s*click\[buy now\]", re.MULTILINE | re.IGNORECASE),
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of one task's turns.

    Fields:
      forms: an assistant turn must hold one of them: `action`, `answer`, `code`.
      form_level: how bad it is where it holds none.
      ending: `answer`, a last action such as `submit`, or empty where any turn may be the last.
      ending_level: how bad another ending is.
    """

    forms: tuple[str, ...]
    form_level: Level
    ending: str = ""
    ending_level: Level = "error"

    def acts(self, content: str) -> bool:
        """Whether an assistant turn holds one of the forms, where any is asked for."""
        return not self.forms or any(_FORMS[form].search(content) for form in self.forms)

    def ends(self, content: str) -> bool:
        """Whether a trajectory may end with this assistant turn."""
        if not self.ending:
            return True
        pattern = _FORMS["answer"] if self.ending == "answer" else _LAST_ACTIONS[self.ending]
        return pattern.search(content) is not None

    def expected_form(self) -> str:
        return " or ".join(_FORM_NAMES[form] for form in self.forms)

    def expected_ending(self) -> str:
        return _FORM_NAMES["answer"] if self.ending == "answer" else f"the action {self.ending}"


_ANSWER = Protocol(forms=("action", "answer"), form_level="error", ending="answer")
_CODE_ANSWER = Protocol(forms=("action", "answer", "code"), form_level="error", ending="answer")
_PROGRAM = Protocol(forms=("action", "answer", "code"), form_level="warning")
_SUBMIT = Protocol(forms=("action", "code"), form_level="error", ending="submit")
_RELEASED_SUBMIT = Protocol(forms=("action", "code"), form_level="error", ending="submit", ending_level="warning")
_BUY = Protocol(forms=("action",), form_level="error", ending="click[Buy Now]")
_RELEASED_BUY = Protocol(forms=("action",), form_level="error", ending="click[Buy Now]", ending_level="warning")
_ACTION = Protocol(forms=("action",), form_level="error")
_UNKNOWN_FORM = Protocol(forms=("action", "answer", "code"), form_level="note")

# Conversations of any kind.
_FREE = Protocol(forms=(), form_level="note")

# `environments.textworld_express.GAMES`, which trajectories do not know.
_EXPRESS_GAMES = (
    "cookingworld", "twc", "coin", "mapreader", "arithmetic", "sorting", "simonsays", "peckingorder",
)  # fmt: skip

# For a task that the table does not name.
DEFAULT = Protocol(forms=("action", "answer", "code"), form_level="warning")

PROTOCOLS: Mapping[str, Protocol] = {
    **dict.fromkeys(("hotpotqa", "strategyqa", "triviaqa", "gsm8k", "mathqa", "starter_math"), _ANSWER),
    "starter_reasoning": _ANSWER,
    "math": _CODE_ANSWER,
    # A single exchange may be all there is: the question, and the program.
    **dict.fromkeys(("apps", "humaneval", "mbpp", "mbpp_before"), _PROGRAM),
    "starter_programming": _SUBMIT,
    **dict.fromkeys(("intercode_sql", "intercode_bash"), _RELEASED_SUBMIT),
    "starter_web": _BUY,
    "webshop": _RELEASED_BUY,
    # The household ends by itself when the goal is reached.
    **dict.fromkeys(("alfworld", "alfworld_generated", "starter_embodied"), _ACTION),
    # So do the text games.
    "textworld": _ACTION,
    **dict.fromkeys((f"textworld_express_{game}" for game in _EXPRESS_GAMES), _ACTION),
    **dict.fromkeys(("samoyed_general", "samoyed_code"), _FREE),
    **dict.fromkeys(("mind2web", "webarena", "rearrange", "iqa", "alfred"), _UNKNOWN_FORM),
}


def protocol_of(task: str) -> Protocol:
    """Returns a task's protocol; that of its family for a variant such as `starter_math_longer`."""
    if task not in PROTOCOLS and task.startswith("starter_"):
        task = "_".join(task.split("_")[:2])
    return PROTOCOLS.get(task, DEFAULT)
