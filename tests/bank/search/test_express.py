"""Search where states can only be brought back by replay: TextWorldExpress."""

import pytest

from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import replay
from agentbank_jax.bank.search.best_first import AStar, BreadthFirst
from agentbank_jax.bank.search.budget import Budget
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.search.iterative_deepening import IterativeDeepening
from agentbank_jax.bank.search.monte_carlo import MonteCarlo
from agentbank_jax.bank.search.searcher import search
from agentbank_jax.environments import registry
from agentbank_jax.environments.textworld_express import GAMES

SPEC = registry.get("textworld_express")
BUDGET = Budget(steps=100_000)

pytestmark = pytest.mark.arena


@pytest.fixture(scope="module")
def engine():
    if reason := SPEC.available():
        pytest.skip(reason)
    environment = SPEC.make()
    yield environment
    environment.close()


@pytest.mark.parametrize("game", ["coin", "mapreader", "simonsays", "peckingorder"])
@pytest.mark.parametrize(
    "searcher",
    [BreadthFirst(), IterativeDeepening(), AStar(heuristic="progress"), MonteCarlo(), Expert()],
    ids=lambda searcher: searcher.name,
)
def test_each_searcher_solves_games(engine, searcher, game):
    instance = SPEC.instance("train", GAMES.index(game))
    result = search(searcher, SPEC, instance, engine, budget=BUDGET)
    assert result.actions is not None
    assert not isinstance(replay(SPEC, instance, result.actions, environment=engine), Drop)
    if not isinstance(searcher, Expert):
        assert search(searcher, SPEC, instance, engine, budget=BUDGET) == result


def test_uninformed_searches_agree_on_the_shortest_solution(engine):
    for index in (3, 6, 7, 11, 14, 15):
        instance = SPEC.instance("train", index)
        blind, deepened = (
            search(searcher, SPEC, instance, engine, budget=BUDGET)
            for searcher in (BreadthFirst(), IterativeDeepening())
        )
        assert blind.actions and deepened.actions and len(blind.actions) == len(deepened.actions)


def test_no_game_is_solved_in_more_actions_than_its_gold_path(engine):
    """A state's key tells all of those states apart that a shorter solution needs: coin, map reader, pecking order."""
    for index in (2, 3, 7, 10, 11, 15):
        instance = SPEC.instance("train", index)
        found = search(BreadthFirst(), SPEC, instance, engine, budget=BUDGET).actions
        gold = search(Expert(), SPEC, instance, engine, budget=BUDGET).actions
        assert found and gold and len(found) <= len(gold)
