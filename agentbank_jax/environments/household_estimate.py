"""How many steps a household's goal still needs, at least: what searches of it are guided by."""

import math

from agentbank_jax.environments.household_world import APPLIANCES, HELD, NOWHERE, PROPERTIES, Household


def steps_to_goal(household: Household) -> float:
    """The steps until the goal holds: never too many where it names at most one property; `math.inf` where none lead.

    Each object after the next one has to be walked to, taken, carried and put.
    """
    goal = household.goal
    if household.is_won():
        return 0.0
    further = 0
    if goal.lamp_type is None:
        at_target = goal.receptacle_type in {APPLIANCES[name] for name in goal.properties}
        # What stands in the appliance that it needs may be taken, changed and put back without a walk.
        further = (goal.count - household.delivered() - 1) * (2 if at_target else 4)
    return steps_to_next_delivery(household) + further


def steps_to_next_delivery(household: Household) -> float:
    """The steps that remain for the object at hand, or for the nearest known one: never too many."""
    if household.held != HELD:
        return _steps_holding(household, household.held, household.at)
    return min(
        (
            _reach(household, place) + 1 + _steps_holding(household, item, place, opened=place)
            for place, inside in enumerate(household.contents)
            for item in inside
            if item in household.wanted and not (place in household.target_places and household.is_ready(item))
        ),
        default=math.inf,
    )


def _steps_holding(household: Household, item: int, at: int, opened: int = NOWHERE) -> float:
    goal = household.goal
    if item not in household.wanted:
        return 2.0  # it has to be put down first
    if goal.lamp_type is not None:
        return _steps_to_light(household, at, opened)
    steps = 0.0
    here = household.receptacle_types[at] if at != NOWHERE else ""
    for name in PROPERTIES:
        if name in goal.properties and not household.properties[name] >> item & 1:
            steps += 1 + (here != APPLIANCES[name])
            here = APPLIANCES[name]
    closed = min((_is_closed(household, place, opened) for place in household.target_places), default=math.inf)
    return steps + 1 + (here != goal.receptacle_type) + closed


def _steps_to_light(household: Household, at: int, opened: int) -> float:
    return min(
        (
            (place != at) + _is_closed(household, place, opened) + (not household.lit >> item & 1)
            for place, inside in enumerate(household.contents)
            for item in inside
            if household.object_types[item] == household.goal.lamp_type
        ),
        default=0.0,
    )


def _reach(household: Household, place: int) -> int:
    return (place != household.at) + household.is_closed(place)


def _is_closed(household: Household, place: int, opened: int) -> bool:
    """Whether a place is still closed once `opened` no longer is."""
    return place != opened and household.is_closed(place)
