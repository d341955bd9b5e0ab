"""The state of a household: receptacles, objects, what can be done to them, and when a goal is met.

Nothing here speaks: `household.py` gives actions and observations their wording.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from agentbank_jax.errors import AgentBankError

Property = Literal["clean", "hot", "cool"]

PROPERTIES: tuple[Property, ...] = ("clean", "hot", "cool")

# As in ALFWorld: which receptacles have a door, which appliance gives which property, which objects are lamps.
OPENABLE = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe"})
APPLIANCES: dict[Property, str] = {"clean": "sinkbasin", "hot": "microwave", "cool": "fridge"}
LAMPS = frozenset({"desklamp", "floorlamp"})

HELD = -1
NOWHERE = -1


class HouseholdError(AgentBankError):
    """A house or goal that cannot be set up."""


def type_of(name: str) -> str:
    """`'apple'` for `'apple 2'`."""
    return name.rpartition(" ")[0]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What has to become true.

    Fields:
      object_type: the type of object, such as `apple`.
      receptacle_type: where it has to end up; None where it has to be held under a lamp.
      properties: what the object has to be when it arrives.
      count: how many objects of the type.
      lamp_type: the lamp that has to be on where the agent stands; None for goals of placing.
      text: the sentence shown to the agent after `Your task is to: `.
    """

    object_type: str
    receptacle_type: str | None = None
    properties: tuple[Property, ...] = ()
    count: int = 1
    lamp_type: str | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if (self.receptacle_type is None) == (self.lamp_type is None):
            raise HouseholdError(
                f"goal '{self.text}': expected either a receptacle or a lamp, "
                f"got {self.receptacle_type!r} and {self.lamp_type!r}."
            )
        unknown = [name for name in self.properties if name not in PROPERTIES]
        if unknown:
            raise HouseholdError(f"goal '{self.text}': properties {unknown}; expected some of {', '.join(PROPERTIES)}.")
        if self.count < 1:
            raise HouseholdError(f"goal '{self.text}': count is {self.count}; expected at least 1.")


@dataclass(frozen=True, kw_only=True)
class House:
    """A household and a goal in it: an instance's payload.

    Fields:
      contents: receptacle name to the objects in it, both in the order in which they are listed.
      goal: what has to become true.
      likely_places: object type to the types of receptacle in which it is usually found, likeliest
        first: common knowledge that the expert explores by, never the object's actual place.
    """

    contents: tuple[tuple[str, tuple[str, ...]], ...]
    goal: Goal
    likely_places: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Move(NamedTuple):
    """An action without wording: `verb` with the numbers of an object and a receptacle, -1 where there is none."""

    verb: str
    object: int = -1
    receptacle: int = -1


class Snapshot(NamedTuple):
    """Everything about a household that changes; sets are bit masks over receptacle or object numbers."""

    at: int
    held: int
    contents: tuple[tuple[int, ...], ...]
    open: int
    properties: tuple[int, int, int]
    lit: int


