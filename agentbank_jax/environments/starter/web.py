"""The starter's shopping family: goals over generated catalogues, for the text shop."""

import functools
import hashlib
import random
from dataclasses import dataclass

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec, check_split
from agentbank_jax.environments.starter.catalogue import (
    NOUNS,
    TRAINING_DEPARTMENTS,
    UNSEEN_DEPARTMENTS,
    Department,
    make_catalogue,
)
from agentbank_jax.environments.webshop import ShoppingTask, WebShop, WebShopConfig
from agentbank_jax.environments.webshop_catalogue import Catalogue, Product
from agentbank_jax.environments.webshop_expert import visibly_fits, wanted_words
from agentbank_jax.environments.webshop_reward import LexiconTagger, ShoppingGoal
from agentbank_jax.errors import AgentBankError

# Token-lean: short pages, the instruction once, a line instead of a page after an option.
CONFIG = WebShopConfig(
    results_per_page=3,
    max_results=12,
    repeat_instruction=False,
    repeat_page_after_option=False,
    rating=False,
    sub_pages=("Description",),
)
TAGGER = LexiconTagger("starter_types", NOUNS)
# Where a search shows the first article that fits: first, later on its page, or on the next page.
_PLACES = (("first", 0.8), ("later", 0.14), ("next page", 0.06))
_INSTANCES_PER_WORLD = {"train": 1000, "test": 50}

INSTRUCTION = (
    "Shop for the user. Actions: search[keywords], click[value] with a button, product id or option of the page. "
    "Choose the options before click[Buy Now]."
)

_DEPARTMENTS: dict[str, tuple[Department, ...]] = {
    "starter_web": TRAINING_DEPARTMENTS,
    "starter_web_unseen_category": UNSEEN_DEPARTMENTS,
}

# {wanted} holds attributes and type, {options} the choices, {limit} whole dollars.
_WORDINGS = (
    "i need a {wanted} with {options}, price lower than {limit} dollars",
    "i want a {wanted} with {options}, and price lower than {limit} dollars",
    "find me a {wanted}, {options}, price lower than {limit} dollars",
    "i am looking for a {wanted} with {options}, for less than {limit} dollars",
    "buy a {wanted} with {options} for less than {limit} dollars",
    "i would like a {wanted}, {options}, cheaper than {limit} dollars",
    "get me a {wanted} for less than {limit} dollars with {options}",
    "looking for a {wanted} cheaper than {limit} dollars with {options}",
)

