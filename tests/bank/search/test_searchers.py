"""The searchers: shortest solutions, the same by snapshot and by replay, within the budget, always the same."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import replay
from agentbank_jax.bank.search import heuristics
from agentbank_jax.bank.search.best_first import AStar, BreadthFirst
from agentbank_jax.bank.search.budget import Budget
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.search.iterative_deepening import IterativeDeepening
from agentbank_jax.bank.search.monte_carlo import MonteCarlo
from agentbank_jax.bank.search.random_walk import RandomWalk
from agentbank_jax.bank.search.searcher import Nothing, search
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.household_world import Goal, House
from agentbank_jax.errors import AgentBankError
from tests.bank.search.graphs import MAX_STEPS, Graph, KeptWalk, Walk, graphs, instance_of, line, spec_of

AMPLE = Budget(steps=100_000)


@pytest.fixture(autouse=True)
def distance(monkeypatch):
    """An admissible heuristic of walks: the distance, less a little at every other place."""

    def estimate(environment, state):
        known = environment.graph.distances().get(environment.at)
        return math.inf if known is None else max(0, known - environment.at % 2)

    monkeypatch.setitem(heuristics.HEURISTICS, "distance", estimate)


def searchers():
    return [
        BreadthFirst(),
        IterativeDeepening(),
        AStar(heuristic="zero"),
        AStar(heuristic="distance"),
        AStar(heuristic="distance", path_weight=0.0),
        MonteCarlo(),
        MonteCarlo(heuristic="distance"),
        MonteCarlo(rollout=0, backup="mean"),
        Expert(),
    ]


def run(searcher, graph: Graph, make=KeptWalk, budget=AMPLE, **changes):
    return search(searcher, spec_of(make, **changes), instance_of(graph), make(), budget=budget)


def shortest(graph: Graph) -> int | None:
    length = graph.distances().get(0)
    return length if length is not None and length <= MAX_STEPS else None


@given(graphs())
def test_uninformed_searches_and_a_star_with_an_admissible_heuristic_find_shortest_solutions(graph):
    for searcher in searchers()[:4]:
        result = run(searcher, graph)
        assert (len(result.actions) if result.actions else None) == shortest(graph), searcher
        if result.actions is None:
            assert result.found == Nothing(reason="exhausted"), searcher


@given(graphs())
def test_every_searcher_solves_what_can_be_solved_and_its_actions_replay(graph):
    spec, instance = spec_of(), instance_of(graph)
    for searcher in searchers():
        result = run(searcher, graph)
        assert (result.actions is None) == (shortest(graph) is None), searcher
        if result.actions is not None:
            assert not isinstance(replay(spec, instance, result.actions), Drop), searcher
        elif searcher != Expert():
            assert result.found == Nothing(reason="exhausted"), searcher


@given(graphs(), st.sampled_from(range(9)))
def test_replay_and_snapshots_give_the_same_search(graph, number):
    """But for the steps: those of a replay are counted."""
    searcher = [*searchers(), None][number]
    kept, replayed = run(searcher, graph), run(searcher, graph, Walk)
    assert (kept.found, kept.nodes, kept.duplicates) == (replayed.found, replayed.nodes, replayed.duplicates)
    assert kept.steps <= replayed.steps


@given(graphs(), st.integers(1, 60), st.sampled_from(range(9)), st.sampled_from([Walk, KeptWalk]))
def test_no_search_takes_more_steps_than_its_budget(graph, steps, number, make):
    environment = make()
    searcher = searchers()[number]
    result = search(searcher, spec_of(make), instance_of(graph), environment, budget=Budget(steps=steps))
    assert environment.taken == result.steps <= steps
    full = run(searcher, graph, make)
    # It is given up before a step for which the budget no longer reaches, be it one that would not have been taken.
    if full.steps + 2 * MAX_STEPS < steps:
        assert result == full
    elif full.steps > steps and result.actions is None:
        assert result.found == Nothing(reason="budget_steps")


def test_the_steps_of_replays_count_against_the_budget():
    for searcher in searchers():
        for steps in range(1, 60):
            environment = Walk()
            search(searcher, spec_of(Walk), instance_of(line(8)), environment, budget=Budget(steps=steps))
            assert environment.taken <= steps, (searcher, steps)


def test_a_state_is_tried_again_where_it_is_reached_in_fewer_actions():
    """The second road of the start is a detour to where the first leads, after which there are too few actions left."""
    ahead = [(place + 1,) for place in range(4, MAX_STEPS + 2)]
    graph = Graph(roads=((1, 2), (4,), (3,), (1,), *ahead, ()))
    assert shortest(graph) == MAX_STEPS
    for searcher in (*searchers(), *(MonteCarlo(seed=seed, rollout=0) for seed in range(10))):
        found = run(searcher, graph).actions
        assert found is not None and len(found) == MAX_STEPS, searcher


def test_equal_states_are_expanded_once():
    """Every place of the grid can be reached in many ways, and is expanded once."""
    side = 5
    roads = [
        tuple(row * side + column + step for step, free in ((1, column < side - 1), (side, row < side - 1)) if free)
        for row in range(side)
        for column in range(side)
    ]
    result = run(BreadthFirst(), Graph(roads=tuple(roads)))
    assert result.actions and len(result.actions) == 8
    assert result.nodes <= side * side and result.duplicates > 0
    everything = run(MonteCarlo(rollout=0), Graph(roads=(*roads[:-1], (0,), ())))
    assert everything.found == Nothing(reason="exhausted") and everything.nodes == side * side


def test_iterative_deepening_goes_on_where_it_stands_instead_of_replaying():
    environment = Walk()
    line_ahead = Graph(roads=(*((place + 1,) for place in range(6)), ()))
    search(IterativeDeepening(), spec_of(Walk), instance_of(line_ahead), environment, budget=AMPLE)
    assert environment.resets == 6  # one for each depth


def test_the_depth_is_at_most_the_environments_max_steps():
    for searcher in searchers():
        found = run(searcher, line(MAX_STEPS)).actions
        assert found is not None and len(found) == MAX_STEPS, searcher
        too_far = run(searcher, line(MAX_STEPS + 1)).found
        assert isinstance(too_far, Nothing) and too_far.reason in ("exhausted", "no_plan"), searcher


def test_a_trap_is_not_walked_through():
    graph = Graph(roads=((1, 2), (4,), (3,), (4,), ()), trap=1)
    for searcher in searchers():
        assert run(searcher, graph).actions == ("road 1", "road 0", "road 0"), searcher


def test_actions_that_the_environment_refuses_are_left_out():
    class Boaster(KeptWalk):
        def valid_actions(self):
            return ["road 9", *super().valid_actions()]

        def step(self, action):
            if action == "road 9":
                return "There is no such road.", 0.0, False, False, {"invalid_action": True}
            return super().step(action)

    for searcher in searchers():
        assert run(searcher, line(3), Boaster).actions == ("road 0",) * 3, searcher


def test_a_good_heuristic_expands_only_the_path():
    assert run(AStar(heuristic="distance"), line(9)).nodes <= 10


def test_monte_carlo_is_decided_by_its_seed():
    graph = line(8)
    results = [run(MonteCarlo(seed=seed), graph) for seed in range(6)]
    assert results == [run(MonteCarlo(seed=seed), graph) for seed in range(6)]
    assert len({result.steps for result in results}) > 1


@given(graphs(), st.integers(1, 60))
@settings(max_examples=40)
def test_random_play_finds_only_what_replays_and_ends_with_its_budget(graph, steps):
    for make in (KeptWalk, Walk):
        result = run(RandomWalk(), graph, make, Budget(steps=steps))
        assert result.steps <= steps
        if result.actions is None:
            assert result.found.reason in ("budget_steps", "exhausted")
        else:
            assert not isinstance(replay(spec_of(make), instance_of(graph), result.actions), Drop)
    assert run(RandomWalk(), graph, budget=Budget(steps=steps)) == run(RandomWalk(), graph, budget=Budget(steps=steps))


def test_random_play_solves_what_is_short_and_is_decided_by_its_seed():
    actions = run(RandomWalk(), line(3), budget=Budget(steps=500)).actions
    assert actions is not None and actions[-3:] == ("road 0",) * 3
    assert run(RandomWalk(), line(9), budget=Budget(steps=40)).actions is None
    assert len({run(RandomWalk(seed=seed), line(4)).steps for seed in range(5)}) > 1


def test_rewards_on_the_way_draw_monte_carlo_to_the_goal():
    """In a tree whose last leaf is the goal."""
    roads = (*((2 * place + 1, 2 * place + 2) for place in range(255)), *[()] * 256)
    blind, shown = (
        sum(run(MonteCarlo(seed=seed, rollout=3), graph).steps for seed in range(8))
        for graph in (Graph(roads=roads), Graph(roads=roads, progress=True))
    )
    assert 2 * shown < blind


def test_monte_carlo_cuts_its_detours():
    for seed in range(20):
        assert run(MonteCarlo(seed=seed, rollout=MAX_STEPS), line(3)).actions == ("road 0",) * 3


def test_the_experts_steps_keep_their_intents():
    found = run(Expert(), line(3)).found
    assert not isinstance(found, Nothing)
    assert [(step.intent, step.slots["from"]) for step in found] == [("walk", "0"), ("walk", "1"), ("walk", "2")]
    assert run(Expert(), Graph(roads=((0,), ()))).found == Nothing(
        reason="no_plan", detail="the expert's 0 steps do not reach the reward"
    )


def test_a_limit_in_seconds_ends_a_search():
    endless = Graph(roads=(*((place, *range(300)) for place in range(300)), ()))
    for searcher in searchers()[:3]:
        result = run(searcher, endless, budget=Budget(steps=10**9, seconds=1e-6))
        assert result.found == Nothing(reason="budget_seconds"), searcher


def test_an_environment_that_never_repeats_itself_is_told_so():
    class Moody(Walk):
        def step(self, action):
            observation, _, terminated, truncated, info = super().step(action)
            return observation, self.taken / 1000, terminated, truncated, info

    result = run(BreadthFirst(), line(4), Moody)
    assert isinstance(result.found, Nothing) and result.found.reason == "unrepeatable"


def test_an_environment_without_a_list_of_actions_is_refused():
    class Silent(KeptWalk):
        def valid_actions(self):
            return None

    with pytest.raises(AgentBankError, match="walk: its valid actions cannot be listed"):
        run(BreadthFirst(), line(2), Silent)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AStar(heuristic="distnace"), "Did you mean 'distance'"),
        (lambda: AStar(heuristic="zero", path_weight=-1.0), "path_weight is -1"),
        (lambda: MonteCarlo(heuristic="housheold"), "Did you mean 'household'"),
        (lambda: MonteCarlo(rollout=-1), "rollout is -1"),
        (lambda: MonteCarlo(discount=1.0), "discount is 1"),
        (lambda: MonteCarlo(backup="maximum"), "no backup is called 'maximum'"),
        (lambda: MonteCarlo(exploration=-0.1), "exploration is -0.1"),
        (lambda: Budget(steps=0), "0 steps"),
        (lambda: Budget(steps=1, seconds=0.0), "0.0 seconds"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(AgentBankError, match=message):
        make()


# ---- the household ----

PLACES = ("countertop 1", "shelf 1", "sinkbasin 1", "fridge 1", "countertop 2")
THINGS = ("apple 1", "apple 2", "mug 1", "desklamp 1")
GOALS = (
    Goal(object_type="apple", receptacle_type="countertop", text="put"),
    Goal(object_type="apple", receptacle_type="shelf", properties=("clean",), text="clean"),
    Goal(object_type="apple", receptacle_type="sinkbasin", properties=("clean",), text="clean and leave"),
    Goal(object_type="apple", receptacle_type="fridge", properties=("cool",), text="cool and leave"),
    Goal(object_type="apple", receptacle_type="shelf", count=2, text="two"),
    Goal(object_type="mug", lamp_type="desklamp", text="look"),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GOALS), st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_the_households_heuristic_is_never_too_much(goal, places):
    """A* with it is as short as breadth-first search, and expands less."""
    spec = registry.get("starter_embodied")
    inside = {place: [] for place in PLACES}
    for thing, place in zip(THINGS, places, strict=True):
        inside[PLACES[place]].append(thing)
    house = House(contents=tuple((place, tuple(things)) for place, things in inside.items()), goal=goal)
    instance = Instance(id="house/0", fingerprint="0", payload=house)
    blind = search(BreadthFirst(), spec, instance, spec.make(), budget=AMPLE)
    guided = search(AStar(heuristic="household"), spec, instance, spec.make(), budget=AMPLE)
    assert (blind.actions is None) == (guided.actions is None)
    assert len(blind.actions or ()) == len(guided.actions or ())
    assert guided.nodes <= blind.nodes + 1


def test_each_searcher_solves_houses_of_the_starter_family():
    spec = registry.get("starter_embodied")
    easy = next(
        instance
        for instance in (spec.instance("train", index) for index in range(100))
        if not instance.payload.goal.properties and instance.payload.goal.count == 1
    )
    for searcher in (
        BreadthFirst(),
        IterativeDeepening(),
        AStar(heuristic="household"),
        MonteCarlo(heuristic="household"),
        Expert(),
    ):
        result = search(searcher, spec, easy, spec.make(), budget=AMPLE)
        assert result.actions is not None, searcher
        assert not isinstance(replay(spec, easy, result.actions), Drop)


def test_the_household_is_searched_alike_by_snapshot_and_by_replay():
    spec = registry.get("starter_embodied")
    for index in range(5):
        instance = spec.instance("train", index)
        kept, replayed = (
            search(AStar(heuristic="household"), spec, instance, spec.make(), budget=AMPLE, snapshots=snapshots)
            for snapshots in (True, False)
        )
        assert (kept.found, kept.nodes, kept.duplicates) == (replayed.found, replayed.nodes, replayed.duplicates)
