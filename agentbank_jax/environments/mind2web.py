"""Mind2Web: recorded tasks on web pages, step by step, each step answered against the recorded one.

Mind2Web: Deng et al. 2023, arXiv 2306.06070.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment, begun, payload_of
from agentbank_jax.environments.json_list import read_rows
from agentbank_jax.environments.mind2web_page import CANDIDATES, Candidate, candidates_of
from agentbank_jax.errors import AgentBankError

PROTOCOL = f"mind2web/1 (recorded steps, {CANDIDATES} candidates drawn by seed)"
OPERATIONS = ("CLICK", "TYPE", "SELECT")

_ANSWER = re.compile(r"\s*(CLICK|TYPE|SELECT)\s*\[?\s*(\d+)\s*\]?\s*:?\s*(.*?)\s*", re.IGNORECASE | re.DOTALL)
_REPRESENTED = re.compile(
    r"\s*\[[^\]]*\]\s*(.*?)\s*->\s*(CLICK|TYPE|SELECT)\s*:?\s*(.*?)\s*", re.IGNORECASE | re.DOTALL
)
_TASK_FIELDS = ("annotation_id", "confirmed_task", "website", "action_reprs", "actions")
_STEP_FIELDS = ("action_uid", "operation", "cleaned_html", "pos_candidates", "neg_candidates")
_ANSWER_LIMIT = 500  # characters that are compared


@dataclass(frozen=True, kw_only=True)
class RecordedStep:
    """What was done on one page.

    Fields:
      candidates: the elements to choose from.
      operation: one of `OPERATIONS`.
      value: what was typed or selected.
      representation: the step in the publisher's words, such as `[button]  Search -> CLICK`.
    """

    candidates: tuple[Candidate, ...]
    operation: str
    value: str
    representation: str


@dataclass(frozen=True, kw_only=True)
class RecordedTask:
    """The payload of an instance.

    Fields:
      task: in the words of a person.
      website: its name.
      steps: those that have a right element.
      without_element: how many recorded steps have none, which no answer could meet.
    """

    task: str
    website: str
    steps: tuple[RecordedStep, ...]
    without_element: int = 0


@dataclass(frozen=True, kw_only=True)
class StepScore:
    """How an answer compares with the recorded step.

    Fields:
      element: whether a right element was chosen.
      action_f1: of the words of operation and value.
      success: whether the element is right and the F1 is 1.
    """

    element: bool
    action_f1: float
    success: bool


def action_f1(answer: str, recorded: str) -> float:
    """F1 of two sets of words, split at blanks, case kept; 1 where both are empty."""
    ours, theirs = set(answer.split()), set(recorded.split())
    if not ours or not theirs:
        return float(ours == theirs)
    shared = len(ours & theirs)
    return 2 * shared / (len(ours) + len(theirs))


def score(step: RecordedStep, candidate: Candidate | None, operation: str, value: str) -> StepScore:
    """Compares a choice with a recorded step, as the published evaluation does."""
    answer = f"{operation} {value if operation != 'CLICK' else ''}"
    recorded = f"{step.operation} {step.value if step.operation != 'CLICK' else ''}"
    f1 = action_f1(answer, recorded)
    element = candidate is not None and candidate.right
    return StepScore(element=element, action_f1=f1, success=element and f1 == 1.0)


def parse(answer: str, step: RecordedStep) -> tuple[Candidate | None, str, str] | None:
    """Reads `CLICK [3]`, `TYPE [3] value` or the publisher's `[button]  Search -> CLICK`; None where it is neither."""
    answer = answer[:_ANSWER_LIMIT]
    if match := _ANSWER.fullmatch(answer):
        number, value = int(match[2]), match[3]
        bracketed = re.fullmatch(r"\[(.*)\]", value, re.DOTALL)
        chosen = next((one for one in step.candidates if one.number == number), None)
        return chosen, match[1].upper(), bracketed[1] if bracketed else value
    if match := _REPRESENTED.fullmatch(answer):
        words = " ".join(match[1].lower().split())
        named = [one for one in step.candidates if words and words in f"{one.text} {one.attributes}".lower()]
        return next(iter(named), None), match[2].upper(), match[3]
    return None


