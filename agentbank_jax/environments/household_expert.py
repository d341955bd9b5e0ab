"""The household's expert: looks for what it needs where it is usually found, then searches for a plan.

The expert never uses what the agent has not seen. It explores the likely places of an object type
(`House.likely_places`) in the order in which the first observation lists them, then the other
places, and stops as soon as it sees what it needs. What to do with it is found by heuristic search
over the environment itself, in which every object not yet seen has been taken away.
"""

from collections.abc import Callable, Iterator

from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.heuristic_search import heuristic_search
from agentbank_jax.environments.household import HouseholdEnvironment
from agentbank_jax.environments.household_estimate import steps_to_next_delivery
from agentbank_jax.environments.household_world import APPLIANCES, NOWHERE, Move, type_of

MAX_EXPANSIONS = 2000

ORDINALS = ("first", "second", "third", "fourth", "fifth")

IDLE_VERBS = frozenset({"close", "examine", "inventory", "look"})

# The intents of steps: while exploring, then those of a plan by verb, then of a walk by what it is for.
EXPLORING = ("explore_first", "explore_another", "explore_lamp", "explore_next", "explore_open")
VERB_INTENTS = {"take": "take", "put": "put", "clean": "clean", "hot": "heat", "cool": "cool", "use": "use"}
WALK_INTENTS = {verb: f"go_{intent}" for verb, intent in VERB_INTENTS.items()}
INTENTS = (*EXPLORING, *VERB_INTENTS.values(), *WALK_INTENTS.values(), "open_take", "open_put")


def expert_steps(environment: HouseholdEnvironment) -> list[ExpertStep]:
    """Returns the expert's steps from the environment's state, which is the same afterwards.

    The slots of every step are `object` (the type looked for), `target` (the type of receptacle or
    lamp that the goal names), `item` (the object handled), `place` (the receptacle concerned), `kind`
    (its type), `last` (the receptacle looked into before), `nth` (`first`, `second`, …) and `which` (the
    same with a space after it, and empty where one object is all that the goal asks for); a slot that has no
    meaning at a step is empty.
    """
    start = environment.snapshot()
    expert = _Expert(environment)
    try:
        expert.run()
    finally:
        environment.restore(start)
    return expert.steps


class _Expert:
    def __init__(self, environment: HouseholdEnvironment) -> None:
        self.environment = environment
        self.household = environment.household
        self.goal = environment.house.goal
        self.steps: list[ExpertStep] = []
        self.seen: set[int] = set()
        self.looked_into: set[int] = set()
        self.delivered = 0
        self._notice()

    def run(self) -> None:
        goal, household = self.goal, self.household
        if goal.lamp_type is None:
            while self.delivered < goal.count:
                if not self._find(goal.object_type) or not self._plan(lambda: household.delivered() > self.delivered):
                    return
                self.delivered += 1
        elif (
            self._find(goal.object_type)
            and self._plan(lambda: household.held in household.wanted)
            and self._find(goal.lamp_type)
        ):
            self._plan(household.is_won)

    # ---- exploring ----

    def _find(self, kind: str) -> bool:
        """Explores until an object of the type, not delivered yet, has been seen."""
        if kind == self.goal.lamp_type:
            intent = "explore_lamp"
        else:
            intent = "explore_another" if self.delivered else "explore_first"
        for place in self._places(kind):
            if self._knows(kind):
                break
            if place in self.looked_into:
                continue
            if place != self.household.at:
                self._take_step(Move("go", receptacle=place), intent, kind)
            if self.household.is_closed(place):
                self._take_step(Move("open", receptacle=place), "explore_open", kind)
            intent = "explore_next"
        return self._knows(kind)

    def _places(self, kind: str) -> Iterator[int]:
        types = self.household.receptacle_types
        likely = self.environment.house.likely_places.get(kind, ())
        for wanted in likely:
            yield from (place for place, found in enumerate(types) if found == wanted)
        yield from (place for place, found in enumerate(types) if found not in likely)

    def _knows(self, kind: str) -> bool:
        return any(self.household.object_types[item] == kind for item in self._open_items())

    def _open_items(self) -> Iterator[int]:
        """Seen objects that do not already lie where the goal wants them."""
        household = self.household
        done = {
            item for place in household.target_places for item in household.contents[place] if household.is_ready(item)
        }
        return (item for item in sorted(self.seen) if item not in done)

    # ---- planning ----

    def _plan(self, reached: Callable[[], bool]) -> bool:
        """Searches for actions after which `reached()` holds, and takes them."""
        environment, household = self.environment, self.household
        if reached():
            return True
        start = environment.snapshot()
        known = tuple(tuple(item for item in inside if item in self.seen) for inside in start.household.contents)
        environment.restore(start._replace(household=start.household._replace(contents=known)))
        result = heuristic_search(
            environment,
            actions=self._useful_actions,
            heuristic=lambda: steps_to_next_delivery(household),
            state_key=household.snapshot,
            is_goal=lambda reward, terminated: reached(),
            max_expansions=MAX_EXPANSIONS,
            first_found=False,
        )
        environment.restore(start)
        if result.actions is None:
            return False
        moves = [environment.parse(action) for action in result.actions]
        for position, move in enumerate(moves):
            assert move is not None  # the search only tries actions that we rendered
            after = next((later.verb for later in moves[position + 1 :] if later and later.verb in VERB_INTENTS), "put")
            match move.verb:
                case "go":
                    intent = WALK_INTENTS[after]
                case "open":
                    intent = "open_take" if after == "take" else "open_put"
                case verb:
                    intent = VERB_INTENTS[verb]
            item = next((later.object for later in moves[position:] if later and later.object >= 0), -1)
            self._take_step(move, intent, self.goal.object_type, item)
        return True

    def _useful_actions(self) -> Iterator[str]:
        """Valid actions without those that cannot lead on: idle looks, closing, walks to where nothing is needed."""
        household, goal = self.household, self.goal
        needed = {goal.receptacle_type, *(APPLIANCES[name] for name in goal.properties)}
        wanted = (goal.object_type, goal.lamp_type)
        for move in household.moves():
            if move.verb == "go":
                kind, inside = household.receptacle_types[move.receptacle], household.contents[move.receptacle]
                if kind not in needed and not any(household.object_types[item] in wanted for item in inside):
                    continue
            elif move.verb in IDLE_VERBS:
                continue
            yield self.environment.action_for(move)

    # ---- acting ----

    def _take_step(self, move: Move, intent: str, kind: str, item: int = -1) -> None:
        household, goal = self.household, self.goal
        place = move.receptacle if move.receptacle >= 0 else household.at
        slots = {
            "object": kind,
            "target": goal.receptacle_type or goal.lamp_type or "",
            "item": household.objects[item] if item >= 0 else "",
            "place": household.receptacles[place],
            "kind": type_of(household.receptacles[place]),
            "last": household.receptacles[household.at] if household.at != NOWHERE else "",
            "nth": ORDINALS[min(self.delivered, len(ORDINALS) - 1)],
        }
        slots["which"] = f"{slots['nth']} " if goal.count > 1 else ""
        action = self.environment.action_for(move)
        self.steps.append(ExpertStep(action=action, intent=intent, slots=slots))
        self.environment.step(action)
        self._notice()

    def _notice(self) -> None:
        household = self.household
        if household.at != NOWHERE and not household.is_closed(household.at):
            self.looked_into.add(household.at)
            self.seen.update(household.visible())
