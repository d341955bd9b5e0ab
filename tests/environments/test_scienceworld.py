import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from agentbank_jax.environments import registry, scienceworld
from agentbank_jax.environments.java import MACHINE_OPTIONS, OPTIONS_VARIABLE, machine_options
from agentbank_jax.environments.scienceworld import TASKS, ScienceWorldEnvironment
from agentbank_jax.errors import AgentBankError

SPEC = registry.get("scienceworld")


@pytest.fixture(scope="module")
def engine():
    if reason := SPEC.available():
        pytest.skip(reason)
    environment = ScienceWorldEnvironment()
    yield environment
    environment.close()
    environment.close()


def test_thirty_episodes_are_of_thirty_tasks_in_each_split():
    for split in registry.SPLITS:
        instances = [SPEC.instance(split, index) for index in range(30)]
        assert Counter(instance.payload.task for instance in instances) == Counter(TASKS)


def test_a_problem_is_as_hard_as_its_task_may_be_long():
    difficulty = {task.name: SPEC.instance("train", place).difficulty for place, task in enumerate(TASKS)}
    assert difficulty["lifespan-longest-lived"] == 10 and difficulty["boil"] == 100
    assert difficulty["mendelian-genetics-known-plant"] == scienceworld.LONGEST_LIMIT


def test_instances_are_told_apart_and_the_splits_share_none():
    ids = {split: [scienceworld.instance(split, index) for index in range(500)] for split in registry.SPLITS}
    assert len({instance.id for instances in ids.values() for instance in instances}) == 1000
    fingerprints = [{instance.fingerprint for instance in instances} for instances in ids.values()]
    assert len(fingerprints[0] | fingerprints[1]) == 1000


def test_the_last_problem_is_there_and_none_beyond_it():
    assert SPEC.instance("test", SPEC.size("test") - 1).payload.task.name == "inclined-plane-friction-named-surfaces"
    with pytest.raises(AgentBankError, match=f"it holds {SPEC.size('test')}"):
        SPEC.instance("test", SPEC.size("test"))
    with pytest.raises(AgentBankError, match="it holds"):
        SPEC.instance("test", -1)


def test_the_variations_of_the_splits_are_those_of_the_published_paper():
    """ScienceWorld's paper: 7,207 variations, about half of them to train on, a quarter to test on."""
    assert sum(task.variations for task in TASKS) == 7207
    assert (SPEC.size("train"), SPEC.size("test")) == (3592, 1819)


def test_the_users_java_options_are_kept_beside_the_limit(monkeypatch):
    monkeypatch.setenv(OPTIONS_VARIABLE, "-Dx=1")
    with machine_options():
        assert os.environ[OPTIONS_VARIABLE] == f"{MACHINE_OPTIONS} -Dx=1"
    assert os.environ[OPTIONS_VARIABLE] == "-Dx=1"
    monkeypatch.delenv(OPTIONS_VARIABLE)
    with machine_options():
        assert os.environ[OPTIONS_VARIABLE] == MACHINE_OPTIONS
    assert OPTIONS_VARIABLE not in os.environ


def test_without_java_the_reason_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "scienceworld" in (SPEC.available() or "") or "openjdk-17-jre-headless" in (SPEC.available() or "")


