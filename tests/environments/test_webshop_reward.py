"""Every rule of WebShop's published reward, worked out by hand."""

import pytest

from agentbank_jax.environments.webshop_catalogue import Product
from agentbank_jax.environments.webshop_reward import (
    COLORS,
    LexiconTagger,
    ShoppingGoal,
    attribute_matches,
    option_matches,
    plain_color,
    purchase_reward,
    title_score,
    type_reward,
)
from agentbank_jax.errors import AgentBankError

NOUNS = "apron kitchen gift chef mat towel rack hook shelf box lamp"
TAGGER = LexiconTagger("test", frozenset(NOUNS.split()))


def product(**changes) -> Product:
    settings = {
        "id": "B0FERNLAKE",
        "title": "Willow Cotton Apron",
        "price": 25.0,
        "category": ("home", "kitchen", "aprons"),
        "query": "apron",
        "attributes": ("cotton", "machine washable"),
    }
    return Product(**{**settings, **changes})


def goal(**changes) -> ShoppingGoal:
    settings = {
        "instruction": "i need a cotton apron",
        "query": "apron",
        "name": "Willow Cotton Apron",
        "category": ("home", "kitchen", "aprons"),
        "attributes": ("cotton", "machine washable"),
        "options": (("color", "red"), ("size", "large")),
        "price_upper": 40.0,
    }
    return ShoppingGoal(**{**settings, **changes})


def test_all_wishes_met_give_one():
    reward = purchase_reward(goal(), product(), ["red", "large"], TAGGER)
    assert (reward.total, reward.type, reward.attributes, reward.options, reward.price) == (1.0, 1.0, 2, 2, True)


@pytest.mark.parametrize(
    ("changes", "chosen", "expected"),
    [
        ({}, ["red"], 4 / 5),  # one of two options missing
        ({}, [], 3 / 5),
        ({"attributes": ("cotton",)}, ["red", "large"], 4 / 5),  # one of two attributes missing
        ({"price": 40.0}, ["red", "large"], 1.0),  # the limit itself is within the limit
        ({"price": 40.01}, ["red", "large"], 4 / 5),
        ({"price": 41.0, "attributes": (), "title": "Apron"}, [], 0.0),
    ],
)
def test_the_total_is_the_share_of_wishes_met(changes, chosen, expected):
    assert purchase_reward(goal(), product(**changes), chosen, TAGGER).total == pytest.approx(expected)


def test_the_type_factor_multiplies_the_share():
    other = product(title="cotton lamp", query="lamp", category=("x",))
    reward = purchase_reward(goal(name="chef apron"), other, ["red", "large"], TAGGER)
    assert reward.type == 0.0 and reward.total == 0.0
    half = goal(name="apron kitchen gift chef mat")  # title score 1 / 5, not above 0.2
    far = product(title="cotton mat", query="mat", category=("x",), attributes=("cotton", "machine washable"))
    assert purchase_reward(half, far, ["red"], TAGGER).total == pytest.approx(0.5 * 4 / 5)


@pytest.mark.parametrize(
    ("wanted", "bought", "query", "category", "expected"),
    [
        ("apron", "apron", "other", (), 1.0),  # title score 1 > 0.2
        ("apron kitchen gift chef mat", "mat", "apron", (), 1.0),  # score 0.2; the same query
        ("apron kitchen gift chef mat", "mat", "other", ("home", "kitchen"), 1.0),  # two levels shared
        ("apron kitchen gift chef mat", "mat", "other", ("kitchen", "home"), 1.0),  # in any order
        ("apron kitchen gift chef mat", "mat", "other", ("home", "garden"), 0.5),  # one level only
        ("apron kitchen gift chef mat towel rack hook shelf box lamp", "mat", "apron", (), 0.1),  # 1 / 11 < 0.1
        ("apron kitchen gift chef mat towel rack hook shelf box", "mat", "other", (), 0.5),  # 1 / 10 is not below
        ("apron", "lamp", "apron", ("home", "kitchen"), 0.0),  # no noun shared overrides all
        ("blue something", "lamp", "other", (), 0.5),  # no noun desired: 0.2, which is not above 0.2
        ("blue something", "lamp", "apron", (), 1.0),
    ],
)
def test_the_type_factor(wanted, bought, query, category, expected):
    assert type_reward(goal(name=wanted), product(title=bought, query=query, category=category), TAGGER) == expected


def test_the_title_score_divides_shared_nouns_by_desired_nouns():
    assert title_score("Kitchen apron gift", "gift apron, blue", TAGGER) == pytest.approx(2 / 3)
    assert title_score("something blue", "apron", TAGGER) == 0.2
    assert title_score("apron", "something blue", TAGGER) == 0.0


@pytest.mark.parametrize(
    ("own", "wanted", "matches"),
    [
        ("machine washable", "washable machine", 1),  # token sets ignore order
        ("machine washable cotton", "cotton", 1),  # a subset of the tokens is a full match
        ("Machine-Washable", "machine washable", 1),  # case and punctuation do not count
        ("machine washables", "machine washable", 1),  # ratio 97
        ("hand wash", "machine washable", 0),
    ],
)
def test_attributes_match_above_a_token_set_ratio_of_85(own, wanted, matches):
    assert attribute_matches(goal(attributes=(wanted,)), product(attributes=(own,), title="x")) == matches


@pytest.mark.parametrize("place", ["title", "description", "features"])
def test_an_attribute_may_stand_in_the_texts(place):
    text = "It is Double Stitched, really"
    found = product(attributes=(), **{place: (text,) if place == "features" else text})
    assert attribute_matches(goal(attributes=("double stitched",)), found) == 1


def test_options_match_by_their_plain_colour():
    assert plain_color("deep navy-2") == "navy"
    assert plain_color("large") == "large"
    assert option_matches(["navy blue"], ["blue striped"]) == 1
    assert option_matches(["red"], ["green"]) == 0
    assert option_matches(["size 9 wide"], ["9 wide size"]) == 1
    assert option_matches(["red", "large"], ["large"]) == 1
    assert list(COLORS) == sorted(COLORS)


def test_a_goal_needs_a_price_limit():
    with pytest.raises(AgentBankError, match="above 0"):
        goal(price_upper=0.0)
