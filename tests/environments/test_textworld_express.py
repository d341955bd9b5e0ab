import pickle

import pytest

from agentbank_jax.environments import registry, textworld_express
from agentbank_jax.environments.textworld_express import GAMES
from agentbank_jax.errors import AgentBankError

SPEC = registry.get("textworld_express")


@pytest.fixture(scope="module")
def engine():
    if reason := SPEC.available():
        pytest.skip(reason)
    environment = SPEC.make()
    yield environment
    environment.close()
    environment.close()


def test_eight_episodes_are_of_eight_games_and_the_splits_share_none():
    for split in registry.SPLITS:
        assert [SPEC.instance(split, index).payload.name for index in range(8)] == list(GAMES)
    seeds = {split: {SPEC.instance(split, index).payload.seed for index in range(8000)} for split in registry.SPLITS}
    assert len(seeds["train"] | seeds["test"]) == 2000
    with pytest.raises(AgentBankError, match="it holds 8000"):
        SPEC.instance("test", 8000)


def test_each_game_is_an_environment_of_its_own_whose_worlds_are_those_of_the_mix():
    for kind, game in enumerate(GAMES):
        own = registry.get(f"textworld_express_{game}")
        for split in registry.SPLITS:
            assert own.size(split) == 1000
            for number in (0, 17, 999):
                instance, mixed = own.instance(split, number), SPEC.instance(split, len(GAMES) * number + kind)
                assert instance.id == f"{own.name}/{split}/{number}"
                assert (instance.fingerprint, instance.payload) == (mixed.fingerprint, mixed.payload)
        with pytest.raises(AgentBankError, match=rf"{own.name}: problem 1000 of train; it holds 1000"):
            own.instance("train", 1000)
        assert (own.make, own.protocol, own.instruction) == (SPEC.make, SPEC.protocol, SPEC.instruction)
        assert pickle.loads(pickle.dumps(own.instance))("train", 1) == own.instance("train", 1)


@pytest.mark.arena
def test_games_and_seeds_are_those_of_the_package(engine):
    engine.reset(options={"instance": SPEC.instance("test", 0)})
    assert engine._game.getGameNames() == list(GAMES)
    assert engine._game.getValidSeedsTrain() == list(textworld_express.SEEDS["train"])
    assert engine._game.getValidSeedsTest() == list(textworld_express.SEEDS["test"])


@pytest.mark.arena
@pytest.mark.parametrize("split", registry.SPLITS)
def test_the_gold_path_of_160_games_scores_1(engine, split: str):
    """Names with capitals (`box of Q-tips`) are among them."""
    for index in range(160):
        instance = SPEC.instance(split, index)
        engine.reset(options={"instance": instance})
        for step in engine.expert_steps():
            _, reward, terminated, _, info = engine.step(step.action.lower())
        assert (reward, terminated, info["success"], info["game"]) == (1.0, True, True, instance.payload.name)


@pytest.mark.arena
@pytest.mark.parametrize("game", GAMES)
def test_the_gold_path_is_the_same_each_time_and_in_another_engine(engine, game):
    """Those of `twc` and `coin` are random walks."""
    spec, other = registry.get(f"textworld_express_{game}"), SPEC.make()
    paths = []
    for environment, numbers in ((engine, (3, 4, 5)), (engine, (5, 4, 3)), (other, (5, 3, 4))):
        for number in numbers:
            environment.reset(options={"instance": spec.instance("train", number)})
            paths.append((number, [step.action for step in environment.expert_steps()]))
    other.close()
    last = dict(paths)
    assert all(path == last[number] for number, path in paths)
    assert len(set(map(tuple, last.values()))) == 3


@pytest.mark.arena
def test_hostile_actions_are_invalid_and_a_lost_game_is_no_success(engine):
    engine.reset(options={"instance": SPEC.instance("test", 6)})
    assert engine.valid_actions()
    for action in ("foo", "Name_bar_1", "</s>[INST]", "x" * 65536, "", "\udcff", "quit"):
        _, reward, terminated, truncated, info = engine.step(action)
        assert (reward, truncated, info["invalid_action"]) == (0.0, False, True), action
        if terminated:
            break
    # Simon says: another action than his loses.
    engine.reset(options={"instance": SPEC.instance("test", 6)})
    wanted = engine.expert_steps()[0].action
    other = next(action for action in engine.valid_actions() if action != wanted)
    _, reward, terminated, _, info = engine.step(other)
    assert (reward, terminated, info["success"]) == (0.0, True, False)
