"""Household problems of this project's own for ALFWorld's engine, made from a seed: none of the published ones.

Each is one room in ALFRED's PDDL with one of ALFWorld's six goals, and can be solved: the wanted objects lie where
they can be taken, none of them where the goal wants it, and the target may hold them.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from agentbank_jax.environments.alfworld_games import AlfworldGame
from agentbank_jax.environments.alfworld_goals import GOAL_KINDS, AlfworldGoal, Change, GoalKind
from agentbank_jax.environments.alfworld_rooms import (
    BASINS,
    CLEANABLE,
    CONTAINERS,
    COOLABLE,
    HEATABLE,
    HOLDS,
    LAMP,
    LAMP_PLACES,
    OPENABLE,
    ROOMS,
    SHUT,
    SINGLE,
    SLICEABLE,
    TOGGLEABLE,
)
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint
from agentbank_jax.environments.registry import check_split

VERSION = 1
"""Of the generator: changes whenever the problem of a seed does."""

# Chances and numbers that make rooms about as full as ALFRED's small ones.
OTHER_OBJECTS = (6, 14)
_MOST_OF_A_TYPE = 3
_SPARE_SHARE = 1 / 3
_OPEN_SHARE = 0.1
_LAMP_SHARE = 0.5

_CHANGEABLE: dict[Change, frozenset[str]] = {"clean": CLEANABLE, "heat": HEATABLE, "cool": COOLABLE}
_APPLIANCES: dict[Change, str] = {"clean": "SinkBasin", "heat": "Microwave", "cool": "Fridge"}

# Of objects: predicate → the types that have it.
_PROPERTIES = {
    "isReceptacleObject": CONTAINERS,
    "cleanable": CLEANABLE,
    "heatable": HEATABLE,
    "coolable": COOLABLE,
    "sliceable": SLICEABLE,
    "toggleable": TOGGLEABLE,
}
# Named in the domain's actions, whether or not a room has one.
_NAMED_RECEPTACLES = ("FridgeType", "MicrowaveType", "SinkBasinType")
_NAMED_OBJECTS = ("ButterKnifeType", "KnifeType")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A room and a goal in it.

    Fields:
      contents: PDDL id of each receptacle → those of the objects in it.
      opened: receptacles that stand open.
      places: receptacle → the location where an agent reaches it; the agent starts at another, `start`.
      goal: what has to become true.
      text: the same in words.
    """

    contents: dict[str, tuple[str, ...]]
    opened: tuple[str, ...]
    places: dict[str, str]
    start: str
    goal: AlfworldGoal
    text: str

    def problem(self) -> str:
        """The room and the goal in PDDL."""
        objects = [item for inside in self.contents.values() for item in inside]
        receptacle_types = sorted({kind_of(name) for name in self.contents})
        object_types = sorted({kind_of(item) for item in objects})
        declared = {
            "agent": ["agent1"],
            "location": sorted([self.start, *self.places.values()]),
            "receptacle": sorted(self.contents),
            "object": sorted(objects),
            "rtype": sorted({f"{kind}Type" for kind in receptacle_types}.union(_NAMED_RECEPTACLES)),
            "otype": sorted({f"{kind}Type" for kind in object_types}.union(_NAMED_OBJECTS)),
        }
        facts = [f"atLocation agent1 {self.start}"]
        for name, inside in self.contents.items():
            facts += [f"receptacleType {name} {kind_of(name)}Type", f"receptacleAtLocation {name} {self.places[name]}"]
            facts += [f"openable {name}"] if kind_of(name) in OPENABLE else []
            facts += [f"opened {name}"] if name in self.opened else []
            for item in inside:
                kind = kind_of(item)
                facts += [f"objectType {item} {kind}Type", f"inReceptacle {item} {name}"]
                facts += [f"objectAtLocation {item} {self.places[name]}"]
                facts += [f"pickupable {item}"] if kind != LAMP else []
                facts += [f"{predicate} {item}" for predicate, kinds in _PROPERTIES.items() if kind in kinds]
        facts += [
            f"canContain {holder}Type {kind}Type"
            for holder in receptacle_types
            for kind in object_types
            if kind in HOLDS[holder]
        ]
        lines = [f"{' '.join(names)} - {kind}" for kind, names in declared.items()]
        return (
            f"(define (problem household) (:domain alfred)\n(:objects\n{_lines(lines)})\n"
            f"(:init\n{_lines(f'({fact})' for fact in facts)})\n{self.goal.pddl()}\n)\n"
        )


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"  {text}\n" for text in texts)


