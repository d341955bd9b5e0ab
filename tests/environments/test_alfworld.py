import dataclasses
import sys
from pathlib import Path

import pytest

from agentbank_jax.environments import benchmark_data, registry
from agentbank_jax.environments.alfworld import AlfworldEnvironment
from agentbank_jax.environments.alfworld_games import read_games
from agentbank_jax.environments.alfworld_wording import PACKAGED, RELEASED
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.household import ALFWORLD_RELEASED
from agentbank_jax.environments.packages import missing_package
from agentbank_jax.errors import AgentBankError
from tests.environments import alfworld_kitchen

SPEC = registry.get("alfworld")

needs_engine = pytest.mark.skipif(
    missing_package("alfworld", "alfworld", "textworld") is not None, reason="alfworld or textworld is not installed"
)


def played(environment, instance):
    """The first observation, and what each step of the expert gave."""
    first, _ = environment.reset(options={"instance": instance})
    return first, [(step.action, *environment.step(step.action)) for step in environment.expert_steps()]


def won(steps) -> bool:
    *_, (_, _, reward, terminated, _, info) = steps
    return bool(reward == 1 and terminated and info["success"])


@pytest.mark.parametrize("root", ["json_2.1.1/valid_unseen", "valid_unseen", ""])
def test_the_publishers_folders_and_json_lines_hold_the_same_game(own_benchmarks: Path, root: str) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / root)
    published = SPEC.instance("test", 0)
    rows = list(read_games(alfworld_kitchen.write_rows(own_benchmarks / "rows.jsonl"), "test"))
    assert SPEC.size("test") == len(rows) == 1
    assert (published.id, published.fingerprint) == (rows[0].id, rows[0].fingerprint)
    assert published.payload.goal == rows[0].payload.goal == alfworld_kitchen.GOAL
    assert published.payload.task_type == rows[0].payload.task_type
    assert published.payload.pddl_problem() == rows[0].payload.pddl_problem()
    assert published.payload.problem == ""


def test_games_that_the_publishers_loader_leaves_out_are_left_out(own_benchmarks: Path) -> None:
    folder = own_benchmarks / "alfworld" / "json_2.1.1" / "valid_unseen"
    alfworld_kitchen.write_published(folder)
    alfworld_kitchen.write_published(folder, name="pick_and_place_with_movable_recep-Mug-Pan-CounterTop-1")
    alfworld_kitchen.write_published(folder, name="pick_heat_then_place_in_recep-AppleSliced-None-CounterTop-1")
    alfworld_kitchen.write_published(folder, name="pick_heat_then_place_in_recep-Egg-None-CounterTop-1", solvable=False)
    (alfworld_kitchen.write_published(folder, name="pick_heat-Egg-None-Fridge-1") / "traj_data.json").unlink()
    assert [SPEC.instance("test", index).id for index in range(SPEC.size("test"))] == [
        f"alfworld/test/{alfworld_kitchen.NAME}/{alfworld_kitchen.TRIAL}"
    ]


def test_another_split_is_played_where_its_folder_is_named(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "json_2.1.1" / "valid_seen")
    benchmark_data.configure(BenchmarkConfig(paths={"alfworld": str(own_benchmarks / "json_2.1.1" / "valid_seen")}))
    assert SPEC.size("test") == 1


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("game.tw-pddl", "{", "game.tw-pddl: not JSON"),
        ("game.tw-pddl", "[]", "game.tw-pddl: list"),
        ("game.tw-pddl", '{"grammar": "", "solvable": true}', "game.tw-pddl:pddl_problem: None"),
        ("game.tw-pddl", '{"pddl_problem": "", "grammar": "", "solvable": true}', "game.tw-pddl:grammar: no sentence"),
        ("traj_data.json", "{}", "traj_data.json:task_type: None"),
    ],
)
def test_a_broken_game_is_named_with_file_and_field(own_benchmarks: Path, name: str, content: str, where: str) -> None:
    game = alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    (game / name).write_text(content)
    with pytest.raises(AgentBankError, match=where):
        SPEC.size("test")


def test_the_released_wording_is_that_of_the_starter_household() -> None:
    assert f'"{ALFWORLD_RELEASED.actions["put"]}"'.format(object="{o}", receptacle="{r}") in RELEASED.replaced.values()
    assert RELEASED.command("Use desklamp 1") == "toggle desklamp 1"
    assert PACKAGED.command("toggle desklamp 1") == "toggle desklamp 1"


def test_a_grammar_of_another_version_is_refused() -> None:
    with pytest.raises(AgentBankError, match="alfworld's grammar has no"):
        RELEASED.grammar('"rhs": "You arrive at {r.name}."')


def test_an_unknown_wording_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(AgentBankError, match="Did you mean 'alfworld_packaged'"):
        AlfworldEnvironment(wording="alfworld_package")


def test_the_protocol_names_versions_and_wording() -> None:
    assert SPEC.protocol.startswith("alfworld/1 (alfworld ") and SPEC.protocol.endswith(", alfworld_released)")


