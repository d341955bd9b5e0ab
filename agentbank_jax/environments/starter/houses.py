"""Small houses of one room, with goals of ALFWorld's six kinds.

A house is composed from closed lists of receptacle and object types. Each object type is usually found in one or two
types of receptacle, the same everywhere, so that where to look can be learned.
"""

import hashlib
import random
from dataclasses import dataclass

from agentbank_jax.environments.household_world import APPLIANCES, OPENABLE, Goal, House, Property, type_of
from agentbank_jax.environments.starter.rooms import CHANGEABLE, LIKELY_PLACES, NO_TARGETS, ROOMS

RECEPTACLES = range(10, 13)
MAX_LOOKS = 5
# How likely the wanted object is in the first, second, … of the places where one would look: most
# searches are short, and a door to open makes a place half as likely, since it costs two steps.
LOOK_WEIGHTS = (10.0, 5.0, 2.0, 0.8, 0.3)


@dataclass(frozen=True, kw_only=True)
class GoalKind:
    """A kind of goal: what is asked, in which rooms, in which words.

    Fields:
      properties: what the object has to be; `count`: how many; `lamp`: whether it is held under a lamp.
      rooms: where it is asked.
      texts: sentences with `{object}` and `{target}`.
    """

    name: str
    rooms: tuple[str, ...]
    texts: tuple[str, ...]
    properties: tuple[Property, ...] = ()
    count: int = 1
    lamp: bool = False


# ALFWorld's six kinds under ALFWorld's names.
GOAL_KINDS: tuple[GoalKind, ...] = (
    GoalKind(
        name="pick_and_place_simple",
        rooms=tuple(ROOMS),
        texts=("put a {object} in {target}.", "put some {object} on {target}."),
    ),
    GoalKind(
        name="look_at_obj_in_light",
        rooms=("livingroom", "bedroom"),
        texts=("look at {object} under the {target}.", "examine the {object} with the {target}."),
        lamp=True,
    ),
    GoalKind(
        name="pick_clean_then_place_in_recep",
        rooms=("kitchen", "kitchen", "bathroom"),
        texts=("put a clean {object} in {target}.", "clean some {object} and put it in {target}."),
        properties=("clean",),
    ),
    GoalKind(
        name="pick_heat_then_place_in_recep",
        rooms=("kitchen",),
        texts=("put a hot {object} in {target}.", "heat some {object} and put it in {target}."),
        properties=("hot",),
    ),
    GoalKind(
        name="pick_cool_then_place_in_recep",
        rooms=("kitchen",),
        texts=("put a cool {object} in {target}.", "cool some {object} and put it in {target}."),
        properties=("cool",),
    ),
    GoalKind(
        name="pick_two_obj_and_place",
        rooms=tuple(ROOMS),
        texts=("put two {object} in {target}.", "find two {object} and put them in {target}."),
        count=2,
    ),
)
# Two changes to one object: each is known from training, one after the other is not.
HELD_OUT_KINDS: tuple[GoalKind, ...] = (
    GoalKind(
        name="pick_clean_heat_then_place_in_recep",
        rooms=("kitchen",),
        texts=("put a clean and hot {object} in {target}.", "clean and heat some {object} and put it in {target}."),
        properties=("clean", "hot"),
    ),
)


def draw_house(kinds: tuple[GoalKind, ...], rng: random.Random) -> tuple[House, int] | None:
    """A random house with a goal and the number of places to look into, or None for an unlucky draw."""
    kind = rng.choice(kinds)
    room = rng.choice(kind.rooms)
    likely = LIKELY_PLACES[room]
    receptacles = [
        f"{name} {number}"
        for name, (fewest, most) in ROOMS[room].items()
        for number in range(1, rng.randint(fewest, most) + 1)
    ]
    wanted = rng.choice(
        [name for name in likely if name != "desklamp" and all(name in CHANGEABLE[need] for need in kind.properties)]
    )
    places = _places(receptacles, likely[wanted])
    if not places or len(receptacles) not in RECEPTACLES:
        return None
    weights = [
        weight / (2 if type_of(place) in OPENABLE else 1) for weight, place in zip(LOOK_WEIGHTS, places, strict=False)
    ]
    chosen = sorted(rng.choices(range(len(weights)), weights, k=kind.count))
    looks = chosen[-1] + 1

    contents: dict[str, list[str]] = {name: [] for name in receptacles}
    _add_others(contents, likely, wanted, rng)
    numbers = rng.sample((1, 2, 3), kind.count)
    for position, number in zip(chosen, numbers, strict=True):
        inside = contents[places[position]]
        inside.insert(rng.randint(0, len(inside)), f"{wanted} {number}")

    if kind.lamp:
        lamp_places = _places(receptacles, likely["desklamp"])[:2]
        # Not beside the object: three steps would be a toy.
        lamp_places = [place for place in lamp_places if place != places[chosen[0]]]
        if not lamp_places:
            return None
        lamp_at = rng.randrange(len(lamp_places))
        inside = contents[lamp_places[lamp_at]]
        inside.insert(rng.randint(0, len(inside)), "desklamp 1")
        looks += lamp_at + 1
        goal = Goal(
            object_type=wanted,
            lamp_type="desklamp",
            text=rng.choice(kind.texts).format(object=wanted, target="desklamp"),
        )
    else:
        # Never where the object is looked for, so that nothing is delivered before the agent acts.
        excluded = NO_TARGETS | set(likely[wanted]) | {APPLIANCES[need] for need in kind.properties}
        targets = sorted({type_of(name) for name in receptacles} - excluded)
        # Doors cost steps, and two objects cost enough already.
        door_weight = 1 if kind.count == 1 else 0
        target = rng.choices(targets, [door_weight if name in OPENABLE else 2 for name in targets])[0]
        goal = Goal(
            object_type=wanted,
            receptacle_type=target,
            properties=kind.properties,
            count=kind.count,
            text=rng.choice(kind.texts).format(object=wanted, target=target),
        )
    if looks > MAX_LOOKS - kind.count + 1:
        return None
    house = House(
        contents=tuple((name, tuple(inside)) for name, inside in contents.items()), goal=goal, likely_places=likely
    )
    return house, looks


def _places(receptacles: list[str], types: tuple[str, ...]) -> list[str]:
    return [name for wanted in types for name in receptacles if type_of(name) == wanted]


def _add_others(
    contents: dict[str, list[str]], likely: dict[str, tuple[str, ...]], wanted: str, rng: random.Random
) -> None:
    """Puts up to two other objects into each receptacle, of types that are usually found there."""
    count: dict[str, int] = {}
    for name, inside in contents.items():
        kind = type_of(name)
        fitting = [other for other, places in likely.items() if kind in places and other not in (wanted, "desklamp")]
        for other in rng.sample(fitting, min(len(fitting), rng.choice((0, 0, 1, 1, 2)))):
            count[other] = count.get(other, 0) + 1
            inside.append(f"{other} {count[other]}")


def fingerprint(house: House) -> str:
    """Hash of a house and its goal, whatever the words of the goal."""
    goal = house.goal
    facts = (house.contents, goal.object_type, goal.receptacle_type, goal.properties, goal.count, goal.lamp_type)
    return hashlib.sha256(repr(facts).encode()).hexdigest()
