"""The text shop: pages, navigation, purchase, and its expert."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.webshop import ShoppingTask, WebShop, WebShopConfig
from agentbank_jax.environments.webshop_catalogue import Catalogue, Product, price_text
from agentbank_jax.environments.webshop_reward import LexiconTagger, ShoppingGoal
from agentbank_jax.errors import AgentBankError

OPTIONS = (("color", ("red", "blue")), ("size", ("small", "large")))
APRONS = (
    ("B0FERNLAKE", "fern wool apron", 20.0),
    ("B0GOLDMOON", "gold cotton apron", 55.0),
    ("B0SNOWLEAF", "snow cotton apron", 39.5),
    ("B0WOLFBEAR", "wolf cotton apron", 12.0),
    ("B0SHIPBOAT", "ship linen apron", 15.0),
)
CATALOGUE = Catalogue(
    Product(
        id=id_,
        title=title,
        price=price,
        category=("home", "kitchen"),
        query="apron",
        attributes=(title.split()[1],),
        options=OPTIONS,
        description=f"A {title}.",
        features=("one", "two"),
    )
    for id_, title, price in APRONS
)
GOAL = ShoppingGoal(
    instruction="i need a cotton apron, color: blue and size: large, price lower than 40.00 dollars",
    query="apron",
    name="snow cotton apron",
    category=("home", "kitchen"),
    attributes=("cotton",),
    options=(("color", "blue"), ("size", "large")),
    price_upper=40.0,
)
SHORT = WebShopConfig(
    results_per_page=2, repeat_instruction=False, repeat_page_after_option=False, rating=False, sub_pages=()
)


def instance(goal: ShoppingGoal = GOAL) -> Instance:
    return Instance(id="shop/1", fingerprint="0", payload=ShoppingTask(catalogue="aprons", goal=goal))


def opened(config: WebShopConfig | None = None, goal: ShoppingGoal = GOAL) -> WebShop:
    shop = WebShop({"aprons": CATALOGUE}.__getitem__, LexiconTagger("test", frozenset({"apron"})), config)
    shop.reset(options={"instance": instance(goal)})
    return shop


def play(shop: WebShop, *actions: str):
    for action in actions:
        result = shop.step(action)
        assert not result[4]["invalid_action"], action
    return result


def test_pages_have_webshops_wording():
    shop = opened()
    instruction = f"Instruction: [SEP] {GOAL.instruction}"
    assert shop.page_text() == f"WebShop [SEP] {instruction} [SEP] Search"
    assert play(shop, "search[cotton apron]")[0] == (
        f"{instruction} [SEP] Back to Search [SEP] Page 1 (Total results: 5) [SEP] "
        "B0GOLDMOON [SEP] gold cotton apron [SEP] $55 [SEP] B0SNOWLEAF [SEP] snow cotton apron [SEP] $39.50 [SEP] "
        "B0WOLFBEAR [SEP] wolf cotton apron [SEP] $12 [SEP] B0FERNLAKE [SEP] fern wool apron [SEP] $20 [SEP] "
        "B0SHIPBOAT [SEP] ship linen apron [SEP] $15"
    )
    item = (
        f"{instruction} [SEP] Back to Search [SEP] < Prev [SEP] color [SEP] red [SEP] blue [SEP] size [SEP] small "
        "[SEP] large [SEP] snow cotton apron [SEP] Price: $39.50 [SEP] Rating: N.A. [SEP] Description [SEP] Features "
        "[SEP] Reviews [SEP] Buy Now"
    )
    assert play(shop, "click[B0SNOWLEAF]")[0] == item
    assert play(shop, "click[blue]")[0] == item
    assert (
        play(shop, "click[Description]")[0]
        == f"{instruction} [SEP] Back to Search [SEP] < Prev [SEP] A snow cotton apron."
    )
    assert play(shop, "click[< Prev]")[0] == item
    assert play(shop, "click[Features]")[0].endswith("< Prev [SEP] one [SEP] two")
    assert play(shop, "click[Back to Search]")[0] == f"WebShop [SEP] {instruction} [SEP] Search"


def test_the_lean_form_says_the_instruction_once_and_answers_an_option_with_a_line():
    shop = opened(SHORT)
    assert GOAL.instruction in shop.page_text()
    page = play(shop, "search[cotton apron]")[0]
    assert page.startswith("Back to Search [SEP] Page 1 (Total results: 5) [SEP] Next > [SEP] B0GOLDMOON")
    assert play(shop, "click[B0SNOWLEAF]")[0].endswith("snow cotton apron [SEP] Price: $39.50 [SEP] Buy Now")
    assert play(shop, "click[blue]")[0] == "You have clicked blue."


def test_results_are_turned_forth_and_back():
    shop = opened(SHORT)
    first = play(shop, "search[cotton apron]")[0]
    second = play(shop, "click[Next >]")[0]
    assert second.startswith(
        "Back to Search [SEP] Page 2 (Total results: 5) [SEP] < Prev [SEP] Next > [SEP] B0WOLFBEAR"
    )
    last = play(shop, "click[Next >]")[0]
    assert last == (
        "Back to Search [SEP] Page 3 (Total results: 5) [SEP] < Prev [SEP] B0SHIPBOAT [SEP] ship linen apron [SEP] $15"
    )
    assert shop.step("click[Next >]")[4]["invalid_action"]
    assert play(shop, "click[< Prev]")[0] == second
    play(shop, "click[B0WOLFBEAR]")
    assert play(shop, "click[< Prev]")[0] == second, "an item leads back to the page that it was on"
    assert play(shop, "click[< Prev]")[0] == first


def test_case_does_not_count():
    shop = opened()
    reward = play(
        shop, "Search[COTTON Apron]", "Click[b0snowleaf]", "click[BLUE]", " click[ Large ] ", "click[buy now]"
    )[1]
    assert reward == 1.0


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ([], "click[Buy Now]"),
        ([], "search[]"),
        ([], "buy it"),
        ([], "Final Answer: B0SNOWLEAF"),
        (["search[apron]"], "search[apron]"),
        (["search[apron]"], "click[blue]"),
        (["search[apron]"], "click[B0NONESUCH]"),
        (["search[apron]", "click[B0SNOWLEAF]"], "click[green]"),
        (["search[apron]", "click[B0SNOWLEAF]", "click[Description]"], "click[Buy Now]"),
    ],
)
def test_an_invalid_action_says_so_and_leaves_the_page(path, action):
    shop = opened()
    for step in path:
        shop.step(step)
    page, state = shop.page_text(), shop.snapshot()
    observation, reward, terminated, truncated, info = shop.step(action)
    assert observation == f"Invalid action. [SEP] {page}"
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"invalid_action": True})
    assert shop.snapshot() == state


def test_a_purchase_ends_the_episode_with_the_published_reward():
    shop = opened()
    observation, reward, terminated, _, info = play(
        shop, "search[apron]", "click[B0GOLDMOON]", "click[blue]", "click[Buy Now]"
    )
    # cotton and blue of cotton, blue, large, price
    assert reward == 0.5 and terminated and not info["success"]
    assert observation.endswith("Your score (min 0.0, max 1.0) [SEP] 0.50")
    assert info["bought"] == "B0GOLDMOON"
    assert info["reward_parts"] == {"total": 0.5, "type": 1.0, "attributes": 1, "options": 1, "price": False}
    _, reward, terminated, _, info = shop.step("click[Buy Now]")
    assert (reward, terminated, info["invalid_action"], shop.valid_actions()) == (0.0, True, True, [])


def test_options_belong_to_the_item_and_the_last_click_of_a_name_counts():
    shop = opened()
    play(shop, "search[apron]", "click[B0SNOWLEAF]", "click[red]", "click[blue]")
    assert shop.state.options == (("color", "blue"),)
    play(shop, "click[< Prev]", "click[B0WOLFBEAR]")
    assert shop.state.options == ()


def test_the_expert_buys_the_first_product_that_visibly_fits():
    shop = opened(SHORT)
    steps = shop.expert_steps()
    assert [(step.intent, step.action) for step in steps] == [
        ("search", "search[cotton apron]"),
        ("open_item", "click[B0SNOWLEAF]"),
        ("choose_option", "click[blue]"),
        ("choose_option", "click[large]"),
        ("buy", "click[Buy Now]"),
    ]
    assert steps[1].slots == {
        "wanted": "cotton apron",
        "type": "apron",
        "limit": "$40",
        "budget": "40 dollars",
        "item": "B0SNOWLEAF",
        "title": "snow cotton apron",
        "price": "$39.50",
        "nth": "second",
    }
    assert shop.page_text().startswith("WebShop"), "searching leaves the shop where it was"
    assert play(shop, *(step.action for step in steps))[1] == 1.0


def test_the_expert_turns_the_page_where_nothing_on_it_fits():
    shop = opened(WebShopConfig(results_per_page=1))
    assert [step.intent for step in shop.expert_steps()][:3] == ["search", "next_page", "open_item"]


def test_the_expert_says_when_no_product_fits():
    impossible = ShoppingGoal(instruction="x", query="apron", name="apron", attributes=("velvet",), price_upper=1.0)
    with pytest.raises(AgentBankError, match="No purchase of reward 1"):
        opened(goal=impossible).expert_steps()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, SHORT]))
def test_listed_actions_are_valid_and_play_is_deterministic(seed, config):
    shops, rng = [opened(config), opened(config)], random.Random(seed)
    for _ in range(15):
        listed = shops[0].valid_actions()
        state = shops[0].snapshot()
        for action in listed:
            assert not shops[0].step(action)[4]["invalid_action"], action
            shops[0].restore(state)
        action = shops[0].sample_action(rng)
        first, second = (shop.step(action) for shop in shops)
        assert first == second
        assert 0.0 <= first[1] <= 1.0
        if first[2]:
            break


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=20) | st.builds("search[{}]".format, st.text(max_size=20)), max_size=5))
def test_no_action_is_an_exception(actions):
    shop = opened()
    for action in actions:
        observation, reward, *_ = shop.step(action)
        assert observation and reward == 0.0


def test_a_reset_without_an_instance_says_what_was_expected():
    shop = WebShop({}.__getitem__, LexiconTagger("test", frozenset()))
    with pytest.raises(AgentBankError, match="ShoppingTask"):
        shop.reset()


@pytest.mark.parametrize("wrong", [{"results_per_page": 0}, {"max_results": -1}, {"sub_pages": ("Prices",)}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(AgentBankError, match=next(iter(wrong))):
        WebShopConfig(**wrong)


def test_search_ranks_by_the_words_matched_and_keeps_the_catalogues_order_among_equals():
    assert [product.id for product in CATALOGUE.search("apron", 50)] == [id_ for id_, _, _ in APRONS]
    assert CATALOGUE.search("LINEN aprons", 1)[0].id == "B0SHIPBOAT"
    assert CATALOGUE.search("[(+ AND :", 5) == () and CATALOGUE.search("zebra", 5) == ()


def test_a_catalogue_needs_products_with_ids_of_their_own():
    with pytest.raises(AgentBankError, match="empty"):
        Catalogue([])
    with pytest.raises(AgentBankError, match="ids"):
        Catalogue([Product(id="A", title="x", price=1.0), Product(id="a", title="y", price=1.0)])


def test_prices_show_cents_only_where_there_are_some():
    assert (price_text(23.0), price_text(23.5)) == ("$23", "$23.50")
