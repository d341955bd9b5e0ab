"""WebShop's protocol: a text shop with `search[keywords]` and `click[value]`."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from agentbank_jax.environments.base import ExpertStep, TextEnvironment, begun, payload_of
from agentbank_jax.environments.webshop_catalogue import Product, ProductSearch, price_text
from agentbank_jax.environments.webshop_reward import NounTagger, ShoppingGoal, purchase_reward
from agentbank_jax.errors import AgentBankError

SEPARATOR = " [SEP] "
BACK_TO_SEARCH, NEXT_PAGE, PREVIOUS, BUY_NOW = "Back to Search", "Next >", "< Prev", "Buy Now"
SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")

_ACTION = re.compile(r"\s*(search|click)\[(.*)\]\s*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class WebShopConfig:
    """How the shop shows its pages; the defaults are WebShop's.

    Fields:
      results_per_page: products on a results page.
      max_results: the results that a search keeps.
      repeat_instruction: begin every page with the instruction, not the search page alone.
      repeat_page_after_option: show the item page again after an option was clicked; else only
        `You have clicked <value>.`
      search_anywhere: let a search begin on any page, not on the search page alone; WebShop's text environment does.
      rating: show the line `Rating: N.A.` on item pages.
      sub_pages: the further pages of an item, some of Description, Features, Reviews, Attributes.
    """

    results_per_page: int = 10
    max_results: int = 50
    repeat_instruction: bool = True
    repeat_page_after_option: bool = True
    search_anywhere: bool = False
    rating: bool = True
    sub_pages: tuple[str, ...] = ("Description", "Features", "Reviews")

    def __post_init__(self) -> None:
        for name in ("results_per_page", "max_results"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"WebShopConfig.{name} is {getattr(self, name)}; expected at least 1.")
        for page in self.sub_pages:
            if page not in SUB_PAGES:
                raise AgentBankError(
                    f"WebShopConfig.sub_pages holds {page!r}; expected some of {', '.join(SUB_PAGES)}."
                )


@dataclass(frozen=True, kw_only=True)
class ShoppingTask:
    """The payload of an instance: the name under which the shop loads its catalogue, and the goal."""

    catalogue: str
    goal: ShoppingGoal


class ShopState(NamedTuple):
    """Where the buyer is: immutable and hashable, so that it serves as snapshot and as key.

    Fields:
      page: `search`, `results`, `item`, or the name of one of the item's further pages.
      keywords: of the last search.
      number: of the results page, from 1.
      item: id of the product shown, or the last shown.
      options: (name, value) pairs chosen on this item, sorted by name.
      done: whether something has been bought.
    """

    page: str = "search"
    keywords: str = ""
    number: int = 1
    item: str = ""
    options: tuple[tuple[str, str], ...] = ()
    done: bool = False


class WebShop(TextEnvironment):
    """A shop over catalogues of products; the episode ends with `click[Buy Now]`.

    Actions are `search[keywords]` on the search page and `click[value]` elsewhere, where `value` is
    a button, a product id or an option that the page shows; case does not count. Any other action
    leaves the page as it is and says so. `info` holds `invalid_action`, and at the end `success`
    (reward 1), `reward_parts` and `bought`.

    Args:
      load_catalogue: gives the catalogue that a `ShoppingTask` names; expected to cache.
      tagger: finds nouns for the reward's title score.
      config: how pages look.
    """

    def __init__(
        self, load_catalogue: Callable[[str], ProductSearch], tagger: NounTagger, config: WebShopConfig | None = None
    ) -> None:
        self._load_catalogue = load_catalogue
        self._tagger = tagger
        self.config = config or WebShopConfig()
        self._task: ShoppingTask | None = None
        self._catalogue: ProductSearch | None = None
        self.state = ShopState()

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._task = payload_of(options, ShoppingTask, "webshop")
        self._catalogue = self._load_catalogue(self._task.catalogue)
        self.state = ShopState()
        return self.page_text(), {"invalid_action": False}

    @property
    def goal(self) -> ShoppingGoal:
        return begun(self._task, "webshop").goal

    @property
    def catalogue(self) -> ProductSearch:
        return begun(self._catalogue, "webshop")

    def snapshot(self) -> ShopState:
        return self.state

    def restore(self, snapshot: ShopState) -> None:
        self.state = snapshot

    def state_key(self) -> ShopState:
        """Equal for equal states."""
        return self.state

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        state = self.state
        if state.done:
            return "The purchase has been made.", 0.0, True, False, {"invalid_action": True, "success": False}
        match = _ACTION.fullmatch(action)
        if match is None:
            return self._invalid()
        argument = match[2].strip()
        if match[1].lower() == "search":
            if not argument or (state.page != "search" and not self.config.search_anywhere):
                return self._invalid()
            return self._show(ShopState(page="results", keywords=argument))
        return self._click(argument.lower())

    def _click(self, value: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        state = self.state
        target = next((button for button in self.buttons() if button.lower() == value), None)
        if target is None:
            return self._invalid()
        if target == BACK_TO_SEARCH:
            return self._show(ShopState())
        if state.page == "results":
            if target == NEXT_PAGE:
                return self._show(state._replace(number=state.number + 1))
            if target == PREVIOUS:
                return self._show(state._replace(number=state.number - 1))
            return self._show(state._replace(page="item", item=target, options=()))
        if target == PREVIOUS:
            back = "results" if state.page == "item" else "item"
            return self._show(state._replace(page=back))
        if target in self.config.sub_pages:
            return self._show(state._replace(page=target))
        if target == BUY_NOW:
            return self._buy()
        name = next(name for name, values in self.product().options if target in values)
        chosen = {**dict(state.options), name: target}
        self.state = state._replace(options=tuple(sorted(chosen.items())))
        text = self.page_text() if self.config.repeat_page_after_option else f"You have clicked {target}."
        return text, 0.0, False, False, {"invalid_action": False}

    def _show(self, state: ShopState) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.state = state
        return self.page_text(), 0.0, False, False, {"invalid_action": False}

    def _invalid(self) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return f"Invalid action.{SEPARATOR}{self.page_text()}", 0.0, False, False, {"invalid_action": True}

    def _buy(self) -> tuple[str, float, bool, bool, dict[str, Any]]:
        product = self.product()
        reward = purchase_reward(self.goal, product, (value for _, value in self.state.options), self._tagger)
        self.state = self.state._replace(done=True)
        info = {
            "invalid_action": False,
            "success": reward.total >= 1.0,
            "reward_parts": asdict(reward),
            "bought": product.id,
        }
        thanks = ("Thank you for shopping with us!", "Your score (min 0.0, max 1.0)", f"{reward.total:.2f}")
        return SEPARATOR.join(thanks), reward.total, True, False, info

    def product(self) -> Product:
        """The product that is shown, or was last."""
        product = self.catalogue.get(self.state.item)
        if product is None:
            raise AgentBankError("No product has been opened yet; click one on a results page first.")
        return product

    def results(self) -> tuple[Product, ...]:
        """All results of the last search."""
        return self.catalogue.search(self.state.keywords, self.config.max_results)

    def results_on_page(self) -> tuple[Product, ...]:
        """The results that the present results page shows."""
        size = self.config.results_per_page
        return self.results()[(self.state.number - 1) * size : self.state.number * size]

    def buttons(self) -> list[str]:
        """What can be clicked on the present page, in its order."""
        state = self.state
        if state.page == "search" or state.done:
            return []
        if state.page == "results":
            turning = [PREVIOUS] if state.number > 1 else []
            if state.number * self.config.results_per_page < len(self.results()):
                turning.append(NEXT_PAGE)
            return [BACK_TO_SEARCH, *turning, *(product.id for product in self.results_on_page())]
        if state.page == "item":
            values = [value for _, values in self.product().options for value in values]
            return [BACK_TO_SEARCH, PREVIOUS, *values, *self.config.sub_pages, BUY_NOW]
        return [BACK_TO_SEARCH, PREVIOUS]

    def page_text(self) -> str:
        """The present page, its parts joined by ` [SEP] `."""
        state = self.state
        instruction = ["Instruction:", self.goal.instruction]
        if state.page == "search":
            return SEPARATOR.join(["WebShop", *instruction, "Search"])
        lines = instruction if self.config.repeat_instruction else []
        if state.page == "results":
            return SEPARATOR.join([*lines, *self._results_lines()])
        if state.page == "item":
            return SEPARATOR.join([*lines, *self._item_lines()])
        return SEPARATOR.join([*lines, BACK_TO_SEARCH, PREVIOUS, *self._sub_page_lines()])

    def _results_lines(self) -> list[str]:
        state, found = self.state, self.results()
        lines = [BACK_TO_SEARCH, f"Page {state.number} (Total results: {len(found)})"]
        if state.number > 1:
            lines.append(PREVIOUS)
        if state.number * self.config.results_per_page < len(found):
            lines.append(NEXT_PAGE)
        for product in self.results_on_page():
            lines += (product.id, product.title, _tag(product))
        return lines

    def _item_lines(self) -> list[str]:
        product = self.product()
        lines = [BACK_TO_SEARCH, PREVIOUS]
        for name, values in product.options:
            lines += (name, *values)
        lines += (product.title, f"Price: {_tag(product)}")
        if self.config.rating:
            lines.append("Rating: N.A.")
        return [*lines, *self.config.sub_pages, BUY_NOW]

    def _sub_page_lines(self) -> tuple[str, ...]:
        product = self.product()
        if self.state.page == "Description":
            return (product.description or "None",)
        if self.state.page == "Features":
            return product.features or ("None",)
        if self.state.page == "Attributes":
            return product.attributes or ("None",)
        return ("No reviews yet.",)

    def valid_actions(self) -> list[str]:
        """The clicks of the present page; on the search page one search, for the whole instruction."""
        if self.state.done:
            return []
        if self.state.page == "search":
            return [f"search[{self.goal.instruction}]"]
        return [f"click[{button}]" for button in self.buttons()]

    def sample_action(self, rng: random.Random) -> str:
        """A click, each equally likely; on the search page a search for one to three words of the instruction."""
        if self.state.page == "search":
            words = self.goal.instruction.split()
            return f"search[{' '.join(rng.sample(words, min(len(words), rng.randint(1, 3))))}]"
        return rng.choice(self.valid_actions() or ["click[Buy Now]"])

    def expert_steps(self) -> list[ExpertStep]:
        from agentbank_jax.environments.webshop_expert import find_purchase

        return find_purchase(self)


def _tag(product: Product) -> str:
    return product.price_tag or price_text(product.price)
