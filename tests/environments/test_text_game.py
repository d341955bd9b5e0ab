from typing import Any

import pytest

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.text_game import MAX_ACTION_CHARACTERS, OVER, Outcome, TextGame
from agentbank_jax.errors import AgentBankError

INSTANCE = Instance(id="count/test/0", fingerprint="0", payload=3)


class Count(TextGame):
    """A game of counting up to its payload; `heard` is what reached it."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.heard: list[str] = []

    def begin(self, payload: int) -> str:
        self.goal, self.number = payload, 0
        return "Count."

    def act(self, action: str) -> Outcome:
        self.heard.append(action)
        if action != "up":
            return Outcome(observation=self.impossible, reward=self.number / self.goal, invalid=True)
        self.number += 1
        return Outcome(
            observation=str(self.number),
            reward=self.number / self.goal,
            ended=self.number == self.goal,
            figures={"number": self.number},
        )

    def step_limit(self) -> int | None:
        return self.limit

    def expert_steps(self) -> list[ExpertStep]:
        return [ExpertStep(action="up", intent="count")] * self.goal

    def valid_actions(self) -> list[str]:
        return ["up"]


def begun(limit: int | None = None, payload: Any = 3) -> Count:
    game = Count(limit)
    game.reset(options={"instance": Instance(id="i", fingerprint="0", payload=payload)})
    return game


def test_the_last_reward_is_the_episodes_and_success_comes_with_the_end():
    game = begun()
    assert game.step("up") == ("1", pytest.approx(1 / 3), False, False, {"invalid_action": False, "number": 1})
    assert game.step("down")[1:] == (pytest.approx(1 / 3), False, False, {"invalid_action": True})
    game.step("up")
    assert game.step("up") == (
        "3", 1.0, True, False, {"invalid_action": False, "number": 3, "success": True, "steps": 4},
    )  # fmt: skip


def test_the_limit_cuts_an_episode_off_with_the_reward_it_has():
    game = begun(limit=2)
    assert game.step("up")[3] is False
    assert game.step("nonsense")[1:] == (
        pytest.approx(1 / 3), False, True, {"invalid_action": True, "success": False, "steps": 2},
    )  # fmt: skip


def test_an_end_at_the_limit_is_no_truncation():
    game = begun(limit=1, payload=1)
    assert game.step("up")[1:4] == (1.0, True, False)


@pytest.mark.parametrize("action", ["", " \n\t ", "a" * (MAX_ACTION_CHARACTERS + 1), "x" * 65536, "look\0"])
def test_what_is_no_line_of_a_game_never_reaches_it(action):
    game = begun()
    observation, reward, terminated, truncated, info = game.step(action)
    assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False)
    assert info["invalid_action"] and game.heard == []


def test_an_action_reaches_the_game_as_one_line_that_can_be_encoded():
    game = begun()
    game.step("  go\n to\tthe   kitchen ")
    game.step("\udcff")
    assert game.heard == ["go to the kitchen", "?"]


def test_after_the_end_nothing_reaches_the_game_and_the_reward_stays():
    game = begun(payload=1)
    game.step("up")
    observation, reward, terminated, _, info = game.step("up")
    assert (observation, reward, terminated) == (OVER, 1.0, True)
    assert info["invalid_action"] and info["success"] and game.heard == ["up"]


def test_a_reset_begins_anew():
    game = begun(payload=1)
    game.step("up")
    game.reset(options={"instance": INSTANCE})
    assert game.step("up")[1:3] == (pytest.approx(1 / 3), False)


def test_a_step_before_a_reset_and_a_reset_without_an_instance_are_errors():
    with pytest.raises(AgentBankError, match="step before reset"):
        Count().step("up")
    with pytest.raises(AgentBankError, match="an Instance"):
        Count().reset(options={})
