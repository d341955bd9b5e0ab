"""What an agent knows of a text game from what it has observed: the places, the way between them, what is needed."""

import re
from collections import deque

OPPOSITES = {"north": "south", "south": "north", "east": "west", "west": "east"}

_PLACE = re.compile(r"You are in the ([^.]+)\.|-= (.+?) =-|This room is called the ([^.]+)\.|You move to the ([^.]+)\.")
_EXIT = re.compile(r"to the (north|south|east|west) you see the ([^.]+)\.", re.IGNORECASE)
_REVEALED = re.compile(r"revealing the ([^.]+)\.")
_OPEN_OR_NOT = re.compile(r"door to the ([^(\n]+?) \(that is (open|closed)\)", re.IGNORECASE)
_OPENED = re.compile(r"open door to (?:the )?(.+)")
_CLOSED = re.compile(r"close door to (?:the )?(.+)")
_WAY = re.compile(r"(?:move|go) (north|south|east|west)")
_DOOR = re.compile(r"open door to (north|south|east|west)")
_MAP_LINE = re.compile(r"The ([^.\n]+?) connects to the ([^.\n]+)\.")
_ERRAND = re.compile(r"take the coin that is located in the (.+?), and put it into the box found in the (.+?)\.")
_SUM = re.compile(r"math problem: (add|subtract|multiply|divide) (\d+) (?:and|by|from) (\d+)")
_DEGREES = re.compile(r"measures a temperature of (-?\d+)")


class GameMemory:
    """Hears an episode, observation by observation.

    Attributes:
      goal: the first paragraph of the first observation.
      told: all observations so far, in lower case.
      last: the latest one.
      actions: those taken so far.
      place: where the agent is; empty where it was not said.
      visited: the places where it has been.
      needed: ingredients of a recipe that was read, in its order, which are not taken yet.
      taken: things that were taken.
    """

    def __init__(self) -> None:
        self.goal = self.told = self.last = self.place = ""
        self.actions: list[str] = []
        self.visited: set[str] = set()
        self.needed: list[str] = []
        self.taken: list[str] = []
        self._exits: dict[tuple[str, str], str] = {}
        self._map: dict[str, set[str]] = {}
        # Of the place where the agent is: ScienceWorld names a door by what is behind it.
        self._open: set[str] = set()

    def hear(self, action: str | None, observation: str) -> None:
        """Takes in what the environment said, after an action or at the start (None)."""
        if action is None:
            self.goal = observation.partition("\n\n")[0] if "-= " in observation else _task(observation)
        else:
            self.actions.append(action)
        self.last = observation
        self.told += "\n" + observation.lower()
        before = self.place
        if found := _PLACE.search(observation):
            self.place = next(filter(None, found.groups())).lower()
            self.visited.add(self.place)
        if self.place != before:
            self._open.clear()
        for place, state in _OPEN_OR_NOT.findall(observation):
            (self._open.add if state.lower() == "open" else self._open.discard)(place.lower())
        for direction, place in _EXIT.findall(observation):
            if " closed " not in f" {place} ":
                self._exits[self.place, direction.lower()] = place.lower()
        if action is not None:
            self._learn(action, observation, before)

    def _learn(self, action: str, observation: str, before: str) -> None:
        if (way := _WAY.fullmatch(action)) and before and self.place != before:
            self._exits[before, way[1]] = self.place
            self._exits[self.place, OPPOSITES[way[1]]] = before
        if (door := _DOOR.fullmatch(action)) and (revealed := _REVEALED.search(observation)):
            self._exits[self.place, door[1]] = revealed[1].lower()
        if (opened := _OPENED.fullmatch(action)) and re.search("(?:now|already) open", observation):
            self._open.add(opened[1])
        if closed := _CLOSED.fullmatch(action):
            self._open.discard(closed[1])
        if action.startswith("take ") and observation.startswith("You take"):
            item = action.removeprefix("take ")
            self.taken.append(item)
            self.needed = [each for each in self.needed if each != item]
        if action.startswith("read ") and "Ingredients:" in observation:
            listed = observation.partition("Ingredients:")[2].partition("Directions:")[0]
            self.needed = [line.strip() for line in listed.splitlines() if line.strip() not in ("", *self.taken)]
        if action == "read map":
            for place, others in _MAP_LINE.findall(observation):
                for other in re.split(r", | and (?:the )?", others):
                    self._map.setdefault(place.lower(), set()).add(other.lower())
                    self._map.setdefault(other.lower(), set()).add(place.lower())

    def behind(self, direction: str) -> str | None:
        """The place in a direction, where it is known."""
        return self._exits.get((self.place, direction))

    def sees_open(self, place: str) -> bool:
        """Whether the door to a place was seen open from where the agent is."""
        return place.removeprefix("the ") in self._open

    @property
    def sought(self) -> str | None:
        """What is looked for: the coin, or the recipe's first ingredient that is missing."""
        if self.needed:
            return self.needed[0]
        return "coin" if "coin" in self.goal and "coin" not in self.taken else None

    @property
    def target(self) -> str | None:
        """Where an errand leads next: to the coin, and then to the box."""
        errand = _ERRAND.search(self.goal)
        return None if errand is None else errand[2 if "coin" in self.taken else 1].lower()

    def leads_to(self, place: str, target: str) -> bool:
        """Whether by the map a place is nearer to a target than where the agent is."""
        return self._distance(place, target) < self._distance(self.place, target)

    @property
    def solved(self) -> tuple[str, int] | None:
        """The math problem that was read, as an expression, and its result."""
        found = _SUM.search(self.told)
        if found is None:
            return None
        one, two = int(found[2]), int(found[3])
        if found[1] == "subtract":
            return f"{two} - {one}", two - one
        if found[1] == "divide":
            return f"{one} / {two}", one // max(1, two)
        return (f"{one} + {two}", one + two) if found[1] == "add" else (f"{one} * {two}", one * two)

    @property
    def degrees(self) -> str | None:
        """The temperature that was measured last."""
        return (_DEGREES.findall(self.told) or [None])[-1]

    def _distance(self, start: str, goal: str) -> float:
        queue, known = deque([start]), {start: 0.0}
        while queue:
            place = queue.popleft()
            if place == goal:
                return known[place]
            for other in sorted(self._map.get(place, ())):
                if other not in known:
                    known[other] = known[place] + 1
                    queue.append(other)
        return float("inf")


def _task(observation: str) -> str:
    lines = observation.split("\n")
    return lines[1] if lines[0] == "Task Description:" and len(lines) > 1 else lines[0]
