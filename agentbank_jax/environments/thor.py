"""AI2-THOR's rooms as text: what is seen, and discrete actions (Kolve et al. 2017, arXiv 1712.05474).

The simulator is the package `ai2thor`, which downloads a build when it is first started. Only its `Controller` is
used, by the few methods of the protocol below, so that a stand-in can play its part. The text is this project's own:
how the released trajectories of IQA and RoomR word observations and actions is not known.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from agentbank_jax.environments.packages import missing_package
from agentbank_jax.environments.text_game import Outcome, TextGame

Metadata = dict[str, Any]

MOVES = {
    "move_ahead": "MoveAhead",
    "move_back": "MoveBack",
    "move_left": "MoveLeft",
    "move_right": "MoveRight",
    "rotate_left": "RotateLeft",
    "rotate_right": "RotateRight",
    "look_up": "LookUp",
    "look_down": "LookDown",
}

_ON_THING = re.compile(r"(go to|open|close|take) (.+)")


class Event(Protocol):
    """What the simulator answers; `metadata` has `objects`, `lastActionSuccess` and more."""

    metadata: Metadata


class Controller(Protocol):
    """The part of `ai2thor.controller.Controller` that is used."""

    last_event: Event

    def reset(self, scene: str) -> Event: ...

    def step(self, action: str, **arguments: Any) -> Event: ...

    def stop(self) -> None: ...


def start_controller() -> Controller:
    """Starts the simulator."""
    from ai2thor.controller import Controller

    return Controller()


def missing_simulator() -> str | None:
    """None where the simulator's package is there, else what to install."""
    reason = missing_package("ai2thor", "ai2thor")
    return reason and f"{reason} (it downloads its simulator's build, and needs a display or a GPU)"


class ThorGame(TextGame):
    """A room of AI2-THOR that is walked through by text.

    Things are called by their type in lower case and a number, such as `fridge 1`. An agent moves by single steps and
    turns, or to a thing by its name: one that it has seen, or one that holds others and stands where it always does.
    It opens, closes and takes what is visible. What the simulator refuses is answered "Nothing happens.".

    Args:
      controller: starts the simulator.
    """

    _game: Controller

    def __init__(self, *, controller: Callable[[], Controller] = start_controller) -> None:
        self._controller = controller

    def enter(self, scene: str) -> None:
        """Loads a scene, the same one anew as well."""
        if self._game is None:
            self._game = self._controller()
        self._game.reset(scene)

    def name_things(self) -> None:
        """Names all things as they are now, and notes those that are known from the start."""
        kinds = defaultdict(list)
        for thing in self.things():
            kinds[thing["objectType"]].append(thing["objectId"])
        self.ids = {
            f"{kind.lower()} {number}": identifier
            for kind, identifiers in kinds.items()
            for number, identifier in enumerate(sorted(identifiers), start=1)
        }
        self.names = {identifier: name for name, identifier in self.ids.items()}
        self.known = {
            thing["objectId"] for thing in self.things() if thing.get("receptacle") and not thing.get("pickupable")
        }

    def things(self) -> list[Metadata]:
        """All objects of the scene."""
        return self._game.last_event.metadata["objects"]

    def thing(self, identifier: str) -> Metadata | None:
        """An object as it is now; None where it is gone."""
        return next((thing for thing in self.things() if thing["objectId"] == identifier), None)

    def command(self, action: str, **arguments: Any) -> bool:
        """Lets the simulator act; says whether it could."""
        return bool(self._game.step(action, **arguments).metadata["lastActionSuccess"])

    def move(self, action: str) -> bool:
        """Does an action that all rooms know; says whether it could be done."""
        if action in MOVES:
            return self.command(MOVES[action])
        found = _ON_THING.fullmatch(action)
        identifier = self.ids.get(found[2]) if found else None
        thing = self.thing(identifier) if identifier is not None else None
        if found is None or thing is None:
            return False
        if found[1] == "go to":
            return thing["objectId"] in self.known and self._go_to(thing)
        if not thing["visible"]:
            return False
        verb = {"open": "OpenObject", "close": "CloseObject", "take": "PickupObject"}[found[1]]
        return self.command(verb, objectId=thing["objectId"], **self.extra_arguments(verb, thing))

    def extra_arguments(self, verb: str, thing: Metadata) -> dict[str, Any]:
        """Further arguments of the simulator's for an action on a thing."""
        return {}

    def seen(self) -> str:
        """What is seen now; remembers it as known."""
        visible = [thing for thing in self.things() if thing["visible"] and thing["objectId"] in self.names]
        self.known.update(thing["objectId"] for thing in visible)
        texts = sorted(self._describe(thing) for thing in visible if not thing.get("isPickedUp"))
        held = [self.names[thing["objectId"]] for thing in visible if thing.get("isPickedUp")]
        holding = f" You hold {held[0]}." if held else ""
        return f"You see {', '.join(texts) or 'nothing'}.{holding}"

    def outcome(self, done: bool, reward: float, **more: Any) -> Outcome:
        """The outcome of an action that was done, or could not be."""
        text = self.seen() if done else self.impossible
        return Outcome(observation=text, reward=reward, invalid=not done, **more)

    def places(self) -> str:
        """The names of what holds other things."""
        return ", ".join(sorted(self.names[identifier] for identifier in self.known))

    def valid_actions(self) -> list[str]:
        return [*MOVES, *sorted(self._actions_on_things())]

    def end(self, game: Controller) -> None:
        game.stop()

    def _actions_on_things(self) -> Iterator[str]:
        holding = any(thing.get("isPickedUp") for thing in self.things())
        for thing in self.things():
            name = self.names.get(thing["objectId"])
            if name is None:
                continue
            if thing["objectId"] in self.known:
                yield f"go to {name}"
            if thing["visible"] and thing.get("openable"):
                yield f"{'close' if thing.get('isOpen') else 'open'} {name}"
            if thing["visible"] and thing.get("pickupable") and not holding:
                yield f"take {name}"

    def _go_to(self, thing: Metadata) -> bool:
        event = self._game.step("GetInteractablePoses", objectId=thing["objectId"])
        poses = event.metadata.get("actionReturn") or []
        return any(self.command("TeleportFull", **_full_pose(pose)) for pose in poses)

    def _describe(self, thing: Metadata) -> str:
        name = self.names[thing["objectId"]]
        if thing.get("openable"):
            return f"{name} ({'open' if thing.get('isOpen') else 'closed'})"
        holders = [self.names[holder] for holder in thing.get("parentReceptacles") or [] if holder in self.names]
        return f"{name} in/on {holders[-1]}" if holders and thing.get("pickupable") else name


def _full_pose(pose: Metadata) -> Metadata:
    """A pose as the simulator lists it, in the arguments that it takes."""
    return {**{key: pose[key] for key in ("x", "y", "z", "rotation", "horizon")}, "standing": pose["standing"]}