def kind_of(name: str) -> str:
    """`Apple` of the id `Apple_bar_02`, `SinkBasin` of `Sink_bar_01_bar_SinkBasin`."""
    parts = name.split("_bar_")
    return parts[2] if len(parts) > 2 else parts[0]


def _id(kind: str, number: int) -> str:
    owner = BASINS.get(kind)
    return f"{owner}_bar_{number:02d}_bar_{kind}" if owner else f"{kind}_bar_{number:02d}"


def instance(split: str, index: int) -> Instance:
    """Problem `index` of a split, without end: even seeds are tested on, odd ones trained on.

    The six kinds of goal take turns, so that any six in a row are one of each. The difficulty is that of the kind.
    """
    kind = GOAL_KINDS[index % len(GOAL_KINDS)]
    rng = random.Random(f"alfworld_generated/{VERSION}/{2 * index + (check_split(split) == 'train')}")
    while (scene := draw_scene(kind, rng)) is None:
        pass
    problem = scene.problem()
    return Instance(
        id=f"alfworld_generated/{split}/{index}",
        fingerprint=question_fingerprint(problem)[:16],
        payload=AlfworldGame(goal=scene.text, task_type=kind.name, problem=problem),
        difficulty=kind.difficulty,
    )


def draw_scene(kind: GoalKind, rng: random.Random) -> Scene | None:
    """A random room with a goal of this kind, or None for an unlucky draw."""
    name = rng.choice(kind.rooms)
    room = ROOMS[name]
    receptacles = [
        _id(holder, number)
        for holder, (fewest, most) in room.receptacles.items()
        for number in range(1, rng.randint(fewest, most) + 1)
    ]
    wanted = rng.choice([item for item in room.places if kind.change is None or item in _CHANGEABLE[kind.change]])
    target = LAMP if kind.lamp else _target(kind, wanted, receptacles, rng)
    spots = _spots(receptacles, room.places[wanted], target)
    lamp_spots = _spots(receptacles, LAMP_PLACES.get(name, ()))
    if not target or not spots or (kind.lamp and not lamp_spots):
        return None

    drawn = [(wanted, rng.choice(spots)) for _ in range(kind.count + (rng.random() < _SPARE_SHARE))]
    if lamp_spots and (kind.lamp or rng.random() < _LAMP_SHARE):
        drawn.append((LAMP, rng.choice(lamp_spots)))
    for _ in range(rng.randint(*OTHER_OBJECTS)):
        other = rng.choice([item for item in room.places if item != wanted])
        free = _spots(receptacles, room.places[other])
        if free and sum(item == other for item, _ in drawn) < _MOST_OF_A_TYPE:
            drawn.append((other, rng.choice(free)))
    # Numbers are dealt last, so that they tell nothing of what is wanted or where it lies.
    rng.shuffle(drawn)
    contents: dict[str, list[str]] = {receptacle: [] for receptacle in receptacles}
    numbers: defaultdict[str, int] = defaultdict(int)
    for item, spot in drawn:
        numbers[item] += 1
        contents[spot].append(_id(item, numbers[item]))

    openable = [each for each in receptacles if kind_of(each) in OPENABLE - SHUT]
    locations = [f"loc_bar_{number:02d}" for number in range(1, len(receptacles) + 2)]
    rng.shuffle(locations)
    return Scene(
        contents={receptacle: tuple(inside) for receptacle, inside in contents.items()},
        opened=tuple(each for each in openable if rng.random() < _OPEN_SHARE),
        places=dict(zip(receptacles, locations, strict=False)),
        start=locations[-1],
        goal=AlfworldGoal(object_type=wanted, target_type=target, change=kind.change, count=kind.count, lamp=kind.lamp),
        text=rng.choice(kind.texts).format(object=wanted.lower(), target=target.lower()),
    )


def _target(kind: GoalKind, wanted: str, receptacles: list[str], rng: random.Random) -> str:
    """A type of receptacle to put the object into; empty where no other than its appliance may hold it."""
    excluded = {_APPLIANCES[kind.change]} if kind.change else SINGLE if kind.count > 1 else set()
    fitting = sorted({kind_of(each) for each in receptacles if wanted in HOLDS[kind_of(each)]} - excluded)
    return rng.choice(fitting) if fitting else ""


def _spots(receptacles: list[str], kinds: tuple[str, ...], without: str = "") -> list[str]:
    return [each for each in receptacles if kind_of(each) in kinds and kind_of(each) != without]
