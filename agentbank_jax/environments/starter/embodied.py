"""The embodied starter family: small houses, and goals of ALFWorld's six kinds.

Training and test share the lists that houses are composed from; what differs is the combination. Houses are dealt to
the splits by their fingerprint: one in `TEST_SHARE` belongs to test, so that no test instance can occur in training
whatever the seeds.
"""

import random
from collections.abc import Callable

from agentbank_jax.environments.base import Instance, TextEnvironment
from agentbank_jax.environments.household import DEFAULT_MAX_STEPS, HouseholdEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec, check_split
from agentbank_jax.environments.starter.houses import GOAL_KINDS, HELD_OUT_KINDS, GoalKind, draw_house, fingerprint

TEST_SHARE = 8


def _generator(family: str, kinds: tuple[GoalKind, ...]) -> Callable[[str, int], Instance]:
    def instance(split: str, index: int) -> Instance:
        check_split(split)
        rng = random.Random(f"{family}/{split}/{index}")
        while True:
            drawn = draw_house(kinds, rng)
            if drawn is None:
                continue
            house, looks = drawn
            digest = fingerprint(house)
            if (int(digest, 16) % TEST_SHARE == 0) == (split == "test"):
                return Instance(id=f"{family}/{split}/{index}", fingerprint=digest, payload=house, difficulty=looks)

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
