"""The search that finds expert actions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.heuristic_search import heuristic_search
from agentbank_jax.errors import AgentBankError

MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


class Grid:
    """A walk over a square grid; `finish` at the far corner ends it with reward 1."""

    def __init__(self, size: int, walls: frozenset[tuple[int, int]] = frozenset()):
        self.size, self.walls, self.at = size, walls - {(0, 0)}, (0, 0)

    def snapshot(self):
        return self.at

    def restore(self, snapshot):
        self.at = snapshot

    def step(self, action):
        corner = (self.size - 1, self.size - 1)
        if action == "finish":
            return "", float(self.at == corner), True, False, {"invalid_action": False}
        to = (self.at[0] + MOVES[action][0], self.at[1] + MOVES[action][1])
        if not (0 <= to[0] < self.size and 0 <= to[1] < self.size) or to in self.walls:
            return "", 0.0, False, False, {"invalid_action": True}
        self.at = to
        return "", 0.0, False, False, {"invalid_action": False}

    def distance(self):
        return 2 * self.size - 1 - sum(self.at)

    def search(self, **changes):
        settings = {
            "actions": lambda: [*MOVES, "finish"],
            "heuristic": self.distance,
            "max_expansions": 10_000,
            "first_found": False,
        }
        return heuristic_search(self, **{**settings, **changes})


def breadth_first_length(grid: Grid) -> int | None:
    frontier, seen, depth = {(0, 0)}, {(0, 0)}, 0
    while frontier:
        if (grid.size - 1, grid.size - 1) in frontier:
            return depth + 1
        reached = set()
        for at in frontier:
            for action in MOVES:
                grid.at = at
                grid.step(action)
                reached.add(grid.at)
        grid.at = (0, 0)
        frontier, depth = reached - seen, depth + 1
        seen |= reached
    return None


@given(st.integers(2, 6), st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14))
def test_a_star_with_an_admissible_heuristic_is_as_short_as_breadth_first_search(size, walls):
    grid = Grid(size, walls)
    found = grid.search().actions
    assert (len(found) if found else None) == breadth_first_length(grid)


@given(st.integers(2, 6), st.frozensets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14))
def test_the_found_actions_replay_to_the_goal_also_when_greedy(size, walls):
    grid = Grid(size, walls)
    result = grid.search(path_weight=0.0, first_found=True)
    assert grid.at == (0, 0), "the environment stands again where it stood"
    if result.actions is None:
        assert result.exhausted
        return
    rewards = [grid.step(action)[1] for action in result.actions]
    assert rewards[-1] == 1.0 and sum(rewards) == 1.0


def test_a_good_heuristic_expands_only_the_path():
    assert Grid(20).search(first_found=True).expansions == 39


def test_states_reached_twice_are_expanded_once():
    result = Grid(5).search(heuristic=lambda: 0.0)
    assert result.expansions <= 25 and result.duplicates > 0


def test_the_budget_ends_the_search_without_a_path():
    result = Grid(20).search(heuristic=lambda: 0.0, max_expansions=10)
    assert result.actions is None and result.expansions == 10 and not result.exhausted


def test_an_infinite_estimate_drops_a_state():
    grid = Grid(3)
    result = grid.search(heuristic=lambda: math.inf if grid.at == (2, 2) else 1.0)
    assert result.actions is None and result.exhausted


def test_a_state_key_may_merge_states():
    result = Grid(3).search(state_key=lambda: "all alike")
    assert result.actions is None and result.expansions == 1


@pytest.mark.parametrize("setting", [{"max_expansions": 0}, {"path_weight": -1.0}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(AgentBankError, match=next(iter(setting))):
        Grid(3).search(**setting)
