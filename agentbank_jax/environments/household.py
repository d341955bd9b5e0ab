"""The household: ALFWorld's actions, wording and goals over a house that an instance describes."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from agentbank_jax.environments.base import ExpertStep, TextEnvironment, payload_of
from agentbank_jax.environments.household_world import HELD, LAMPS, NOWHERE, House, Household, HouseholdError, Move
from agentbank_jax.environments.household_world import Snapshot as HouseholdSnapshot
from agentbank_jax.errors import did_you_mean

DEFAULT_MAX_STEPS = 40


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How actions and observations read.

    Fields:
      name: recorded in the protocol, such as `alfworld_released`.
      actions: verb to its pattern with `{object}`, `{receptacle}` or, for `examine`, `{thing}`.
      aliases: further patterns that an agent may write.
      observations: verb to the sentence that follows it; `{view}` is the content of the receptacle.
      impossible: the answer to what cannot be done or understood.
    """

    name: str
    actions: Mapping[str, str]
    aliases: tuple[tuple[str, str], ...]
    observations: Mapping[str, str]
    impossible: str = "Nothing happens."

    @cached_property
    def patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """Verb and compiled pattern of every action and alias."""
        return tuple(
            (verb, re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(pattern))))
            for verb, pattern in (*self.actions.items(), *self.aliases)
        )


# The older wording, in which the released trajectories are written.
ALFWORLD_RELEASED = Wording(
    name="alfworld_released",
    actions={
        "go": "go to {receptacle}",
        "open": "open {receptacle}",
        "close": "close {receptacle}",
        "take": "take {object} from {receptacle}",
        "put": "put {object} in/on {receptacle}",
        "clean": "clean {object} with {receptacle}",
        "hot": "heat {object} with {receptacle}",
        "cool": "cool {object} with {receptacle}",
        "use": "use {object}",
        "examine": "examine {thing}",
        "inventory": "inventory",
        "look": "look",
    },
    aliases=(("use", "toggle {object}"),),
    observations={
        "go": "{view}",
        "open": "You open the {receptacle}. {view}",
        "close": "You close the {receptacle}.",
        "take": "You pick up the {object} from the {receptacle}.",
        "put": "You put the {object} in/on the {receptacle}.",
        "clean": "You clean the {object} using the {receptacle}.",
        "hot": "You heat the {object} using the {receptacle}.",
        "cool": "You cool the {object} using the {receptacle}.",
        "use": "You turn {switch} the {object}.",
    },
)

WORDINGS: dict[str, Wording] = {wording.name: wording for wording in (ALFWORLD_RELEASED,)}


class Snapshot(NamedTuple):
    """An episode's changeable state: the household's, the steps taken, and whether the episode has ended."""

    household: HouseholdSnapshot
    steps: int
    ended: bool


