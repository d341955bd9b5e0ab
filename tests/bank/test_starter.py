"""Starter trajectories: replayed, worded, reward 1, and never an instance of the test split."""

import re

import pytest

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.calculator import CalculatorEnvironment
from agentbank_jax.trajectories.schema import Trajectory
from tests.bank.made import STARTER_TASKS, made, starter_trajectory

INSTANCES = 60
# Also far beyond what a bank of 50,000 takes from a family.
TRAIN_INDICES = [*range(1500), *range(9000, 9300), *range(199_700, 200_000)]
TEST_INDICES = [*range(600), *range(9000, 9200)]


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_every_trajectory_replays_to_its_recorded_reward(task: str) -> None:
    spec = registry.get(task)
    turns = 0
    for index in range(INSTANCES):
        trajectory = starter_trajectory(task, index)
        assert trajectory.metadata["reward"] == 1.0
        turns += trajectory.assistant_turns
        environment = spec.make()
        observation, _ = environment.reset(options={"instance": spec.instance("train", index)})
        reward, terminated = 0.0, False
        for position, turn in enumerate(trajectory.turns):
            if turn.role == "user":
                assert turn.content == (f"Observation: {observation}" if position else observation)
                continue
            thought, _, action = turn.content.partition("\n")
            assert re.fullmatch(r"Thought: \S.*", thought)
            assert action.startswith(("Action: ", "Final Answer: "))
            observation, reward, terminated, _, _ = environment.step(action.removeprefix("Action: "))
        assert reward == 1.0
        assert terminated
    assert turns / INSTANCES >= 3


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_no_test_instance_occurs_in_training(task: str) -> None:
    spec = registry.get(task)
    train = {spec.instance("train", index).fingerprint for index in TRAIN_INDICES}
    test = {spec.instance("test", index).fingerprint for index in TEST_INDICES}
    assert not train & test
    # A few repetitions are dropped while building; many would make the family a toy.
    assert len(train) >= 0.95 * len(TRAIN_INDICES)


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_the_same_seed_gives_the_same_trajectory_and_another_seed_other_words(task: str) -> None:
    items = [[starter_trajectory(task, index, seed) for index in range(5)] for seed in (7, 7, 8)]
    assert items[0] == items[1]
    assert items[0] != items[2]
    for one, other in zip(items[0], items[2], strict=True):
        actions = [[turn.content.partition("\n")[2] for turn in each.turns] for each in (one, other)]
        assert actions[0] == actions[1]


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_every_intent_has_at_least_six_wordings(task: str) -> None:
    templates = thoughts.templates_of(task)
    assert templates
    assert {intent: len(set(choices)) for intent, choices in templates.items() if len(set(choices)) < 6} == {}


@pytest.mark.parametrize(
    ("action", "reason"), [("Final Answer: -12345", "not_rewarded"), ("nonsense", "invalid_action")]
)
def test_an_expert_that_does_not_reach_the_goal_is_dropped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, action: str, reason: str
) -> None:
    step = ExpertStep(action=action, intent="answer", slots={})
    monkeypatch.setattr(CalculatorEnvironment, "expert_steps", lambda self: [step])
    item = made("starter_math")
    assert isinstance(item, Drop) and item.reason == reason


def test_an_engine_that_fails_is_begun_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    good, fails = CalculatorEnvironment.step, [True]

    def step(self: CalculatorEnvironment, action: str):  # type: ignore[no-untyped-def]
        if fails and fails[-1]:
            fails[:] = fails[:-1]
            raise RuntimeError("broken")
        return good(self, action)

    monkeypatch.setattr(CalculatorEnvironment, "step", step)
    assert isinstance(made("starter_math"), Trajectory)
    fails[:] = [True] * 2
    item = made("starter_math")
    assert isinstance(item, Drop) and (item.reason, item.detail) == ("environment_error", "RuntimeError: broken")


def test_one_voice_speaks_through_a_trajectory_and_all_voices_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = {intent: tuple(f"voice {n}" for n in range(6)) for intent in ("search_first", "search_next", "answer")}
    monkeypatch.setattr(thoughts, "templates_of", lambda environment: templates)
    heard = set()
    for index in range(60):
        trajectory = starter_trajectory("starter_reasoning", index)
        said = {turn.content.split("\n")[0] for turn in trajectory.turns if turn.role == "assistant"}
        assert len(said) == 1
        heard |= said
    assert len(heard) == 6


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_every_thought_is_of_the_familys_own_templates(task: str) -> None:
    intents = thoughts.templates_of(task)
    for index in range(20):
        environment = registry.get(task).make()
        environment.reset(options={"instance": registry.get(task).instance("train", index)})
        for step in environment.expert_steps():
            assert all(template.format_map(step.slots) for template in intents[step.intent])
        environment.close()


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_all_voices_are_as_frequent(task: str) -> None:
    assert all(thoughts.VOICES % len(choices) == 0 for choices in thoughts.templates_of(task).values())