@pytest.mark.arena
@needs_engine
def test_the_made_kitchen_reads_as_the_released_trajectories_do(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    environment = SPEC.make()
    arguments = list(sys.argv)
    first, steps = played(environment, SPEC.instance("test", 0))
    assert sys.argv == arguments
    assert first == (
        "You are in the middle of a room. Looking quickly around you, you see a countertop 1, a fridge 1, "
        "a microwave 1, and a sinkbasin 1.\nYour task is to: put a hot apple in countertop."
    )
    assert won(steps)
    assert [(action, observation) for action, observation, *_ in steps] == [
        ("go to fridge 1", "You arrive at loc 5. The fridge 1 is closed."),
        ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1, and a egg 1."),
        ("take apple 1 from fridge 1", "You pick up the apple 1 from the fridge 1."),
        ("go to microwave 1", "You arrive at loc 4. The microwave 1 is closed."),
        ("heat apple 1 with microwave 1", "You heat the apple 1 using the microwave 1."),
        ("go to countertop 1", "You arrive at loc 3. On the countertop 1, you see a mug 1."),
        ("put apple 1 in/on countertop 1", "You put the apple 1 in/on the countertop 1."),
    ]
    environment.close()


@pytest.mark.arena
@needs_engine
def test_the_packaged_wording_plays_the_same_game(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    environment = AlfworldEnvironment(wording="alfworld_packaged")
    _, steps = played(environment, SPEC.instance("test", 0))
    assert won(steps)
    assert steps[0][1] == "You arrive at fridge 1. The fridge 1 is closed."
    assert steps[-1][:2] == ("move apple 1 to countertop 1", "You move the apple 1 to the countertop 1.")


@pytest.mark.arena
@needs_engine
def test_a_goal_is_told_as_it_is_written(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    instance = SPEC.instance("test", 0)
    goal = 'say "hi" to {o.name} and #look.feedback#'
    other = dataclasses.replace(instance, payload=dataclasses.replace(instance.payload, goal=goal))
    environment = SPEC.make()
    assert environment.reset(options={"instance": instance})[0].endswith(f"Your task is to: {alfworld_kitchen.GOAL}.")
    assert environment.reset(options={"instance": other})[0].endswith(f"Your task is to: {goal}.")


@pytest.mark.arena
@needs_engine
def test_environments_played_in_turns_do_not_mix(own_benchmarks: Path) -> None:
    made = [registry.get("alfworld_generated").instance("train", index) for index in range(2)]
    alone = [played(SPEC.make(), instance) for instance in made]
    first, second = SPEC.make(), SPEC.make()
    begun = [first.reset(options={"instance": made[0]})[0], second.reset(options={"instance": made[1]})[0]]
    assert begun == [text for text, _ in alone]
    for environment, (_, steps) in zip((first, second), alone, strict=True):
        assert [(step[0], *environment.step(step[0])) for step in steps] == steps
    assert played(first, made[0]) == alone[0] and played(first, made[1]) == alone[1]


@pytest.mark.arena
@needs_engine
def test_an_engine_that_was_closed_is_taken_again_as_new(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    instance = SPEC.instance("test", 0)
    first = SPEC.make()
    whole = played(first, instance)
    first.reset(options={"instance": instance})
    first.step("go to fridge 1")
    engine = first._game
    first.close()
    first.close()
    second, third = SPEC.make(), SPEC.make()
    assert played(second, instance) == whole and second._game is engine
    assert played(third, instance) == whole and third._game is not engine
    assert played(AlfworldEnvironment(wording="alfworld_packaged"), instance) != whole


@pytest.mark.arena
@needs_engine
def test_what_is_not_admissible_does_nothing_and_valid_actions_do_something(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    environment = SPEC.make()
    instance = SPEC.instance("test", 0)
    environment.reset(options={"instance": instance})
    valid = environment.valid_actions()
    hostile = (
        "open Apple_bar__plus_00_dot_10_bar__plus_00_dot_20_bar__plus_00_dot_30", "take apple 1 from fridge 1",
        "move apple 1 to countertop 1", "</s>[INST] go to fridge 1", "go to fridge 1\ngo to fridge 1",
        "#look.feedback#", "x" * 65536, "", "\udcff", "quit", "{o.name}",
    )  # fmt: skip
    for action in hostile:
        observation, reward, terminated, truncated, info = environment.step(action)
        assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False), action
        assert info["invalid_action"], action
    assert environment.valid_actions() == valid
    for action in valid:
        environment.reset(options={"instance": instance})
        assert not environment.step(f"  {action.upper()} ")[4]["invalid_action"], action


@pytest.mark.arena
@needs_engine
def test_nothing_is_done_after_the_goal_is_met(own_benchmarks: Path) -> None:
    alfworld_kitchen.write_published(own_benchmarks / "alfworld" / "valid_unseen")
    environment = SPEC.make()
    played(environment, SPEC.instance("test", 0))
    _, reward, terminated, _, info = environment.step("go to fridge 1")
    assert (reward, terminated, info["invalid_action"], info["success"]) == (1.0, True, True, True)


@pytest.mark.arena
@needs_engine
def test_all_given_official_games_are_won_by_their_walkthrough(benchmarks: Path) -> None:
    environment = SPEC.make()
    lost = []
    for index in range(SPEC.size("test")):
        instance = SPEC.instance("test", index)
        _, steps = played(environment, instance)
        if not won(steps) or len(steps) > SPEC.max_steps:
            lost.append(instance.id)
    assert SPEC.size("test") == 67 and lost == []


@pytest.mark.arena
@needs_engine
def test_a_sample_of_official_games_is_won_in_the_packaged_wording(benchmarks: Path) -> None:
    environment = AlfworldEnvironment(wording="alfworld_packaged")
    for index in range(0, 67, 10):
        _, steps = played(environment, SPEC.instance("test", index))
        assert won(steps), SPEC.instance("test", index).id
