"""Annotating by search: what a bank gets of a searcher."""

import json
import pickle

import pytest

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.engine import held_engine
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import Replayed, begin, replay
from agentbank_jax.bank.search.annotator import SearchAnnotator
from agentbank_jax.bank.search.best_first import AStar, BreadthFirst
from agentbank_jax.bank.search.budget import BUDGETS, Budget, budget_called
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.search.iterative_deepening import IterativeDeepening
from agentbank_jax.bank.search.monte_carlo import MonteCarlo
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.errors import AgentBankError
from tests.bank.search.graphs import MAX_STEPS, KeptWalk, Walk, instance_of, line, spec_of


def test_a_solution_comes_with_what_it_took():
    sequence = SearchAnnotator(searcher=BreadthFirst()).annotate(spec_of(), instance_of(line(3)))
    assert isinstance(sequence, ActionSequence)
    assert [step.action for step in sequence.steps] == ["road 0"] * 3
    assert (sequence.method, sequence.thoughts) == ("heuristic_search", ())
    assert sequence.cost == {"nodes_expanded": 3, "steps": 5, "duplicates": 2}


def test_a_drop_says_what_was_spent():
    drop = SearchAnnotator(searcher=BreadthFirst(), budget=Budget(steps=4)).annotate(spec_of(), instance_of(line(3)))
    detail = "breadth-first: 2 nodes expanded, 4 steps"
    assert drop == Drop(id="walk/test/0", reason="budget_steps", detail=detail)


def test_a_limit_in_seconds_is_recorded_and_leaves_no_other_trace_of_the_clock():
    slow = Budget(steps=1000, seconds=100.0)
    sequence = SearchAnnotator(searcher=BreadthFirst(), budget=slow).annotate(spec_of(), instance_of(line(3)))
    assert isinstance(sequence, ActionSequence)
    assert sequence.cost == {"nodes_expanded": 3, "steps": 5, "duplicates": 2, "budget_seconds": 100.0}
    fast = Budget(steps=1000, seconds=1e-9)
    drop = SearchAnnotator(searcher=BreadthFirst(), budget=fast).annotate(spec_of(), instance_of(line(3)))
    assert drop == Drop(id="walk/test/0", reason="budget_seconds", detail="breadth-first: 1e-09 seconds")


def test_an_annotator_is_picklable_and_its_facts_are_all_its_settings():
    annotator = SearchAnnotator(searcher=MonteCarlo(seed=3, heuristic="household"), budget=BUDGETS["weak"])
    copy = pickle.loads(pickle.dumps(annotator))
    assert copy == annotator
    assert json.loads(json.dumps(annotator.facts())) == {
        "searcher": "MonteCarlo",
        "settings": {
            "seed": 3,
            "exploration": 0.5,
            "rollout": 10,
            "heuristic": "household",
            "discount": 0.8,
            "backup": "max",
        },
        "budget": {"steps": 2000, "seconds": None},
        "max_steps": None,
    }
    assert AStar(heuristic="zero").name != AStar(heuristic="household").name


def test_one_engine_serves_one_problem_after_the_other_and_a_broken_one_is_replaced():
    made = []

    class Counted(Walk):
        def __init__(self):
            super().__init__()
            made.append(self)

        def step(self, action):
            if self.graph.goal == 5:
                raise RuntimeError("the engine is gone")
            return super().step(action)

    annotator, spec = SearchAnnotator(searcher=BreadthFirst()), spec_of(Counted)
    for length in (2, 3):
        assert isinstance(annotator.annotate(spec, instance_of(line(length))), ActionSequence)
    assert len(made) == 1
    with pytest.raises(RuntimeError, match="engine is gone"):
        annotator.annotate(spec, instance_of(line(5)))
    assert isinstance(annotator.annotate(spec, instance_of(line(3))), ActionSequence)
    assert len(made) == 2
    annotator.annotate(spec_of(KeptWalk), instance_of(line(3)))
    annotator.annotate(spec, instance_of(line(3)))
    assert len(made) == 3


def test_an_expert_leaves_out_what_is_refused_and_has_no_actions_listed_on_its_way():
    class Stumbling(Walk):
        def valid_actions(self):
            self.listed = getattr(self, "listed", 0) + 1
            return super().valid_actions()

        def step(self, action):
            listed = self.listed
            answer = super().step(action)
            self.listed = listed
            return answer

        def expert_steps(self):
            return [ExpertStep(action="road 9", intent="stumble"), *super().expert_steps()]

    spec = spec_of(Stumbling)
    sequence = SearchAnnotator(searcher=Expert()).annotate(spec, instance_of(line(4)))
    assert isinstance(sequence, ActionSequence) and [step.intent for step in sequence.steps] == ["walk"] * 4
    assert sequence.cost["steps"] == 5
    assert held_engine(spec).listed == 1  # at the start


def test_a_limit_of_actions_takes_the_place_of_the_environments_and_of_the_problems_own():
    class Limited(Walk):
        """A walk that is cut off after three actions, unless another limit is asked for."""

        def reset(self, *, seed=None, options=None):
            self.limit, self.walked = options.get("max_steps", 3), 0
            return super().reset(seed=seed, options=options)

        def step(self, action):
            observation, reward, terminated, _, info = super().step(action)
            self.walked += 1
            return observation, reward, terminated, self.walked >= self.limit, info

    spec, long = spec_of(Limited), instance_of(line(MAX_STEPS + 4))
    for searcher in (BreadthFirst(), IterativeDeepening(), Expert(), AStar(heuristic="zero"), MonteCarlo()):
        assert isinstance(SearchAnnotator(searcher=searcher).annotate(spec, long), Drop), searcher
        annotator = SearchAnnotator(searcher=searcher, max_steps=20)
        assert annotator.facts()["max_steps"] == 20
        sequence = annotator.annotate(spec, long)
        assert isinstance(sequence, ActionSequence) and len(sequence.steps) == MAX_STEPS + 4, searcher
        actions = [step.action for step in sequence.steps]
        for environment in (None, held_engine(spec)):
            assert isinstance(replay(spec, long, actions, environment=environment, max_steps=20), Replayed)
        drops = [replay(spec, long, actions, max_steps=limit) for limit in (None, MAX_STEPS + 3)]
        assert [drop.detail for drop in drops] == ["16 steps; walk allows 12", "16 steps; at most 15"]
    environment = begin(spec, long, max_steps=2)
    assert [environment.step("road 0")[3] for _ in range(2)] == [False, True]
    with pytest.raises(AgentBankError, match="max_steps is 0; expected at least 1"):
        SearchAnnotator(searcher=BreadthFirst(), max_steps=0)


def test_a_weak_budget_solves_what_is_easy_alone():
    spec = spec_of()
    weak, ample = (SearchAnnotator(searcher=BreadthFirst(), budget=Budget(steps=steps)) for steps in (10, 1000))
    solved = [isinstance(weak.annotate(spec, instance_of(line(length))), ActionSequence) for length in range(1, 12)]
    assert solved == sorted(solved, reverse=True) and 0 < sum(solved) < 11
    assert all(isinstance(ample.annotate(spec, instance_of(line(length))), ActionSequence) for length in range(1, 12))


def test_an_unknown_preset_is_told_with_the_nearest_name():
    assert budget_called("weak").steps < budget_called("standard").steps < budget_called("thorough").steps
    with pytest.raises(AgentBankError, match="Did you mean 'standard'"):
        budget_called("standart")