class Mind2Web(TextEnvironment):
    """A recorded task: each page is shown with the elements to choose from, and answered once.

    Whatever is answered, the next page is the recorded one, and what was recorded is told as a previous action: the
    published evaluation does so too. An answer that cannot be read, or names no element of the page, is a failed step.

    The reward is the share of the task's steps that have succeeded so far. `success` is that all did. `info` of each
    step holds `element`, `action_f1` and `step_success`; the last one their means over the task, `element_accuracy`,
    `mean_action_f1` and `step_success_rate`, and `without_element`.
    """

    def __init__(self) -> None:
        self._task: RecordedTask | None = None
        self._scores: list[StepScore] = []

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._task, self._scores = payload_of(options, RecordedTask, "mind2web"), []
        return f"Task on {self._task.website}: {self._task.task}\n{self._page()}", {"invalid_action": False}

    @property
    def task(self) -> RecordedTask:
        return begun(self._task, "mind2web")

    def _step(self) -> RecordedStep | None:
        return self.task.steps[len(self._scores)] if len(self._scores) < len(self.task.steps) else None

    def _page(self) -> str:
        step = self._step()
        return "\n".join(one.line for one in step.candidates) if step else "The task is over."

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        step = self._step()
        if step is None:
            return self._page(), self._reward(), True, False, {"invalid_action": True, **self._summary()}
        answer = parse(action, step)
        candidate, operation, value = answer or (None, "", "")
        result = score(step, candidate, operation, value)
        self._scores.append(result)
        done = self._step() is None
        info: dict[str, Any] = {
            "invalid_action": candidate is None,
            "element": result.element,
            "action_f1": result.action_f1,
            "step_success": result.success,
        }
        if done:
            info |= self._summary()
        return f"Previous action: {step.representation}\n{self._page()}", self._reward(), done, False, info

    def _reward(self) -> float:
        return sum(one.success for one in self._scores) / len(self.task.steps)

    def _summary(self) -> dict[str, Any]:
        steps = len(self.task.steps)
        return {
            "success": all(one.success for one in self._scores) and len(self._scores) == steps,
            "element_accuracy": sum(one.element for one in self._scores) / steps,
            "mean_action_f1": sum(one.action_f1 for one in self._scores) / steps,
            "step_success_rate": self._reward(),
            "without_element": self.task.without_element,
        }

    def expert_steps(self) -> list[ExpertStep]:
        steps = []
        for step in self.task.steps:
            right = next(one for one in step.candidates if one.right)
            value = f" {step.value}" if step.operation != "CLICK" else ""
            slots = {"element": right.text, "value": step.value}
            steps.append(
                ExpertStep(
                    action=f"{step.operation} [{right.number}]{value}", intent=step.operation.lower(), slots=slots
                )
            )
        return steps

    def valid_actions(self) -> list[str]:
        """A click on each element; what might be typed cannot be listed."""
        step = self._step()
        return [f"CLICK [{one.number}]" for one in step.candidates] if step else []

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions() or ["CLICK [1]"])


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Yields the tasks of one of the publisher's files that have a step with a right element.

    Raises:
      AgentBankError: a row breaks the layout; names file, row (from 0) and field.
    """
    for number, row in enumerate(read_rows(path)):
        where = f"{path}: row {number}"
        _check(row, _TASK_FIELDS, where)
        actions = row["actions"]
        if not isinstance(actions, list) or len(actions) != len(row["action_reprs"]):
            raise AgentBankError(f"{where}: expected as many action_reprs as actions.")
        for place, action in enumerate(actions):
            _check(action, _STEP_FIELDS, f"{where}: action {place}")
            operation = action["operation"].get("op") if isinstance(action["operation"], dict) else action["operation"]
            if operation not in OPERATIONS:
                raise AgentBankError(
                    f"{where}: action {place}: op is {operation!r}; expected one of {', '.join(OPERATIONS)}."
                )
            for candidate in (*action["pos_candidates"], *action["neg_candidates"]):
                _check(candidate, ("backend_node_id",), f"{where}: action {place}: a candidate")
        steps = tuple(
            RecordedStep(
                candidates=candidates_of(action),
                operation=action["operation"]["op"],
                value=str(action["operation"].get("value") or ""),
                representation=" ".join(representation.split()),
            )
            for action, representation in zip(actions, row["action_reprs"], strict=True)
            if action["pos_candidates"]
        )
        if steps:
            task = RecordedTask(
                task=row["confirmed_task"],
                website=row["website"],
                steps=steps,
                without_element=len(actions) - len(steps),
            )
            yield Instance(
                id=f"mind2web/{split}/{row['annotation_id']}",
                fingerprint=hashlib.sha256(f"{row['website']}\n{row['confirmed_task']}".encode()).hexdigest(),
                payload=task,
                difficulty=len(steps),
            )


def _check(row: Any, fields: tuple[str, ...], where: str) -> None:
    for field in fields:
        if not isinstance(row, dict) or row.get(field) is None:
            raise AgentBankError(f"{where}: {field} is missing; expected Mind2Web's layout.")
