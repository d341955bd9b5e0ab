"""Problems to search: walks over small directed graphs, with and without snapshots."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment, payload_of
from agentbank_jax.environments.registry import EnvironmentSpec

MAX_STEPS = 12


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Places 0, 1, …: `roads[place]` are the places that its actions lead to; the walk is from 0 to the last.

    Fields:
      trap: a place that ends the walk without reward.
      progress: whether every step is worth what share of the way to the goal has been made, by the place's number.
    """

    roads: tuple[tuple[int, ...], ...]
    trap: int | None = None
    progress: bool = False

    @property
    def goal(self) -> int:
        return len(self.roads) - 1

    def distances(self) -> dict[int, int]:
        """The fewest steps from each place to the goal, counted backwards from it; independent of all searchers."""
        known, frontier = {self.goal: 0}, {self.goal}
        while frontier:
            frontier = {
                place
                for place, roads in enumerate(self.roads)
                if place not in known and place != self.trap and frontier & set(roads)
            }
            known |= dict.fromkeys(frontier, max(known.values()) + 1)
        return known


@st.composite
def graphs(draw) -> Graph:
    places = draw(st.integers(2, 9))
    place = st.integers(0, places - 1)
    roads = draw(st.lists(st.lists(place, max_size=4).map(tuple), min_size=places, max_size=places))
    trap = draw(st.none() | st.integers(1, places - 1).filter(lambda number: number != places - 1))
    return Graph(roads=tuple(roads), trap=trap)


class Walk(TextEnvironment):
    """A walk that can only be brought back by replay, and has no key of its own; counts its resets and steps."""

    def __init__(self) -> None:
        self.resets = self.taken = 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.graph = payload_of(options, Graph, "walk")
        self.at, self.best = 0, 0.0
        self.resets += 1
        return self._text(), {"invalid_action": False}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        if action not in self.valid_actions():
            return "There is no such road.", self.best, False, False, {"invalid_action": True}
        self.at = self.graph.roads[self.at][int(action.split()[1])]
        won = self.at == self.graph.goal
        if won or self.graph.progress:
            self.best = max(self.best, self.at / self.graph.goal)
        return self._text(), self.best, won or self.at == self.graph.trap, False, {"invalid_action": False}

    def valid_actions(self) -> list[str]:
        return [f"road {number}" for number in range(len(self.graph.roads[self.at]))]

    def expert_steps(self) -> list[ExpertStep]:
        distances, steps, at = self.graph.distances(), [], 0
        while at in distances and at != self.graph.goal:
            roads = self.graph.roads[at]
            number = min(range(len(roads)), key=lambda number: distances.get(roads[number], 99))
            steps.append(ExpertStep(action=f"road {number}", intent="walk", slots={"from": str(at)}))
            at = roads[number]
        return steps

    def sample_action(self, rng: random.Random) -> str:
        return rng.choice(self.valid_actions() or ["wait"])

    def _text(self) -> str:
        return f"You are at {self.at}."


class KeptWalk(Walk):
    """The same walk, with snapshots and a key."""

    def snapshot(self) -> tuple[int, float]:
        return self.at, self.best

    def restore(self, saved: tuple[int, float]) -> None:
        self.at, self.best = saved

    def state_key(self) -> int:
        return self.at


def spec_of(make=KeptWalk, **changes: Any) -> EnvironmentSpec:
    settings: dict[str, Any] = {
        "name": "walk",
        "skill": "embodied",
        "action_space": "discrete",
        "max_steps": MAX_STEPS,
        "protocol": f"walk/1 ({make.__name__})",
        "instruction": "Walk.",
        "make": make,
        "instance": lambda split, index: instance_of(line(index)),
    }
    return EnvironmentSpec(**{**settings, **changes})


def instance_of(graph: Graph) -> Instance:
    return Instance(id="walk/test/0", fingerprint="0", payload=graph)


def line(length: int, **changes: Any) -> Graph:
    """A way of `length` roads; from each place one road leads on and one back to the start."""
    return Graph(roads=(*((place + 1, 0) for place in range(length)), ()), **changes)
