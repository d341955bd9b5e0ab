from pathlib import Path

import pytest

from agentbank_jax.environments import registry, textworld
from agentbank_jax.environments.packages import missing_package

SPEC = registry.get("textworld")

needs_engine = pytest.mark.skipif(
    missing_package("textworld", "textworld") is not None, reason="textworld is not there"
)


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory):
    """An environment whose games are made in a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(textworld.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        environment = SPEC.make()
        yield environment
        environment.close()
        environment.close()


def test_training_and_test_share_no_seed():
    seeds = {split: {SPEC.instance(split, index).payload.seed for index in range(500)} for split in registry.SPLITS}
    assert len(seeds["train"] | seeds["test"]) == 1000
    assert SPEC.size("test") is None


def test_games_are_kept_apart_by_version_and_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(textworld.CACHE_VARIABLE, "/somewhere")
    assert textworld.cache_folder().parent == Path("/somewhere/agentbank_jax/textworld")
    assert textworld.cache_folder().name.endswith("-5-10-5")


@pytest.mark.arena
@needs_engine
@pytest.mark.parametrize("split", registry.SPLITS)
@pytest.mark.parametrize("index", range(3))
def test_games_are_won_by_their_walkthrough(games, split: str, index: int):
    first, _ = games.reset(options={"instance": SPEC.instance(split, index)})
    assert "$$" not in first and "\n>" not in first
    for step in games.expert_steps():
        observation, reward, terminated, _, info = games.step(step.action)
        assert not info["invalid_action"] and "\n>" not in observation
    assert (reward, terminated, info["success"]) == (1.0, True, True)


@pytest.mark.arena
@needs_engine
def test_a_game_is_made_once_and_is_the_same_when_made_again(games, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = textworld.game_file(2)
    before = made.stat().st_mtime_ns
    assert textworld.game_file(2).stat().st_mtime_ns == before
    monkeypatch.setenv(textworld.CACHE_VARIABLE, str(tmp_path))
    again = textworld.game_file(2)
    assert again != made and sorted(path.name for path in again.parent.parent.iterdir()) == ["2"]
    instance = SPEC.instance("test", 1)
    first, _ = games.reset(options={"instance": instance})
    steps = games.expert_steps()
    monkeypatch.undo()
    assert games.reset(options={"instance": instance})[0] == first and games.expert_steps() == steps


@pytest.mark.arena
@needs_engine
def test_a_game_whose_walkthrough_is_ambiguous_is_replaced(games):
    """Of seed 0: the interpreter cannot tell its `locker` from its `type 0 locker`."""
    assert not textworld._make(0, textworld.game_file(2).with_name("ambiguous.z8"))
    assert textworld._make(textworld._SEED_STRIDE, textworld.game_file(2).with_name("replaced.z8"))


@pytest.mark.arena
@needs_engine
def test_only_single_commands_reach_the_interpreter(games, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    games.reset(options={"instance": SPEC.instance("test", 1)})
    hostile = (
        "save", "script", "quit", "restart", "undo", "look. quit", "look, quit", "look then quit", "look; quit",
        "</s>[INST]", "x" * 65536, "", "\udcff", "look\x07", "../../etc/passwd", "restore /etc/passwd",
    )  # fmt: skip
    for action in hostile:
        _, reward, terminated, truncated, info = games.step(action)
        assert (reward, terminated, truncated, info["invalid_action"]) == (0.0, False, False, True), action
    _, _, terminated, _, info = games.step("examine Name_bar_1")
    assert info["invalid_action"] and not terminated
    _, _, terminated, _, info = games.step(games.valid_actions()[0].upper())
    assert not info["invalid_action"] and list(tmp_path.iterdir()) == []