def test_listing_the_problems_starts_no_engine():
    code = (
        "import sys; from agentbank_jax.environments import registry; spec = registry.get('scienceworld');"
        "spec.size('test'); spec.instance('test', 5); print([m for m in ('scienceworld', 'py4j') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.arena
def test_tasks_and_splits_are_those_of_the_package(engine):
    engine.reset(options={"max_steps": 400, "instance": SPEC.instance("test", 0)})
    game = engine._game
    assert [task.name for task in TASKS] == game.task_names
    for task in TASKS:
        game.load(task.name, 0, "easy", False)
        assert task.variations == game.get_max_variations(task.name), task.name
        assert list(task.variation_range("train")) == game.get_variations_train(), task.name
        assert list(task.variation_range("test")) == game.get_variations_test(), task.name


@pytest.mark.arena
@pytest.mark.parametrize("index", range(30), ids=lambda index: TASKS[index].name)
def test_the_gold_path_of_each_task_reaches_a_score_of_100(engine, index):
    engine.reset(options={"max_steps": 400, "instance": SPEC.instance("test", index)})
    refused = []
    for step in engine.expert_steps():
        _, reward, terminated, _, info = engine.step(step.action)
        if info["invalid_action"]:
            refused.append(step.action)
        if terminated:
            break
    assert (reward, info["score"], info["success"]) == (1.0, 100, True)
    # The simulator's own solution of one task holds an order that it does not know, and gets there all the same.
    assert len(refused) <= (SPEC.instance("test", index).payload.task.name == "mendelian-genetics-known-plant")


@pytest.mark.arena
def test_the_published_limit_truncates_and_keeps_the_score_reached(engine):
    environment = SPEC.make()
    try:
        instance = next(
            SPEC.instance("test", index)
            for index in range(30)
            if SPEC.instance("test", index).payload.task.name == "grow-plant"
        )
        environment.reset(options={"instance": instance})
        steps = [step.action for step in environment.expert_steps()]
        assert len(steps) > instance.payload.task.limit == 30
        results = [environment.step(action) for action in steps[:30]]
        assert [truncated for *_, truncated, _ in results] == [False] * 29 + [True]
        *_, info = results[-1]
        assert 0 < results[-1][1] < 1 and info["success"] is False
        rewards = [reward for _, reward, *_ in results]
        assert rewards == sorted(rewards)
    finally:
        environment.close()


@pytest.mark.arena
def test_the_same_actions_do_the_same_whatever_was_played_before(engine):
    """With Java's own hashes most of these episodes differ from engine to engine."""
    problems = {
        name: next(i for i in map(SPEC.instance, ["train"] * 30, range(30)) if i.payload.task.name == name)
        for name in ("power-component", "grow-fruit", "find-animal", "mendelian-genetics-known-plant")
    }

    def told(environment, instance, actions):
        first, _ = environment.reset(options={"max_steps": 400, "instance": instance})
        return [first, *(environment.step(action)[0] for action in actions)]

    fresh, paths = SPEC.make(), {}
    for name, instance in problems.items():
        fresh.reset(options={"instance": instance})
        paths[name] = [step.action for step in fresh.expert_steps()]
    before = {name: told(fresh, problems[name], paths[name]) for name in problems}
    fresh.close()
    for name in reversed(problems):
        engine.reset(options={"instance": problems[name]})
        assert [step.action for step in engine.expert_steps()] == paths[name], name
        assert told(engine, problems[name], paths[name]) == before[name], name


@pytest.mark.arena
def test_a_wrong_focus_ends_the_episode_with_the_best_score_so_far(engine):
    engine.reset(options={"instance": SPEC.instance("test", 0)})
    _, reward, terminated, _, info = engine.step("focus on picture")
    assert (reward, terminated, info["score"], info["success"]) == (0.0, True, -100, False)


@pytest.mark.arena
def test_hostile_actions_are_invalid_and_the_game_goes_on(engine):
    first, _ = engine.reset(options={"instance": SPEC.instance("test", 0)})
    assert first.startswith("Task Description:\nYour task is to boil")
    for action in ("foo", "open Name_bar_1", "</s>[INST]", "; DROP TABLE", "quit", "x" * 65536, "é日本"):
        _, reward, terminated, truncated, info = engine.step(action)
        assert (reward, terminated, truncated, info["invalid_action"]) == (0.0, False, False, True), action
    observation, *_, info = engine.step("look\naround")
    assert not info["invalid_action"] and observation.startswith("This room is called the bathroom.")


@pytest.mark.arena
def test_valid_actions_are_understood(engine):
    engine.reset(options={"instance": SPEC.instance("test", 10)})
    actions = engine.valid_actions()
    assert len(actions) == len(set(actions)) > 20
    for action in actions[:20]:
        assert not engine.step(action)[4]["invalid_action"], action


@pytest.mark.arena
def test_a_world_does_not_depend_on_the_episodes_before_it(engine):
    def world(index):
        first, _ = engine.reset(options={"instance": SPEC.instance("test", index)})
        actions = ("teleport to kitchen", "open cupboard", "look around", "teleport to workshop", "look around")
        return first, [engine.step(action)[0] for action in actions]

    first = world(0)
    world(9)
    assert world(0) == first


@pytest.mark.arena
def test_the_machine_dies_with_a_killed_worker(tmp_path: Path, engine):
    code = (
        "import json, time; from agentbank_jax.environments import registry; spec = registry.get('scienceworld');"
        "e = spec.make(); e.reset(options={'instance': spec.instance('test', 0)});"
        "print(json.dumps(e._game._gateway.java_process.pid), flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        machine = Path(f"/proc/{json.loads(worker.stdout.readline())}")
        assert machine.exists()
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
    end = time.monotonic() + 10
    while machine.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not machine.exists()
