"""The embodied starter family: small houses of one room, and goals of ALFWorld's six kinds.

A house is composed from closed lists of receptacle and object types that training and test share;
what differs is the combination. Each object type is usually found in one or two types of
receptacle, the same everywhere, so that where to look can be learned.

Houses are dealt to the splits by their fingerprint: one in `TEST_SHARE` belongs to test, so that
no test instance can occur in training whatever the seeds.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from agentbank_jax.environments.base import Instance, TextEnvironment
from agentbank_jax.environments.household import DEFAULT_MAX_STEPS, HouseholdEnvironment
from agentbank_jax.environments.household_world import APPLIANCES, OPENABLE, Goal, House, Property, type_of
from agentbank_jax.environments.registry import EnvironmentSpec, check_split
from agentbank_jax.environments.starter.rooms import CHANGEABLE, LIKELY_PLACES, NO_TARGETS, ROOMS

TEST_SHARE = 8
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


def _draw(kinds: tuple[GoalKind, ...], rng: random.Random) -> tuple[House, int] | None:
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


def _fingerprint(house: House) -> str:
    goal = house.goal
    facts = (house.contents, goal.object_type, goal.receptacle_type, goal.properties, goal.count, goal.lamp_type)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _generator(family: str, kinds: tuple[GoalKind, ...]) -> Callable[[str, int], Instance]:
    def instance(split: str, index: int) -> Instance:
        check_split(split)
        rng = random.Random(f"{family}/{split}/{index}")
        while True:
            drawn = _draw(kinds, rng)
            if drawn is None:
                continue
            house, looks = drawn
            fingerprint = _fingerprint(house)
            if (int(fingerprint, 16) % TEST_SHARE == 0) == (split == "test"):
                return Instance(
                    id=f"{family}/{split}/{index}", fingerprint=fingerprint, payload=house, difficulty=looks
                )

    return instance


def _make() -> TextEnvironment:
    return HouseholdEnvironment()


INSTRUCTION = (
    "Actions: go to X, open X, close X, take O from X, put O in/on X, clean O with X, "
    "heat O with X, cool O with X, use O, examine X, inventory, look."
)


def _spec(name: str, kinds: tuple[GoalKind, ...], *, held_out: bool) -> EnvironmentSpec:
    return EnvironmentSpec(
        name=name,
        skill="embodied",
        action_space="discrete",
        max_steps=DEFAULT_MAX_STEPS,
        protocol="household/1 alfworld_released",
        instruction=INSTRUCTION,
        make=_make,
        instance=_generator(name, kinds),
        held_out=held_out,
    )


SPECS: tuple[EnvironmentSpec, ...] = (
    _spec("starter_embodied", GOAL_KINDS, held_out=False),
    _spec("starter_embodied_new_goal", HELD_OUT_KINDS, held_out=True),
)

# What an annotator would think before each step; see `household_expert.expert_steps` for the slots.
THOUGHTS: dict[str, tuple[str, ...]] = {
    "explore_first": (
        "I need the {which}{object}. First the {kind}.",
        "Look for the {which}{object} at the {kind}.",
        "The {which}{object} may be at the {kind}.",
        "First I find the {which}{object}. Try the {kind}.",
        "I start looking for the {which}{object}.",
        "Find the {which}{object}: first the {kind}.",
    ),
    "explore_another": (
        "I need the {which}{object}. Try the {kind}.",
        "Now find the {which}{object} at the {kind}.",
        "One {object} is placed. Look for the {which}{object}.",
        "Look for the {which}{object}.",
        "The {which}{object} may be at the {kind}.",
        "The {which}{object} is needed. Next the {kind}.",
    ),
    "explore_lamp": (
        "Now I need the {object}. Try the {kind}.",
        "Find the {object} at the {kind}.",
        "Next I look for the {object}.",
        "The {object} may be at the {kind}.",
        "I have it. Now find the {object}.",
        "I need the {object}. First the {kind}.",
    ),
    "explore_next": (
        "No {object} here. Next the {kind}.",
        "Still no {object}. Try the {kind}.",
        "Not here. Look for the {object} at the {kind}.",
        "The {object} is not here.",
        "No {object}. Go to the next place.",
        "I still need the {object}.",
    ),
    "explore_open": (
        "It is closed. Open the {kind}.",
        "Open the {kind} to find the {object}.",
        "The {object} may be inside.",
        "Closed. I open it.",
        "I must look inside the {kind}.",
        "Is the {object} inside? Open it.",
    ),
    "take": (
        "I see {item}. Take it.",
        "Here is {item}.",
        "I found {item}.",
        "The {which}{object} is here: {item}.",
        "Take {item} from the {kind}.",
        "This is {item}. Pick it up.",
    ),
    "go_take": (
        "I saw {item} at the {kind}.",
        "Go back for {item}.",
        "The {which}{object} is at the {kind}: {item}.",
        "I return to the {kind} for {item}.",
        "I know where {item} is.",
        "I go to the {kind} for {item}.",
    ),
    "open_take": (
        "Open the {kind} to get {item}.",
        "The {object} is inside.",
        "It is closed. I need {item}.",
        "Open it to reach {item}.",
        "I must open the {kind}.",
        "Closed. Open it for {item}.",
    ),
    "go_clean": (
        "I have {item}. Clean it, then put it in {target}.",
        "{item} must be clean to put it in {target}.",
        "Next I clean {item} and put it in {target}.",
        "To clean {item} I need the {kind}. Then put it in {target}.",
        "Bring {item} to the {kind}, then put it in {target}.",
        "First clean {item}, then put it in {target}.",
    ),
    "clean": (
        "Clean {item} here and put it in {target}.",
        "Now I clean {item} to put it in {target}.",
        "I am at the {kind}. Clean {item}, then put it in {target}.",
        "{item} must be clean to put it in {target}.",
        "Use the {kind} to clean {item}, then put it in {target}.",
        "Time to clean {item} and put it in {target}.",
    ),
    "go_heat": (
        "I have {item}. Heat it, then put it in {target}.",
        "{item} must be hot to put it in {target}.",
        "Next I heat {item} and put it in {target}.",
        "To heat {item} I need the {kind}. Then put it in {target}.",
        "Bring {item} to the {kind}, then put it in {target}.",
        "First heat {item}, then put it in {target}.",
    ),
    "heat": (
        "Heat {item} here and put it in {target}.",
        "Now I heat {item} to put it in {target}.",
        "I am at the {kind}. Heat {item}, then put it in {target}.",
        "{item} must be hot to put it in {target}.",
        "Use the {kind} to heat {item}, then put it in {target}.",
        "Time to heat {item} and put it in {target}.",
    ),
    "go_cool": (
        "I have {item}. Cool it, then put it in {target}.",
        "{item} must be cool to put it in {target}.",
        "Next I cool {item} and put it in {target}.",
        "To cool {item} I need the {kind}. Then put it in {target}.",
        "Bring {item} to the {kind}, then put it in {target}.",
        "First cool {item}, then put it in {target}.",
    ),
    "cool": (
        "Cool {item} here and put it in {target}.",
        "Now I cool {item} to put it in {target}.",
        "I am at the {kind}. Cool {item}, then put it in {target}.",
        "{item} must be cool to put it in {target}.",
        "Use the {kind} to cool {item}, then put it in {target}.",
        "Time to cool {item} and put it in {target}.",
    ),
    "go_put": (
        "I have {item}. Put it in {target}.",
        "Next I take {item} to put it in {target}.",
        "Go with {item} and put it in {target}.",
        "I carry {item} to put it in {target}.",
        "{item} is the {which}{object}: put it in {target}.",
        "It is time for {item}: put it in {target}.",
    ),
    "open_put": (
        "It is closed. Open the {target}.",
        "Open the {target} for the {object}.",
        "Open it to put {item} inside.",
        "Closed. I open it.",
        "First I open the {target}.",
        "I must open the {target}.",
    ),
    "put": (
        "Put {item} here.",
        "This is the {target}. Put {item} here.",
        "I place the {which}{object}, {item}.",
        "Now I put {item} down.",
        "I am at the {target}. Place {item}.",
        "The {which}{object}, {item}, goes here.",
    ),
    "go_use": (
        "I saw the {target} at the {kind}.",
        "The {target} is at the {kind}.",
        "Now I go to the {target}.",
        "I need the {target}.",
        "I know where the {target} is.",
        "Go to the {kind} to use the {target}.",
    ),
    "use": (
        "Here is the {target}. Turn it on.",
        "I use the {target}.",
        "Now turn on the {target}.",
        "The {target} is here.",
        "Look at it under the {target}.",
        "I hold the {object}. Use the {target}.",
    ),
}
