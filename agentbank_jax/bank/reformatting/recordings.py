"""Mind2Web's recorded actions, thought of in the words of the elements that they were done to.

Mind2Web: Deng et al. 2023, arXiv 2306.06070. Each recorded step has a line such as
`[textbox]  Where to? -> TYPE: Rome`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import Wording, reformatted
from agentbank_jax.bank.replay import expert_plan
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.mind2web import RecordedStep, RecordedTask
from agentbank_jax.environments.registry import EnvironmentSpec

_LINE = re.compile(r"\[([^\]]*)\]\s*(.*?)\s*->", re.DOTALL)
_SAYINGS = {
    "CLICK": ("I click the {element}.", "Next I click the {element}.", "The {element} leads on, so I click it."),
    "TYPE": (
        "I type {value} into the {element}.",
        "The {element} needs {value}.",
        "Next I enter {value} in the {element}.",
    ),
    "SELECT": (
        "I select {value} in the {element}.",
        "The {element} must be {value}.",
        "Next I choose {value} in the {element}.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class RecordingReformatter:
    """Does what was recorded.

    Fields:
      seed: chooses the wording.
    """

    seed: int = 0

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        task: RecordedTask = instance.payload
        wording = Wording(instance.id, self.seed)
        return reformatted(expert_plan(spec, instance), [_thought(step, wording) for step in task.steps])

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "recorded_actions", "seed": self.seed}


def _thought(step: RecordedStep, wording: Wording) -> str:
    line = _LINE.match(step.representation)
    role, name = (line[1].strip(), line[2]) if line else ("", "")
    element = f"{role or 'element'} “{name}”" if name else role or "element"
    return wording.choose(_SAYINGS[step.operation]).format(element=element, value=f"“{step.value}”")