class Household:
    """A house in which moves change the state; every door is closed at the start."""

    def __init__(self, house: House) -> None:
        self.goal = house.goal
        self.receptacles: list[str] = [name for name, _ in house.contents]
        self.receptacle_types = [type_of(name) for name in self.receptacles]
        self.objects: list[str] = [name for _, inside in house.contents for name in inside]
        self.object_types = [type_of(name) for name in self.objects]
        self.openable = [kind in OPENABLE for kind in self.receptacle_types]
        self.receptacle_number: dict[str | None, int] = {name: number for number, name in enumerate(self.receptacles)}
        self.object_number: dict[str | None, int] = {name: number for number, name in enumerate(self.objects)}
        if len(self.receptacle_number) < len(self.receptacles) or len(self.object_number) < len(self.objects):
            raise HouseholdError("a house lists a receptacle or an object twice; give each its own number.")
        goal = house.goal
        self.target_places = [at for at, kind in enumerate(self.receptacle_types) if kind == goal.receptacle_type]
        self.wanted = frozenset(item for item, kind in enumerate(self.object_types) if kind == goal.object_type)
        self.at, self.held, self.open, self.lit = NOWHERE, -1, 0, 0
        self.properties = dict.fromkeys(PROPERTIES, 0)
        self.contents = [tuple(self.object_number[name] for name in inside) for _, inside in house.contents]

    def snapshot(self) -> Snapshot:
        clean, hot, cool = self.properties.values()
        return Snapshot(self.at, self.held, tuple(self.contents), self.open, (clean, hot, cool), self.lit)

    def restore(self, saved: Snapshot) -> None:
        self.at, self.held, contents, self.open, properties, self.lit = saved
        self.contents = list(contents)
        self.properties = dict(zip(PROPERTIES, properties, strict=True))

    def is_closed(self, receptacle: int) -> bool:
        return self.openable[receptacle] and not self.open >> receptacle & 1

    def visible(self) -> tuple[int, ...]:
        """The objects that can be seen in the receptacle in front of the agent."""
        return () if self.at == NOWHERE or self.is_closed(self.at) else self.contents[self.at]

    def moves(self) -> Iterator[Move]:
        """Every move that can be made now."""
        at, held = self.at, self.held
        for receptacle in range(len(self.receptacles)):
            if receptacle != at:
                yield Move("go", receptacle=receptacle)
        if at != NOWHERE:
            visible = self.visible()
            if self.openable[at]:
                yield Move("open" if self.is_closed(at) else "close", receptacle=at)
            for item in visible:
                if self.object_types[item] in LAMPS:
                    yield Move("use", item)
                elif held == HELD:
                    yield Move("take", item, at)
            if held != HELD:
                if not self.is_closed(at):
                    yield Move("put", held, at)
                for name, appliance in APPLIANCES.items():
                    if self.receptacle_types[at] == appliance and not self.properties[name] >> held & 1:
                        yield Move(name, held, at)
            yield Move("examine", receptacle=at)
            for item in visible:
                yield Move("examine", item)
        if held != HELD:
            yield Move("examine", held)
        yield Move("inventory")
        yield Move("look")

    def allows(self, move: Move) -> bool:
        """Whether the move can be made now: the same as `move in moves()`, without listing them."""
        verb, item, receptacle = move
        at, held = self.at, self.held
        match verb:
            case "inventory" | "look":
                return True
            case "go":
                return receptacle != at
            case "examine" if item < 0:
                return receptacle == at
            case "examine":
                return item == held or item in self.visible()
            case "use":
                return self.object_types[item] in LAMPS and item in self.visible()
            case "open":
                return receptacle == at and self.is_closed(at)
            case "close":
                return receptacle == at and self.openable[at] and not self.is_closed(at)
            case "take":
                return (
                    receptacle == at
                    and held == HELD
                    and item in self.visible()
                    and self.object_types[item] not in LAMPS
                )
            case "put":
                return receptacle == at and item == held and not self.is_closed(at)
            case "clean" | "hot" | "cool":
                return (
                    receptacle == at
                    and item == held
                    and self.receptacle_types[at] == APPLIANCES[verb]
                    and not self.properties[verb] >> item & 1
                )
        return False

    def apply(self, move: Move) -> None:
        """Makes a move that `allows` it."""
        verb, item, receptacle = move
        match verb:
            case "go":
                self.at = receptacle
            case "open" | "close":
                self.open ^= 1 << receptacle
            case "take":
                self.contents[receptacle] = tuple(other for other in self.contents[receptacle] if other != item)
                self.held = item
            case "put":
                self.contents[receptacle] += (item,)
                self.held = HELD
            case "use":
                self.lit ^= 1 << item
            case "clean":
                self.properties["clean"] |= 1 << item
            case "hot" | "cool":
                # What is heated is no longer cool, and the other way round.
                other: Property = "cool" if verb == "hot" else "hot"
                self.properties[verb] |= 1 << item
                self.properties[other] &= ~(1 << item)

    def is_ready(self, item: int) -> bool:
        """Whether an object has every property that the goal asks for."""
        return all(self.properties[name] >> item & 1 for name in self.goal.properties)

    def delivered(self) -> int:
        """How many objects of the goal's type are where the goal wants them, as the goal wants them."""
        return sum(
            item in self.wanted and self.is_ready(item) for place in self.target_places for item in self.contents[place]
        )

    def is_won(self) -> bool:
        goal = self.goal
        if goal.lamp_type is None:
            return self.delivered() >= goal.count
        return self.held in self.wanted and any(
            self.object_types[item] == goal.lamp_type and self.lit >> item & 1 for item in self.visible()
        )
