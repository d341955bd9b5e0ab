"""The shop's expert: heuristic search for a purchase of reward 1, judged by what pages show."""

import functools
import re
from collections.abc import Sequence

from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.heuristic_search import heuristic_search
from agentbank_jax.environments.webshop import BUY_NOW, NEXT_PAGE, ShopState, WebShop
from agentbank_jax.environments.webshop_catalogue import Product, price_text
from agentbank_jax.environments.webshop_reward import ShoppingGoal, option_matches
from agentbank_jax.errors import AgentBankError

MAX_EXPANSIONS = 500
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
# Costs in steps, so high that what the pages speak for is tried first: further results pages
# before products that do not fit, and those before other searches.
_UNFIT_PRODUCT = 10.0
_LATER_SEARCH = 40.0


def find_purchase(shop: WebShop) -> list[ExpertStep]:
    """Steps from the shop's present state to a purchase of reward 1.

    A* over the shop. The estimate of the steps left looks only at what has been shown: whether
    a title on the results page holds the goal's words at a fitting price, and which options are
    chosen. So the first product that visibly fits is opened, and the next page where none does.
    Every intent has the slots `wanted`, `type`, `limit` (as a page shows a price) and `budget` (in
    words); see below for the others.

    Raises:
      AgentBankError: if the budget ends without a purchase of reward 1.
    """
    goal = shop.goal
    searches = candidate_searches(goal)
    result = heuristic_search(
        shop,
        actions=lambda: _candidates(shop, searches),
        heuristic=lambda: _steps_left(shop, searches),
        max_expansions=MAX_EXPANSIONS,
    )
    if result.actions is None:
        raise AgentBankError(
            f"No purchase of reward 1 was found for {goal.instruction!r} within {MAX_EXPANSIONS} states; "
            "the catalogue may hold no product that fits the goal."
        )
    return _explained(shop, result.actions)


def find_described(shop: WebShop) -> list[ExpertStep]:
    """Steps to the product that the goal was made from, found by its title; else as `find_purchase`.

    For catalogues of real products, whose titles need not hold the words of a goal.
    """
    goal, config = shop.goal, shop.config
    for keywords in (goal.name, *candidate_searches(goal)):
        results = shop.catalogue.search(keywords, config.max_results)
        for place, product in enumerate(results):
            values = _fitting_options(goal, product)
            if product.title != goal.name or values is None:
                continue
            pages = place // config.results_per_page
            clicks = [*[NEXT_PAGE] * pages, product.id, *values, BUY_NOW]
            return _explained(shop, [f"search[{keywords}]", *(f"click[{click}]" for click in clicks)])
    return find_purchase(shop)


def _fitting_options(goal: ShoppingGoal, product: Product) -> list[str] | None:
    """An option value of the product for each that the goal asks for, each of another name; None where one lacks."""
    chosen: dict[str, str] = {}
    for _, wanted in goal.options:
        fitting = [
            (value != wanted, name, value)
            for name, values in product.options
            if name not in chosen
            for value in values
            if value == wanted or option_matches([wanted], [value])
        ]
        if not fitting:
            return None
        _, name, value = min(fitting)
        chosen[name] = value
    return list(chosen.values())


def _explained(shop: WebShop, actions: Sequence[str]) -> list[ExpertStep]:
    start = shop.snapshot()
    try:
        return [_explain(shop, action) for action in actions]
    finally:
        shop.restore(start)


def candidate_searches(goal: ShoppingGoal) -> tuple[str, ...]:
    """Keywords worth searching for, best first: the attributes and the type, then the type alone."""
    return tuple(dict.fromkeys([wanted_words(goal), goal.query]))


def wanted_words(goal: ShoppingGoal) -> str:
    """`soft cotton towel`: the attributes and the type, in the order of the goal."""
    return " ".join([*goal.attributes, goal.query])


@functools.lru_cache(maxsize=65536)
def visibly_fits(goal: ShoppingGoal, product: Product) -> bool:
    """Whether a results page shows that the product fits: every wanted word in its title, and the price."""
    title = set(re.findall(r"\w+", product.title.lower()))
    return product.price <= goal.price_upper and set(re.findall(r"\w+", wanted_words(goal).lower())) <= title


def _candidates(shop: WebShop, searches: tuple[str, ...]) -> list[str]:
    if shop.state.page == "search":
        return [f"search[{keywords}]" for keywords in searches]
    return shop.valid_actions()


def _steps_left(shop: WebShop, searches: tuple[str, ...]) -> float:
    state, goal = shop.state, shop.goal
    options = len(goal.options)
    if state.page == "search":
        return options + 3.0
    penalty = _LATER_SEARCH * searches.index(state.keywords) if state.keywords in searches else 0.0
    if state.page == "results":
        fitting = any(visibly_fits(goal, product) for product in shop.results_on_page())
        return penalty + options + (2.0 if fitting else 3.0)
    chosen = {value.lower() for _, value in state.options}
    left = 1.0 + sum(value.lower() not in chosen for _, value in goal.options)
    if state.page != "item":
        left += 1.0
    return penalty + left + (0.0 if visibly_fits(goal, shop.product()) else _UNFIT_PRODUCT)


def _explain(shop: WebShop, action: str) -> ExpertStep:
    """Takes the action and says what it was for."""
    goal, before = shop.goal, shop.snapshot()
    shown = [product.id for product in shop.results_on_page()] if before.page == "results" else []
    shop.step(action)
    place = shown.index(shop.state.item) if shop.state.item in shown else 0
    intent, slots = _intent(shop, before, action, place)
    common = {
        "wanted": wanted_words(goal),
        "type": goal.query,
        "limit": price_text(goal.price_upper),
        "budget": f"{goal.price_upper:g} dollars",
    }
    return ExpertStep(action=action, intent=intent, slots={**common, **slots})


def _intent(shop: WebShop, before: ShopState, action: str, place: int) -> tuple[str, dict[str, str]]:
    after = shop.state
    if action.startswith("search["):
        return "search", {"keywords": after.keywords}
    if action == f"click[{BUY_NOW}]":
        return "buy", {"item": after.item}
    if action == f"click[{NEXT_PAGE}]":
        return "next_page", {"number": str(after.number)}
    if before.page == "results" and after.page == "item":
        product = shop.product()
        return "open_item", {
            "item": product.id,
            "title": product.title,
            "price": price_text(product.price),
            "nth": ORDINALS[place] if place < len(ORDINALS) else f"{place + 1}th",
        }
    if before.page == "item" and after.page == "item":
        name, value = next(pair for pair in after.options if pair not in before.options)
        return "choose_option", {"name": name, "value": value}
    return "go_back", {"page": after.page}
