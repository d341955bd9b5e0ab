"""IQA: questions about a room that is walked through (Gordon et al. 2018, arXiv 1712.03316).

The questions are those of IQUAD V1, in its publisher's layout. They were made for the simulator build of that time;
where another build's room gives another answer, the question is refused as an error of the environment, never scored.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance, answers_of
from agentbank_jax.environments.benchmark_rows import read_csv
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.text_game import Outcome
from agentbank_jax.environments.thor import ThorGame
from agentbank_jax.environments.turn_text import answer_step
from agentbank_jax.errors import AgentBankError

# This project's own: the publisher's agents walk up to 1,000 single steps.
MAX_STEPS = 50

KINDS = ("existence", "counting", "contains")

# By the publisher's numbers, in `constants.py`.
OBJECTS = (
    "Background", "Spoon", "Potato", "Fork", "Plate", "Egg", "Tomato", "Bowl", "Lettuce", "Apple", "Knife",
    "Container", "Bread", "Mug", "Sink", "StoveBurner", "TableTop", "GarbageCan", "Microwave", "Fridge", "Cabinet",
)  # fmt: skip

COLUMNS = ("question_type", "scene_number", "seed", "question", "answer", "object_id", "container_id")

# How the publisher's build fills a room for a question.
RANDOM_START = "InitialRandomSpawn"


def protocol() -> str:
    """What is recorded in a result: the simulator's version, and that the text is this project's own."""
    return f"iqa/1 (ai2thor {installed_version('ai2thor')}, text of this project)"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A payload: a question about a room.

    Fields:
      kind: one of `KINDS`.
      text: the question.
      answer: `yes`, `no` or a number from 0 to 3.
      scene: the number of the floor plan.
      seed: of the things' places in it.
      object_type: what is asked for.
      container_type: in what, for `contains`; empty otherwise.
    """

    kind: str
    text: str
    answer: str
    scene: int
    seed: int
    object_type: str
    container_type: str = ""


def read_questions(path: Path, split: str) -> Iterator[Instance]:
    """Yields the questions of one of IQUAD's `combined.csv`.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row (from 1) and field.
    """
    for number, row in read_csv(path, COLUMNS):
        question = _question(row, f"{path}:{number}")
        name = f"{question.kind}/{number}"
        content = f"iqa/{question.scene}/{question.seed}/{question.text}"
        yield Instance(
            id=f"iqa/{split}/{name}",
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            payload=question,
        )


def _question(row: Mapping[str, str | None], where: str) -> Question:
    values: dict[str, int] = {}
    for name, limit in (
        ("question_type", len(KINDS)),
        ("scene_number", 1 << 16),
        ("seed", 1 << 32),
        ("object_id", len(OBJECTS)),
        ("container_id", len(OBJECTS) + 1),
    ):
        text = str(row[name])
        if not text.isdecimal() or int(text) >= limit:
            raise AgentBankError(f"{where}:{name}: {text!r:.40}; expected a number below {limit}.")
        values[name] = int(text)
    kind = KINDS[values["question_type"]]
    answer = {"True": "yes", "False": "no"}.get(str(row["answer"]), str(row["answer"]))
    if not (answer.isdecimal() if kind == "counting" else answer in ("yes", "no")):
        expected = "a number" if kind == "counting" else "True or False"
        raise AgentBankError(f"{where}:answer: {answer!r:.40}; expected {expected}.")
    return Question(
        kind=kind,
        text=str(row["question"]).strip(),
        answer=answer,
        scene=values["scene_number"],
        seed=values["seed"],
        object_type=OBJECTS[values["object_id"]],
        container_type=OBJECTS[values["container_id"]] if kind == "contains" else "",
    )


def dealt(index: int, size: int) -> int:
    """The place in the publisher's order of the question that comes at `index`: one of each file in turn.

    The publisher has a file for each kind, all of one length.
    """
    each = size // len(KINDS)
    return index % len(KINDS) * each + index // len(KINDS) if 0 <= index < each * len(KINDS) else index


class IqaEnvironment(ThorGame):
    """Walk through the room, look into what is closed, and answer by `Final Answer: yes`, `no` or a number.

    The payload of an instance is a `Question`. Reward 1 for the published answer, else 0; an answer ends the episode.
    Under `exact` the answer is the whole text, but for case and a full stop (`true` and `false` are `yes` and `no`);
    under `mint` it may be the only answer among other words. `info` has `kind`, and at the end `answer`.
    """

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._answers = answers_of(options)
        return super().reset(seed=seed, options=options)

    def begin(self, payload: Question) -> str:
        """Loads the room.

        Raises:
          AgentBankError: the room does not give the published answer.
        """
        self._question = payload
        self.enter(f"FloorPlan{payload.scene}")
        self.command(RANDOM_START, randomSeed=payload.seed)
        self.name_things()
        true = self._true_answer()
        if true != payload.answer:
            raise AgentBankError(
                f"iqa: floor plan {payload.scene} with seed {payload.seed} answers '{true}' to '{payload.text}', and "
                f"the published answer is '{payload.answer}'; use the simulator build that IQUAD was made with."
            )
        return f"{payload.text}\nIn the room there are {self.places()}.\n{self.seen()}"

    def act(self, action: str) -> Outcome:
        figures = {"kind": self._question.kind}
        if action.lower().startswith(FINAL_ANSWER_PREFIX.lower()):
            answer = action[len(FINAL_ANSWER_PREFIX) :].strip()
            right = self._is_right(answer)
            figures["answer"] = answer
            return Outcome(
                observation="Correct." if right else "Wrong.", reward=float(right), ended=True, figures=figures
            )
        return self.outcome(self.move(action.lower()), 0.0, figures=figures)

    def valid_actions(self) -> list[str]:
        answers = map(str, range(4)) if self._question.kind == "counting" else ("yes", "no")
        return [*super().valid_actions(), *(f"{FINAL_ANSWER_PREFIX} {answer}" for answer in answers)]

    def expert_steps(self) -> list[ExpertStep]:
        """Looks into every container that the question names, and answers."""
        kind = self._question.container_type.lower()
        steps = []
        for name in sorted(self.ids) if kind else ():
            thing = self.thing(self.ids[name])
            if thing is not None and thing["objectType"].lower() == kind:
                steps.append(ExpertStep(action=f"go to {name}", intent="go", slots={"place": name}))
                if thing.get("openable") and not thing.get("isOpen"):
                    steps.append(ExpertStep(action=f"open {name}", intent="open", slots={"place": name}))
        return [*steps, answer_step(self._question.answer)]

    def _true_answer(self) -> str:
        question = self._question
        wanted = [thing for thing in self.things() if thing["objectType"] == question.object_type]
        if question.kind == "counting":
            return str(len(wanted))
        if question.kind == "contains":
            kinds = {thing["objectId"]: thing["objectType"] for thing in self.things()}
            wanted = [
                thing
                for thing in wanted
                if question.container_type in [kinds.get(holder) for holder in thing.get("parentReceptacles") or []]
            ]
        return "yes" if wanted else "no"

    def _is_right(self, answer: str) -> bool:
        text = answer.lower().strip(" .")
        words = [text] if self._answers == "exact" else re.findall(r"\w+", text)
        said = {{"true": "yes", "false": "no"}.get(word, word) for word in words}
        if self._answers == "mint":
            # Who names several answers has given none.
            said = {word for word in said if word in ("yes", "no") or word.isdecimal()}
        return said == {self._question.answer}
