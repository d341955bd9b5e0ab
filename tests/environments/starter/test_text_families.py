"""The families of reasoning, math and programming: what every instance of them promises."""

import itertools
import random
import re
from importlib import import_module

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.search_qa import passage_index
from agentbank_jax.environments.starter.knowledge import KINDS, knowledge_world
from agentbank_jax.environments.starter.queries import KINDS as QUERY_KINDS
from agentbank_jax.environments.starter.stories import STORIES
from agentbank_jax.environments.starter.themes import THEMES, UNSEEN_THEMES

MODULES = {
    name: import_module(f"agentbank_jax.environments.starter.{name}") for name in ("reasoning", "math", "programming")
}
SPECS = [spec for module in MODULES.values() for spec in module.SPECS]
TRAINED = [spec for spec in SPECS if not spec.held_out]


def module_of(spec: EnvironmentSpec):
    return MODULES[spec.skill]


def replay(spec: EnvironmentSpec, instance: Instance) -> tuple[list[str], list[str], float, bool]:
    """The expert's actions, the observations before each, the reward and whether it ended."""
    planner, environment = spec.make(), spec.make()
    planner.reset(options={"instance": instance})
    observation, _ = environment.reset(options={"instance": instance})
    actions, observations = [step.action for step in planner.expert_steps()], []
    reward, terminated = 0.0, False
    for action in actions:
        assert not terminated
        observations.append(observation)
        observation, reward, terminated, truncated, info = environment.step(action)
        assert not info["invalid_action"] and not truncated
    assert info["success"]
    return actions, observations, reward, terminated


def by_name(spec: EnvironmentSpec) -> str:
    return spec.name


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
@pytest.mark.parametrize("split", registry.SPLITS)
def test_the_expert_earns_the_full_reward_within_the_steps_allowed(spec: EnvironmentSpec, split: str) -> None:
    turns = 0
    for index in range(200):
        actions, _, reward, terminated = replay(spec, spec.instance(split, index))
        assert reward == 1 and terminated and len(actions) <= spec.max_steps
        turns += len(actions)
    assert turns / 200 >= 3


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_an_instance_is_a_function_of_split_and_index(spec: EnvironmentSpec) -> None:
    for index in (0, 7, 403, 199_999):
        one = spec.instance("train", index)
        spec.instance("train", index + 1000)
        other = spec.instance("train", index)
        assert (one.id, one.fingerprint) == (other.id, other.fingerprint)
        assert one.id == f"{spec.name}/train/{index}"


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_no_test_instance_is_a_training_instance(spec: EnvironmentSpec) -> None:
    training = {spec.instance("train", index).fingerprint for index in range(3000)}
    testing = {spec.instance("test", index).fingerprint for index in range(1000)}
    assert not training & testing
    assert len(training) >= 2990 and len(testing) >= 995


@pytest.mark.slow
@pytest.mark.parametrize("spec", TRAINED, ids=by_name)
def test_there_are_ten_thousand_training_instances(spec: EnvironmentSpec) -> None:
    assert len({spec.instance("train", index).fingerprint for index in range(10_500)}) >= 10_000


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_every_thought_template_can_be_filled_and_is_short(spec: EnvironmentSpec) -> None:
    thoughts = module_of(spec).THOUGHTS
    for index in range(60):
        environment = spec.make()
        environment.reset(options={"instance": spec.instance("test", index)})
        for step in environment.expert_steps():
            for template in thoughts[step.intent]:
                assert len(template.split()) <= 12
                assert "{" not in template.format(**step.slots)


@pytest.mark.parametrize("module", MODULES.values(), ids=list(MODULES))
def test_every_intent_has_six_wordings(module) -> None:
    assert all(len(set(templates)) >= 6 for templates in module.THOUGHTS.values())


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_the_expert_names_only_what_it_has_seen(spec: EnvironmentSpec) -> None:
    # SQL's own words, and those of the action syntax, are known from the instruction.
    known = set(
        re.findall(
            r"\w+",
            "search final answer sql show tables desc submit select from where and join on group by order "
            "count distinct having limit asc avg sum max min not in 1",
        )
    )
    for index in range(100):
        actions, observations, _, _ = replay(spec, spec.instance("test", index))
        seen = set(known)
        for action, observation in zip(actions, observations, strict=True):
            seen |= set(re.findall(r"\w+", observation.lower()))
            assert set(re.findall(r"\w+", action.lower())) <= seen


@pytest.mark.parametrize("spec", SPECS, ids=by_name)
def test_a_random_agent_seldom_succeeds(spec: EnvironmentSpec) -> None:
    won = 0
    for index in range(100):
        environment, rng = spec.make(), random.Random(index)
        environment.reset(options={"instance": spec.instance("test", index)})
        for _ in range(spec.max_steps):
            _, _, terminated, _, info = environment.step(environment.sample_action(rng))
            if terminated:
                won += info["success"]
                break
    assert won <= 5


def test_a_corpus_has_two_thousand_short_passages_and_each_is_found_by_its_name() -> None:
    world = knowledge_world("starter_reasoning/test/0")
    index = passage_index(world.corpus)
    assert len(world.corpus.passages) >= 2000
    for passage in world.corpus.passages:
        assert len(passage.text.split()) <= 30
        assert index.search(passage.title, 1) == [passage]
        for tail in world.facts[passage.title].values():
            assert tail in passage.text


def test_questions_have_two_or_three_hops_and_four_when_held_out() -> None:
    trained, held_out = MODULES["reasoning"].SPECS
    assert {trained.instance("train", index).difficulty for index in range(50)} == {2, 3}
    assert {held_out.instance("test", index).difficulty for index in range(50)} == {4}
    assert sum(len(kind.relations) for kind in KINDS.values()) >= 20


def test_word_problems_have_two_to_four_steps_and_five_or_six_when_held_out() -> None:
    trained, held_out = MODULES["math"].SPECS
    assert {trained.instance("train", index).difficulty for index in range(200)} == {2, 3, 4}
    assert {held_out.instance("test", index).difficulty for index in range(50)} == {5, 6}
    assert len(STORIES) >= 8


def test_the_word_before_a_number_says_which_number_it_is() -> None:
    for index in range(300):
        question = MODULES["math"].SPECS[0].instance("test", index).payload.question
        words = re.findall(r"\w+", question)
        before = [word for word, after in itertools.pairwise(words) if after.isdigit()]
        assert all(words.count(word) == 1 for word in before), question


def test_databases_have_three_tables_twelve_themes_and_six_kinds_of_query() -> None:
    assert len(THEMES) >= 12 and len(QUERY_KINDS) >= 6
    assert all(len(tables) >= 3 for tables in (*THEMES.values(), *UNSEEN_THEMES.values()))
    names = [table.name for tables in (*THEMES.values(), *UNSEEN_THEMES.values()) for table in tables]
    assert len(set(names)) == len(names)


def test_the_unseen_queries_are_over_tables_that_training_never_shows() -> None:
    trained, held_out = MODULES["programming"].SPECS
    shown = {table.name for tables in THEMES.values() for table in tables}
    for index in range(40):
        database = held_out.instance("test", index).payload.database
        assert not shown & set(re.findall(r"CREATE TABLE (\w+)", database.script))
        intents = {step.intent for step in held_out.instance("test", index).payload.plan}
        assert not intents & set(QUERY_KINDS)
    kinds = {step.intent for index in range(200) for step in trained.instance("train", index).payload.plan}
    assert set(QUERY_KINDS) <= kinds
