"""Starter trajectories: replayed, worded, reward 1, and never an instance of the test split."""

import re

import pytest

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.recipe import STARTER_TASKS
from agentbank_jax.bank.starter import VOICES, build_trajectory
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.trajectories.schema import Trajectory

INSTANCES = 60
# Also far beyond what a bank of 50,000 takes from a family.
TRAIN_INDICES = [*range(1500), *range(9000, 9300), *range(199_700, 200_000)]
TEST_INDICES = [*range(600), *range(9000, 9200)]


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_every_trajectory_replays_to_its_recorded_reward(task: str) -> None:
    spec = registry.get(task)
    turns = 0
    for index in range(INSTANCES):
        outcome = build_trajectory(spec, "train", index, 0)
        assert isinstance(outcome.item, Trajectory), outcome.item
        assert outcome.item.metadata["reward"] == 1.0
        turns += outcome.item.assistant_turns
        environment = spec.make()
        observation, _ = environment.reset(options={"instance": spec.instance("train", index)})
        reward, terminated = 0.0, False
        for position, turn in enumerate(outcome.item.turns):
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
    spec = registry.get(task)
    items = [[build_trajectory(spec, "train", index, seed).item for index in range(5)] for seed in (7, 7, 8)]
    assert items[0] == items[1]
    assert items[0] != items[2]
    for one, other in zip(items[0], items[2], strict=True):
        assert isinstance(one, Trajectory)
        assert isinstance(other, Trajectory)
        actions = [[turn.content.partition("\n")[2] for turn in each.turns] for each in (one, other)]
        assert actions[0] == actions[1]


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_every_intent_has_at_least_six_wordings(task: str) -> None:
    templates = thoughts.templates_of(task)
    assert templates
    assert {intent: len(set(choices)) for intent, choices in templates.items() if len(set(choices)) < 6} == {}


def test_an_expert_that_does_not_reach_the_goal_is_dropped_with_its_reason() -> None:
    spec = registry.get("starter_math")

    class Wrong(type(spec.make())):  # type: ignore[misc]
        def expert_steps(self) -> list[ExpertStep]:
            return [ExpertStep(action="Final Answer: -12345", intent="answer", slots={})]

    broken = registry.EnvironmentSpec(**{**vars(spec), "make": Wrong})
    item = build_trajectory(broken, "train", 0, 0, templates={"answer": ("Done.",)}).item
    assert isinstance(item, Drop)
    assert item.reason == "not_rewarded"


def test_an_action_that_the_environment_refuses_is_dropped_with_its_reason() -> None:
    spec = registry.get("starter_math")

    class Wrong(type(spec.make())):  # type: ignore[misc]
        def expert_steps(self) -> list[ExpertStep]:
            return [ExpertStep(action="nonsense", intent="answer", slots={})]

    broken = registry.EnvironmentSpec(**{**vars(spec), "make": Wrong})
    item = build_trajectory(broken, "train", 0, 0, templates={"answer": ("Done.",)}).item
    assert isinstance(item, Drop)
    assert item.reason == "invalid_action"


def test_one_voice_speaks_through_a_trajectory_and_all_voices_are_heard() -> None:
    spec = registry.get("starter_reasoning")
    templates = {intent: tuple(f"voice {n}" for n in range(6)) for intent in ("search_first", "search_next", "answer")}
    heard = set()
    for index in range(60):
        item = build_trajectory(spec, "train", index, 0, templates=templates).item
        assert isinstance(item, Trajectory)
        said = {turn.content.split("\n")[0] for turn in item.turns if turn.role == "assistant"}
        assert len(said) == 1
        heard |= said
    assert len(heard) == 6


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_all_voices_are_as_frequent(task: str) -> None:
    assert all(VOICES % len(choices) == 0 for choices in thoughts.templates_of(task).values())


def test_slots_are_filled_and_the_first_letter_is_large() -> None:
    step = ExpertStep(action="x", intent="look", slots={"object": "mug"})
    assert thoughts.word({"look": ("{object} is needed.",)}, step, 0, "t") == "Mug is needed."


@pytest.mark.parametrize(
    ("intent", "message"),
    [("lok", "no Thought template for intent 'lok'. Did you mean 'look'?"), ("look", "needs the slot 'object'")],
)
def test_a_step_that_cannot_be_worded_names_family_and_intent(intent: str, message: str) -> None:
    with pytest.raises(thoughts.ThoughtError) as error:
        thoughts.word({"look": ("{object}.",)}, ExpertStep(action="x", intent=intent), 0, "family")
    assert message in str(error.value)
    assert "family" in str(error.value)
