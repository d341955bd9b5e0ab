from pathlib import Path

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.iqa import IqaEnvironment, Question, dealt
from agentbank_jax.errors import AgentBankError
from tests.environments.made_rooms import FakeController, write_questions

SPEC = registry.get("iqa")
COUNT = Question(kind="counting", text="How many mugs?", answer="2", scene=1, seed=1, object_type="Mug")


def asked(question: Question, answers: str = "exact") -> IqaEnvironment:
    environment = IqaEnvironment(controller=FakeController)
    instance = Instance(id="iqa/test/0", fingerprint="0", payload=question)
    environment.reset(options={"instance": instance, "answers": answers})
    return environment


def test_the_published_answers_are_right_in_the_made_room(own_benchmarks: Path) -> None:
    write_questions(own_benchmarks / "iqa")
    environment = IqaEnvironment(controller=FakeController)
    kinds: list[str] = []
    for index in range(SPEC.size("test")):
        instance = SPEC.instance("test", index)
        first, _ = environment.reset(options={"instance": instance})
        assert first.startswith(f"{instance.payload.text}\nIn the room there are countertop 1, drawer 1, fridge 1")
        for step in environment.expert_steps():
            observation, reward, terminated, _, info = environment.step(step.action)
            assert not info["invalid_action"], step.action
        assert (observation, reward, terminated, info["success"]) == ("Correct.", 1.0, True, True)
        kinds.append(info["kind"])
    assert kinds == ["contains", "counting", "existence"] * 2


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 1920])
def test_every_question_is_dealt_once(size: int) -> None:
    assert sorted(dealt(index, size) for index in range(size)) == list(range(size))
    assert dealt(size, size) == size and dealt(-1, size) == -1


@pytest.mark.parametrize(
    ("answers", "text", "reward"),
    [
        ("exact", "2", 1.0),
        ("exact", " 2. ", 1.0),
        ("exact", "3", 0.0),
        ("exact", "20", 0.0),
        ("exact", "yes", 0.0),
        ("exact", "There are 2 mugs", 0.0),
        ("exact", "", 0.0),
        ("mint", "There are 2 mugs", 1.0),
        ("mint", "There are 20 mugs", 0.0),
        ("mint", "0 1 2 3", 0.0),
    ],
)
def test_an_answer_is_judged_by_the_protocol(answers: str, text: str, reward: float) -> None:
    environment = asked(COUNT, answers)
    _, got, terminated, _, info = environment.step(f"Final Answer: {text}")
    assert (got, terminated, info["success"]) == (reward, True, reward == 1)


@pytest.mark.parametrize(("text", "reward"), [("Yes.", 1.0), ("true", 1.0), ("no", 0.0), ("yes or no", 0.0)])
def test_yes_and_true_are_the_same(text: str, reward: float) -> None:
    question = Question(kind="existence", text="A mug?", answer="yes", scene=1, seed=1, object_type="Mug")
    for answers in ("exact", "mint"):
        assert asked(question, answers).step(f"final answer: {text}")[1] == reward


def test_a_room_that_gives_another_answer_is_refused_and_never_scored() -> None:
    with pytest.raises(AgentBankError, match="answers '0' to 'How many mugs\\?', and the published answer is '2'"):
        asked(Question(**{**vars(COUNT), "seed": 3}))


def test_what_is_behind_a_door_is_seen_once_it_is_open() -> None:
    environment = asked(COUNT)
    assert environment.step("go to fridge 1")[0] == "You see fridge 1 (closed)."
    assert environment.step("take mug 1")[4]["invalid_action"]
    assert environment.step("open fridge 1")[0] == "You see fridge 1 (open), mug 1 in/on fridge 1."
    assert environment.step("take mug 1")[0] == "You see fridge 1 (open). You hold mug 1."


def test_one_does_not_go_to_what_has_not_been_seen() -> None:
    environment = asked(COUNT)
    assert environment.step("go to mug 1")[0] == "Nothing happens."
    assert environment.step("go to countertop 1")[0] == "You see countertop 1, mug 2 in/on countertop 1."
    environment.step("go to fridge 1")
    assert not environment.step("go to mug 2")[4]["invalid_action"]


def test_hostile_actions_do_nothing_and_valid_ones_something() -> None:
    environment = asked(COUNT)
    for action in ("open Mug|Mug_1", "go to Name_bar_1", "</s>", "Teleport", "x" * 65536, "", "stop", "\udcff"):
        assert environment.step(action)[4]["invalid_action"], action
    for action in environment.valid_actions():
        assert not asked(COUNT).step(action)[4]["invalid_action"] or action in ("move_left", "move_right"), action


def test_one_simulator_serves_all_episodes_and_stops_at_the_end() -> None:
    environment = asked(COUNT)
    controller = environment._game
    environment.reset(options={"instance": Instance(id="i", fingerprint="0", payload=COUNT)})
    assert environment._game is controller
    environment.close()
    environment.close()
    assert controller.stopped


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (("Is there", "Is there"), None),
        (("True,13", "Maybe,13"), "combined.csv:1:answer: 'Maybe'"),
        ((",13,", ",99,"), "combined.csv:1:object_id: '99'"),
        (("0,1,1,", "7,1,1,"), "combined.csv:1:question_type: '7'"),
        (("question_type", "kind"), "combined.csv:1:question_type: None"),
    ],
)
def test_a_broken_row_is_named_with_file_row_and_field(own_benchmarks: Path, change, where) -> None:
    write_questions(own_benchmarks / "iqa")
    path = own_benchmarks / "iqa" / "questions" / "test" / "data_existence" / "combined.csv"
    path.write_text(path.read_text().replace(*change))
    if where is None:
        assert SPEC.size("test") == 6
    else:
        with pytest.raises(AgentBankError, match=where):
            SPEC.size("test")


def test_without_the_simulator_the_reason_says_what_to_install(own_benchmarks: Path) -> None:
    assert "thor-iqa-cvpr-2018" in (SPEC.available() or "")
    write_questions(own_benchmarks / "iqa")
    assert SPEC.available() is None or "pip install 'ai2thor'" in SPEC.available()
