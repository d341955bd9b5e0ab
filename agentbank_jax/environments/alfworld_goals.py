"""The six goals of ALFWorld (Shridhar et al. 2021, arXiv 2010.03768): what each asks for, in PDDL and in words."""

import re
from dataclasses import dataclass
from typing import Literal

Change = Literal["clean", "heat", "cool"]

_OBJECT = re.compile(r"\(objectType \?o1? (\w+)Type\)")
_RECEPTACLE = re.compile(r"\(receptacleType \?r (\w+)Type\)")
_LAMP = re.compile(r"\(objectType \?ot (\w+)Type\)")
_CHANGED: dict[Change, str] = {"clean": "isClean", "heat": "isHot", "cool": "isCool"}

_LIGHT = """(:goal (and
  (exists (?ot - object ?r - receptacle ?a - agent ?l - location)
    (and (objectType ?ot {target}Type) (toggleable ?ot) (isToggled ?ot)
         (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))
  (exists (?o - object ?a - agent) (and (objectType ?o {object}Type) (holds ?a ?o)))))"""

_PLACE = """(:goal (exists (?r - receptacle) (exists (?o - object)
  (and (objectType ?o {object}Type) (receptacleType ?r {target}Type){changed} (inReceptacle ?o ?r)))))"""

_TWO = """(:goal (exists (?r - receptacle) (exists (?o1 - object)
  (and (objectType ?o1 {object}Type) (receptacleType ?r {target}Type) (inReceptacle ?o1 ?r)
       (exists (?o2 - object) (and (not (= ?o1 ?o2)) (objectType ?o2 {object}Type) (inReceptacle ?o2 ?r)))))))"""


@dataclass(frozen=True, kw_only=True)
class GoalKind:
    """A kind of goal.

    Fields:
      name: ALFWorld's.
      difficulty: how many things it asks for: an object counts 1 for being found and 1 for being brought where it
        belongs, a change to it 1, and a lamp that is to be on 1.
      rooms: where it is asked (ALFRED's `GOALS_VALID`).
      texts: wordings with `{object}` and `{target}`, a receptacle or a lamp.
      change: what has to be done to the object first.
      count: of objects.
      lamp: whether the object is held beside a lamp that is on, and put nowhere.
    """

    name: str
    difficulty: int
    rooms: tuple[str, ...]
    texts: tuple[str, ...]
    change: Change | None = None
    count: int = 1
    lamp: bool = False


GOAL_KINDS: tuple[GoalKind, ...] = (
    GoalKind(
        name="pick_and_place_simple",
        difficulty=2,
        rooms=("Kitchen", "LivingRoom", "Bedroom", "Bathroom"),
        texts=(
            "put a {object} in {target}",
            "put some {object} on {target}",
            "find a {object} and put it in {target}",
            "place a {object} in {target}",
        ),
    ),
    GoalKind(
        name="look_at_obj_in_light",
        difficulty=2,
        rooms=("LivingRoom", "Bedroom"),
        texts=(
            "look at {object} under the {target}",
            "examine the {object} with the {target}",
            "look at a {object} by the light of the {target}",
            "hold the {object} under the {target} and look at it",
        ),
        lamp=True,
    ),
    GoalKind(
        name="pick_clean_then_place_in_recep",
        difficulty=3,
        rooms=("Kitchen", "Bathroom"),
        texts=(
            "put a clean {object} in {target}",
            "clean some {object} and put it in {target}",
            "wash a {object} and place it in {target}",
            "place some clean {object} in {target}",
        ),
        change="clean",
    ),
    GoalKind(
        name="pick_heat_then_place_in_recep",
        difficulty=3,
        rooms=("Kitchen",),
        texts=(
            "put a hot {object} in {target}",
            "heat some {object} and put it in {target}",
            "warm up a {object} and place it in {target}",
            "place some hot {object} in {target}",
        ),
        change="heat",
    ),
    GoalKind(
        name="pick_cool_then_place_in_recep",
        difficulty=3,
        rooms=("Kitchen",),
        texts=(
            "put a cool {object} in {target}",
            "cool some {object} and put it in {target}",
            "chill a {object} and place it in {target}",
            "place some cool {object} in {target}",
        ),
        change="cool",
    ),
    GoalKind(
        name="pick_two_obj_and_place",
        difficulty=4,
        rooms=("Kitchen", "LivingRoom", "Bedroom", "Bathroom"),
        texts=(
            "put two {object} in {target}",
            "find two {object} and put them in {target}",
            "bring two {object} to the same {target}",
            "place two {object} in one {target}",
        ),
        count=2,
    ),
)

_KINDS = {kind.name: kind for kind in GOAL_KINDS}


def difficulty_of(task_type: str) -> int:
    """How many things a goal of ALFWorld asks for (see `GoalKind.difficulty`); 1 where its type is none of the six."""
    return _KINDS[task_type].difficulty if task_type in _KINDS else 1


@dataclass(frozen=True, kw_only=True)
class AlfworldGoal:
    """What has to become true, as an agent is told it too.

    Fields:
      object_type, target_type: such as `apple` and `fridge`, in the case of their names in PDDL; the target of a goal
        with a lamp is the lamp.
      change: what has to be done to the object first.
      count: how many objects are to be brought, to the same receptacle.
      lamp: whether the target is a lamp.
    """

    object_type: str
    target_type: str
    change: Change | None = None
    count: int = 1
    lamp: bool = False

    def pddl(self) -> str:
        """The goal as a problem states it."""
        changed = f" ({_CHANGED[self.change]} ?o)" if self.change else ""
        form = _LIGHT if self.lamp else _TWO if self.count == 2 else _PLACE
        return form.format(object=self.object_type, target=self.target_type, changed=changed)


def goal_of(problem: str) -> AlfworldGoal | None:
    """Reads the goal of a problem, a published or a made one; None where it is none of the six kinds."""
    goal = problem[problem.find("(:goal") :]
    objects, receptacles, lamps = (set(each.findall(goal)) for each in (_OBJECT, _RECEPTACLE, _LAMP))
    if len(objects) != 1 or len(receptacles | lamps) != 1 or (receptacles and lamps):
        return None
    changes = [change for change, predicate in _CHANGED.items() if predicate in goal]
    if len(changes) > 1 or "isSliced" in goal or "inReceptacleObject" in goal:
        return None
    return AlfworldGoal(
        object_type=min(objects),
        target_type=min(receptacles | lamps),
        change=changes[0] if changes else None,
        count=2 if "?o2" in goal else 1,
        lamp=bool(lamps),
    )