class HouseholdEnvironment(TextEnvironment):
    """A text household: walk to receptacles, open them, take, change and put objects, until the goal holds.

    The payload of an instance is a `House`. Reward 1 and `terminated` when the goal is met, else 0.
    `info` has `invalid_action` (the action could not be done, so "Nothing happens."), `success` once
    the episode has ended, and `goal_progress`, the number of objects delivered so far.

    Args:
      wording: a name in `WORDINGS`.
      max_steps: actions after which an episode is truncated.

    Raises:
      HouseholdError: on an unknown wording.
    """

    def __init__(self, *, wording: str = ALFWORLD_RELEASED.name, max_steps: int = DEFAULT_MAX_STEPS) -> None:
        if wording not in WORDINGS:
            raise HouseholdError(f"no household wording is called '{wording}'.{did_you_mean(wording, WORDINGS)}")
        self.wording = WORDINGS[wording]
        self.max_steps = max_steps

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.house = payload_of(options, House, "household")
        self.household = Household(self.house)
        self.steps, self.ended = 0, False
        self._parsed: dict[str, Move | None] = {}
        self._rendered: dict[Move, str] = {}
        return f"{self._room()}\nYour task is to: {self.house.goal.text}", {"invalid_action": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        move = self.parse(action)
        if self.ended or move is None or not self.household.allows(move):
            observation, invalid = self.wording.impossible, True
        else:
            self.household.apply(move)
            observation, invalid = self._observe(move), False
        self.steps += 1
        won = not self.ended and self.household.is_won()
        self.ended = self.ended or won
        truncated = not self.ended and self.steps >= self.max_steps
        info: dict[str, Any] = {"invalid_action": invalid}
        if self.ended or truncated:
            info |= {"success": won, "goal_progress": self.household.delivered()}
        return observation, float(won), self.ended, truncated, info

    def snapshot(self) -> Snapshot:
        return Snapshot(self.household.snapshot(), self.steps, self.ended)

    def restore(self, saved: Snapshot) -> None:
        household, self.steps, self.ended = saved
        self.household.restore(household)

    def state_key(self) -> HouseholdSnapshot:
        """Equal for equal states, however many steps led there."""
        return self.household.snapshot()

    def valid_actions(self) -> list[str]:
        """Exactly the actions that do something now; the others are answered "Nothing happens."."""
        return [] if self.ended else [self.action_for(move) for move in self.household.moves()]

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions() or [self.wording.actions["look"]])

    def expert_steps(self) -> list[ExpertStep]:
        """Exploration of likely places, then heuristic search: see `household_expert`.

        Where the goal cannot be met the steps end early.
        """
        from agentbank_jax.environments.household_expert import expert_steps

        return expert_steps(self)

    def action_for(self, move: Move) -> str:
        """The action that makes `move`."""
        action = self._rendered.get(move)
        if action is None:
            item = self.household.objects[move.object] if move.object >= 0 else ""
            receptacle = self.household.receptacles[move.receptacle] if move.receptacle >= 0 else ""
            action = self.wording.actions[move.verb].format(
                object=item, receptacle=receptacle, thing=item or receptacle
            )
            self._rendered[move] = action
            self._parsed[action] = move
        return action

    def parse(self, action: str) -> Move | None:
        """The move that an action means, or None where it has no meaning in this house."""
        move = self._parsed.get(action)
        if move is None:
            move = self._parse(" ".join(action.lower().split()))
            if move is not None:
                self._parsed[action] = move
        return move

    def _parse(self, action: str) -> Move | None:
        objects, receptacles = self.household.object_number, self.household.receptacle_number
        for verb, pattern in self.wording.patterns:
            found = pattern.fullmatch(action)
            if found is None:
                continue
            names = found.groupdict()
            thing = names.pop("thing", None)
            if thing is not None:
                names["object" if thing in objects else "receptacle"] = thing
            item, receptacle = names.get("object"), names.get("receptacle")
            if (item is None or item in objects) and (receptacle is None or receptacle in receptacles):
                return Move(verb, objects.get(item, -1), receptacles.get(receptacle, -1))
        return None

    def _observe(self, move: Move) -> str:
        house = self.household
        match move.verb:
            case "inventory":
                if house.held == HELD:
                    return "You are not carrying anything."
                return f"You are carrying: a {house.objects[house.held]}."
            case "look":
                if house.at == NOWHERE:
                    return self._room()
                return f"You are facing the {house.receptacles[house.at]}. Next to it, you see nothing."
            case "examine":
                return self._view() if move.object < 0 else self._close_up(move.object)
        return self.wording.observations[move.verb].format(
            object=house.objects[move.object] if move.object >= 0 else "",
            receptacle=house.receptacles[move.receptacle] if move.receptacle >= 0 else "",
            view=self._view() if move.verb in ("go", "open") else "",
            switch="on" if house.lit >> max(move.object, 0) & 1 else "off",
        )

    def _view(self) -> str:
        house = self.household
        name = house.receptacles[house.at]
        if house.is_closed(house.at):
            return f"The {name} is closed."
        seen = _listing([house.objects[item] for item in house.visible()])
        if house.openable[house.at]:
            return f"The {name} is open. In it, you see {seen}."
        return f"On the {name}, you see {seen}."

    def _close_up(self, item: int) -> str:
        house = self.household
        name = house.objects[item]
        if house.object_types[item] in LAMPS:
            return f"The {name} is {'on' if house.lit >> item & 1 else 'off'}."
        properties = " and ".join(key for key, members in house.properties.items() if members >> item & 1)
        return f"This is a {properties} {name}." if properties else f"There's nothing special about {name}."

    def _room(self) -> str:
        seen = _listing(self.household.receptacles)
        return f"You are in the middle of a room. Looking quickly around you, you see {seen}."


def _listing(names: Sequence[str]) -> str:
    if len(names) < 2:
        return f"a {names[0]}" if names else "nothing"
    return ", ".join(f"a {name}" for name in names[:-1]) + f", and a {names[-1]}"
