"""The starter's shopping family: its goals, and an expert that uses only what it has seen."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentbank_jax.environments.starter import catalogue, web
from agentbank_jax.errors import AgentBankError

ROOT = Path(web.__file__).parents[3]
SPECS = {spec.name: spec for spec in web.SPECS}


def play(spec, split, index):
    """(observation before, step, reward) of the expert, replayed in a fresh shop."""
    instance = spec.instance(split, index)
    shop = spec.make()
    shop.reset(options={"instance": instance})
    steps = shop.expert_steps()
    fresh = spec.make()
    observation, _ = fresh.reset(options={"instance": instance})
    played = []
    for step in steps:
        before = observation
        observation, reward, terminated, _, info = fresh.step(step.action)
        assert not info["invalid_action"]
        played.append((before, step, reward))
    assert terminated and info["success"]
    return instance.payload.goal, played


@pytest.mark.parametrize(
    ("family", "split", "count"),
    [("starter_web", "train", 2000), ("starter_web", "test", 200), ("starter_web_unseen_category", "test", 200)],
)
def test_the_expert_is_always_rewarded_and_its_choices_follow_from_the_pages(family, split, count):
    places = []
    for index in range(count):
        goal, played = play(SPECS[family], split, index)
        assert played[-1][2] == 1.0 and 4 <= len(played) <= 6
        words = {*goal.attributes, goal.query}
        limit = int(re.search(r"(\d+) dollars", goal.instruction)[1])
        assert words <= set(re.findall(r"\w+", goal.instruction)), "what is searched for stands in the instruction"
        for page, step, _ in played:
            if step.intent == "search":
                assert step.action == f"search[{' '.join([*goal.attributes, goal.query])}]"
            if step.intent in ("open_item", "next_page"):
                shown = re.findall(r"(B0\w+) \[SEP\] ([\w ]+) \[SEP\] \$(\d+)", page)
                assert len(shown) == 3
                fitting = [id_ for id_, title, price in shown if words <= set(title.split()) and int(price) < limit]
                expected = f"click[{fitting[0]}]" if fitting else "click[Next >]"
                assert step.action == expected
                places.append([id_ for id_, _, _ in shown].index(fitting[0]) if fitting else -1)
            if step.intent == "choose_option":
                assert f"{step.slots['name']}: {step.slots['value']}" in goal.instruction
    opened = [place for place in places if place >= 0]
    assert 0.05 < places.count(-1) / count < 0.2, "sometimes the page must be turned"
    assert 0.45 < opened.count(0) / count < 0.85, "the first article is often right, not always"


def test_ten_thousand_training_instances_are_distinct_and_none_is_a_test_instance():
    training = {SPECS["starter_web"].instance("train", index).fingerprint for index in range(10_000)}
    test = {SPECS["starter_web"].instance("test", index).fingerprint for index in range(300)}
    assert len(training) == 10_000 and len(test) == 300 and not training & test


def test_an_instance_is_the_same_in_another_process():
    # Strings hash differently there, so an order taken from a set would show.
    code = (
        "from agentbank_jax.environments.starter import web\n"
        "print([web.SPECS[0].instance('train', index) for index in range(1995, 2005)])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    there = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    here = [SPECS["starter_web"].instance("train", index) for index in range(1995, 2005)]
    assert there.stdout.strip() == str(here)


def test_importing_the_family_loads_no_search_engine():
    code = "import sys, agentbank_jax.environments.starter.web; print('tantivy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_a_catalogue_has_a_thousand_articles_and_near_twins_of_each():
    goods = web.load_catalogue("starter_web/train/0").products
    assert len(goods) >= 1000
    assert all(re.fullmatch(r"B0[A-Z]{4}7[A-Z]{4}", product.id) for product in goods)
    assert all(len(product.title.split()) <= 8 for product in goods)
    for product in goods[:50]:
        same_type = [other for other in goods if other.query == product.query and other is not product]
        assert any(other.attributes == product.attributes and other.price != product.price for other in same_type)
        assert any(len(set(other.attributes) & set(product.attributes)) == 1 for other in same_type)
        assert all(other.options == product.options for other in same_type), "options never decide between articles"


def test_words_of_one_kind_are_never_words_of_another():
    departments = (*catalogue.TRAINING_DEPARTMENTS, *catalogue.UNSEEN_DEPARTMENTS)
    attributes = {word for one in departments for word in (*one.features, *one.materials)}
    options = {*catalogue.COLORS, *(value for one in departments for value in one.second_option[1])}
    kinds = [kind for one in departments for _, names in one.shelves for kind in names]
    groups = [attributes, set(catalogue.BRANDS), options, set(kinds)]
    assert len(kinds) == len(set(kinds))
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert not any(word[0] in "aeiou" for word in (*attributes, *kinds)), "'a' comes before each"


def test_unseen_categories_share_no_type_with_training():
    seen = {
        product.query for world in range(4) for product in web.load_catalogue(f"starter_web/train/{world}").products
    }
    unseen = {product.query for product in web.load_catalogue("starter_web_unseen_category/test/0").products}
    assert unseen and not seen & unseen


def test_thoughts_are_short_and_need_only_the_slots_that_steps_have():
    slots: dict[str, dict[str, str]] = {}
    for index in range(60):
        for _, step, _ in play(SPECS["starter_web"], "train", index)[1]:
            slots[step.intent] = dict(step.slots)
    assert set(slots) == {"search", "open_item", "next_page", "choose_option", "buy"}
    slots["go_back"] = slots["buy"]
    for intent, templates in web.THOUGHTS.items():
        assert len(set(templates)) >= 6
        for template in templates:
            assert len(template.format(**slots[intent]).split()) <= 14
            assert len(template.split()) <= 12


def test_the_instruction_is_short_and_gives_the_syntax():
    assert len(web.INSTRUCTION.split()) <= 40
    assert "search[keywords]" in web.INSTRUCTION and "click[value]" in web.INSTRUCTION


@pytest.mark.parametrize("name", ["starter_web/validation/0", "starter_shop/train/0", "starter_web/train/x"])
def test_an_unknown_catalogue_is_named(name):
    with pytest.raises(AgentBankError, match=re.escape(name)):
        web.load_catalogue(name)


def test_unknown_splits_and_indices_are_refused():
    with pytest.raises(AgentBankError, match="split"):
        SPECS["starter_web"].instance("validation", 0)
    with pytest.raises(AgentBankError, match="-1"):
        SPECS["starter_web"].instance("train", -1)