THOUGHTS: dict[str, tuple[str, ...]] = {
    "search": (
        "I search for a {wanted}.",
        "I should look for a {wanted} first.",
        "I need a {wanted}, so I search for it.",
        "First I search for {wanted}.",
        "Let me find a {wanted}.",
        "The shop may have a {wanted}.",
    ),
    "open_item": (
        "I may pay less than {budget}. The {nth} one fits.",
        "It must be cheaper than {budget}: I open the {nth} one.",
        "Less than {budget}: that is the {nth} one.",
        "Cheaper than {budget} is the {nth} one.",
        "For less than {budget} I can have the {nth} one.",
        "The price is lower than {budget} for the {nth} one.",
    ),
    "next_page": (
        "I may pay less than {budget}. None of these fits.",
        "It must be cheaper than {budget}: I turn the page.",
        "Less than {budget}: there is none, next page.",
        "Cheaper than {budget} is none of these.",
        "For less than {budget} I can have none of these.",
        "The price is lower than {budget} for none, so I look further.",
    ),
    "choose_option": (
        "I choose the {name} {value}.",
        "The {name} should be {value}.",
        "The user wants {name} {value}.",
        "Now the {name}: {value}.",
        "I need {value} as the {name}.",
        "I set the {name} to {value}.",
    ),
    "buy": (
        "All is chosen, so I buy it.",
        "The {type} is right; I buy it now.",
        "All options are set. I buy the {type}.",
        "Nothing is missing, I buy now.",
        "This {type} fits, time to buy.",
        "Everything matches; I buy the {type}.",
    ),
    "go_back": (
        "I go back.",
        "This is not right, back.",
        "I return to the page before.",
        "Back, to look for a {type} elsewhere.",
        "I go back to find a {wanted}.",
        "Not this one; I go back.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class World:
    """A catalogue and the goals over it, all different."""

    catalogue: Catalogue
    goals: tuple[ShoppingGoal, ...]


@functools.lru_cache(maxsize=4)
def load_world(name: str) -> World:
    """The world called `<family>/<split>/<number>`.

    Raises:
      AgentBankError: if the name is not of that form.
    """
    family, _, rest = name.partition("/")
    split, _, number = rest.partition("/")
    if family not in _DEPARTMENTS or split not in _INSTANCES_PER_WORLD or not number.isdecimal():
        raise AgentBankError(f"There is no catalogue {name!r}; expected a name such as 'starter_web/train/0'.")
    catalogue = make_catalogue(_DEPARTMENTS[family], seed=f"catalogue/{name}")
    rng = random.Random(f"goals/{name}")
    goals: dict[tuple[object, ...], ShoppingGoal] = {}
    while len(goals) < _INSTANCES_PER_WORLD[split]:
        place = rng.choices([place for place, _ in _PLACES], [share for _, share in _PLACES])[0]
        goal = None
        while goal is None:
            goal = _propose_goal(rng, catalogue, place)
        goals.setdefault(_meaning(goal), goal)
    return World(catalogue=catalogue, goals=tuple(goals.values()))


def load_catalogue(name: str) -> Catalogue:
    """The catalogue of the world of this name, see `load_world`."""
    return load_world(name).catalogue


def make_instance(family: str, split: str, index: int) -> Instance:
    """Instance `index` of a split: a goal of the world that holds it; train and test worlds differ."""
    check_split(split)
    if index < 0:
        raise AgentBankError(f"Instance {index} of {family}/{split} does not exist; expected an index of 0 or more.")
    number, place = divmod(index, _INSTANCES_PER_WORLD[split])
    name = f"{family}/{split}/{number}"
    world = load_world(name)
    goal = world.goals[place]
    digest = hashlib.sha256(f"{world.catalogue.digest}{_meaning(goal)!r}".encode()).hexdigest()
    return Instance(
        id=f"{family}/{split}/{index}",
        fingerprint=digest,
        payload=ShoppingTask(catalogue=name, goal=goal),
        difficulty=len(goal.attributes) + len(goal.options) + 1,
    )


def _meaning(goal: ShoppingGoal) -> tuple[object, ...]:
    """What is asked for, without the wording."""
    return (goal.query, goal.attributes, goal.options, goal.price_upper)


def _propose_goal(rng: random.Random, catalogue: Catalogue, place: str) -> ShoppingGoal | None:
    """A goal whose search shows the first article that fits at `place`; None if this draw has none."""
    product = rng.choice(catalogue.products)
    attributes = rng.choice([product.attributes, product.attributes, product.attributes[:1], product.attributes[1:]])
    options = [(name, rng.choice(values)) for name, values in product.options]
    if rng.random() < 0.5:
        options = [rng.choice(options)]
    limits = [float(limit) for limit in range(20, 100, 10)]
    rng.shuffle(limits)
    wording = rng.choice(_WORDINGS)
    for limit in limits:
        goal = ShoppingGoal(
            instruction=wording.format(
                wanted=" ".join([*attributes, product.query]),
                options=" and ".join(f"{name}: {value}" for name, value in options),
                limit=f"{limit:.0f}",
            ),
            query=product.query,
            name=product.title,
            category=product.category,
            attributes=attributes,
            options=tuple(options),
            price_upper=limit,
        )
        if _place_of_fit(goal, catalogue.search(wanted_words(goal), CONFIG.max_results)) == place:
            return goal
    return None


def _place_of_fit(goal: ShoppingGoal, results: tuple[Product, ...]) -> str | None:
    for position, product in enumerate(results[: 2 * CONFIG.results_per_page]):
        if visibly_fits(goal, product):
            return "first" if position == 0 else "later" if position < CONFIG.results_per_page else "next page"
    return None


def _make_shop() -> WebShop:
    return WebShop(load_catalogue, TAGGER, CONFIG)


SPECS: tuple[EnvironmentSpec, ...] = tuple(
    EnvironmentSpec(
        name=family,
        skill="web",
        action_space="discrete",
        max_steps=10,
        protocol=f"webshop/1+nouns={TAGGER.name}",
        success_threshold=1.0,
        instruction=INSTRUCTION,
        make=_make_shop,
        instance=functools.partial(make_instance, family),
        held_out=family != "starter_web",
    )
    for family in _DEPARTMENTS
)
