"""WebShop's reward for a purchase (Yao et al., 2022), rule by rule.

    R = r_type * (n_attributes + n_options + [price <= limit]) / (|attributes| + |options| + 1)

Fuzzy comparisons are token-set ratios of 0 to 100, after lower-casing and with punctuation read
as space, rounded to whole numbers; two texts match above 85.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rapidfuzz import fuzz, utils

from agentbank_jax.environments.webshop_catalogue import Product
from agentbank_jax.errors import AgentBankError

MATCH_ABOVE = 85

# In alphabetical order: the first that a value contains stands for the whole value.
# fmt: off
COLORS = (
    "aqua", "beige", "black", "blue", "bronze", "brown", "burgundy", "charcoal", "copper", "coral", "cream", "gold",
    "gray", "green", "grey", "indigo", "ivory", "khaki", "lavender", "lilac", "magenta", "maroon", "mint", "navy",
    "olive", "orange", "peach", "pink", "plum", "purple", "red", "rose", "silver", "tan", "teal", "turquoise",
    "violet", "white", "yellow",
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class ShoppingGoal:
    """What is to be bought.

    Fields:
      instruction: the buyer's words.
      query: the kind of article, as a search.
      name: the title of the article that the goal was made from.
      category: of that article, from the widest level to the narrowest.
      attributes: properties asked for.
      options: (name, value) pairs asked for.
      price_upper: the limit in dollars, above 0.
    """

    instruction: str
    query: str
    name: str
    category: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    price_upper: float

    def __post_init__(self) -> None:
        if not self.price_upper > 0:
            raise AgentBankError(
                f"The price limit of the goal {self.instruction!r} is {self.price_upper}; expected dollars above 0."
            )


class NounTagger(Protocol):
    """Finds the nouns of a title. `name` becomes part of the protocol string of every result."""

    @property
    def name(self) -> str: ...

    def nouns(self, text: str) -> tuple[str, ...]:
        """The nouns of `text` in lower case, in order, repeated where the text repeats them."""
        ...


@dataclass(frozen=True)
class LexiconTagger:
    """Takes for nouns exactly the words of a given list.

    Fields:
      name: of the list.
      lexicon: its words, in lower case.
    """

    name: str
    lexicon: frozenset[str]

    def nouns(self, text: str) -> tuple[str, ...]:
        return tuple(word for word in re.findall(r"\w+", text.lower()) if word in self.lexicon)


@dataclass(frozen=True, kw_only=True)
class PurchaseReward:
    """A reward and its parts: the type's factor, and how many wishes were met."""

    total: float
    type: float
    attributes: int
    options: int
    price: bool


def purchase_reward(goal: ShoppingGoal, product: Product, chosen: Iterable[str], tagger: NounTagger) -> PurchaseReward:
    """Scores the purchase of `product` with the option values `chosen`; the total is in [0, 1]."""
    type_factor = type_reward(goal, product, tagger)
    attributes = attribute_matches(goal, product)
    options = option_matches((value for _, value in goal.options), chosen)
    price = product.price <= goal.price_upper
    wishes = len(goal.attributes) + len(goal.options) + 1
    total = type_factor * (attributes + options + price) / wishes
    return PurchaseReward(total=total, type=type_factor, attributes=attributes, options=options, price=price)


def type_reward(goal: ShoppingGoal, product: Product, tagger: NounTagger) -> float:
    """1, 0.5, 0.1 or 0: how near the type of the product is to the goal's.

    1 if the query is the same, at least two levels of the category are shared, or the title score
    exceeds 0.2; else 0.5. Then a title score below 0.1 gives 0.1 and one of 0 gives 0, whatever
    came before.
    """
    score = title_score(goal.name, product.title, tagger)
    same_query = product.query == goal.query
    same_category = len(set(product.category) & set(goal.category)) >= 2
    factor = 1.0 if same_query or same_category or score > 0.2 else 0.5
    if score < 0.1:
        factor = 0.1
    if score == 0.0:
        factor = 0.0
    return factor


def title_score(desired: str, bought: str, tagger: NounTagger) -> float:
    """The nouns that the two titles share, by the number of the desired one's; 0.2 where it has none."""
    wanted = tagger.nouns(desired)
    if not wanted:
        return 0.2
    return len(set(wanted) & set(tagger.nouns(bought))) / len(wanted)


def attribute_matches(goal: ShoppingGoal, product: Product) -> int:
    """How many of the goal's attributes the product has, listed or in its texts."""
    texts = (product.title.lower(), " ".join(product.features).lower(), product.description.lower())
    return sum(
        any(alike(own, wanted) for own in product.attributes) or any(wanted in text for text in texts)
        for wanted in goal.attributes
    )


def option_matches(wanted: Iterable[str], chosen: Iterable[str]) -> int:
    """How many of the wanted option values were chosen, colours compared by their plain names."""
    plain = [plain_color(value) for value in chosen]
    return sum(any(alike(own, value) for own in plain) for value in map(plain_color, wanted))


def plain_color(value: str) -> str:
    """The first known colour that the value contains (`navy` for `deep navy-2`), else the value."""
    return next((color for color in COLORS if color in value), value)


@functools.lru_cache(maxsize=65536)
def alike(text: str, other: str) -> bool:
    """Whether the token-set ratio of two texts exceeds 85."""
    return round(fuzz.token_set_ratio(text, other, processor=utils.default_process)) > MATCH_ABOVE
