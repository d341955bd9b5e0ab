"""Catalogues for the starter shop, composed from closed lists of common words.

Within a catalogue every type of article comes in several (feature, material) combinations, each
offered by several brands at different prices: the distractors of a goal differ from the right
article in one attribute or in the price alone. All articles of a type share their options, so
that a results page shows all that is needed to choose.
"""

import random
from dataclasses import dataclass

from agentbank_jax.environments.webshop_catalogue import Catalogue, Product

PRODUCTS_PER_CATALOGUE = 1000
_TYPES_PER_CATALOGUE = 25


@dataclass(frozen=True, kw_only=True)
class Department:
    """Types of articles that share their attributes and options."""

    name: str
    shelves: tuple[tuple[str, tuple[str, ...]], ...]
    features: tuple[str, ...]
    materials: tuple[str, ...]
    second_option: tuple[str, tuple[str, ...]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _shelves(**shelves: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, _words(types)) for name, types in shelves.items())


# No attribute begins with a vowel: every goal reads well after "a".
_CLOTH = ("cotton", "wool", "linen", "silk", "denim", "fleece")
_HARD = ("steel", "glass", "wood", "clay", "brass", "copper")
_TIMBER = ("birch", "pine", "bamboo", "steel", "maple", "walnut")
_SIZES = ("size", ("small", "medium", "large"))

TRAINING_DEPARTMENTS = (
    Department(
        name="clothing",
        shelves=_shelves(tops="shirt jacket sweater coat", others="skirt dress scarf hat"),
        features=("soft", "warm", "light", "washable", "slim", "loose"),
        materials=_CLOTH,
        second_option=_SIZES,
    ),
    Department(
        name="kitchen",
        shelves=_shelves(cooking="pan kettle pot tray", dining="bowl plate mug jar"),
        features=("sturdy", "heavy", "light", "round", "deep", "plain"),
        materials=_HARD,
        second_option=_SIZES,
    ),
    Department(
        name="bedroom",
        shelves=_shelves(bedding="pillow blanket sheet quilt", comfort="curtain cushion robe rug"),
        features=("soft", "warm", "thick", "washable", "plain", "light"),
        materials=_CLOTH,
        second_option=("style", ("modern", "classic", "rustic")),
    ),
    Department(
        name="furniture",
        shelves=_shelves(seating="chair stool bench sofa", storage="desk table shelf cabinet"),
        features=("sturdy", "tall", "narrow", "folding", "plain", "round"),
        materials=_TIMBER,
        second_option=("style", ("modern", "classic", "rustic")),
    ),
    Department(
        name="outdoors",
        shelves=_shelves(camping="tent lantern hammock stove", carrying="backpack bag cooler bottle"),
        features=("folding", "sturdy", "light", "heavy", "round", "slim"),
        materials=("canvas", "nylon", "steel", "leather", "plastic", "rubber"),
        second_option=_SIZES,
    ),
    Department(
        name="office",
        shelves=_shelves(writing="notebook folder pen marker", sorting="basket binder frame clock"),
        features=("slim", "plain", "thick", "light", "sturdy", "narrow"),
        materials=("paper", "leather", "plastic", "steel", "wood", "canvas"),
        second_option=("pack", ("single", "double", "triple")),
    ),
)

UNSEEN_DEPARTMENTS = (
    Department(
        name="garden",
        shelves=_shelves(tools="hose shovel rake bucket", beds="planter fence pergola trellis"),
        features=("sturdy", "light", "folding", "tall", "deep", "plain"),
        materials=("steel", "plastic", "rubber", "wood", "clay", "bamboo"),
        second_option=_SIZES,
    ),
    Department(
        name="music",
        shelves=_shelves(strings="guitar violin harp banjo", others="drum flute horn bell"),
        features=("light", "slim", "plain", "deep", "round", "heavy"),
        materials=("maple", "birch", "walnut", "copper", "steel", "bamboo"),
        second_option=("style", ("modern", "classic", "rustic")),
    ),
    Department(
        name="toys",
        shelves=_shelves(games="puzzle kite ball train", figures="doll robot dragon castle"),
        features=("soft", "washable", "sturdy", "light", "round", "folding"),
        materials=("wood", "plastic", "cotton", "paper", "rubber", "fleece"),
        second_option=("pack", ("single", "double", "triple")),
    ),
)

COLORS = _words("red blue green black white brown pink gray")
BRANDS = _words(
    "willow summit harbor meadow cedar falcon river orchid ridge sunrise valley ember "
    "lagoon prairie autumn winter island forest canyon garden ocean desert comet lotus"
)
# Common words of four letters: an id is `B0` and two of them, with a 7 between
# them, at which no vocabulary joins their letters.
_ID_WORDS = _words(
    "FERN LAKE BIRD GOLD MOON STAR WIND RAIN SNOW LEAF ROSE HILL WOLF BEAR LION DEER "
    "FISH SHIP BOAT ROAD GATE DOOR WALL ROOF FIRE SAND WAVE TREE SEED ROOT CORN RICE "
    "MILK CAKE SALT KING DUKE HERO LAMP BELL DRUM HORN RING COIN SILK WOOL IRON PARK "
    "FARM TOWN CITY CAMP"
)

NOUNS = frozenset(
    kind
    for department in (*TRAINING_DEPARTMENTS, *UNSEEN_DEPARTMENTS)
    for _, kinds in department.shelves
    for kind in kinds
)


def make_catalogue(departments: tuple[Department, ...], seed: str) -> Catalogue:
    """A catalogue of 1,000 articles: a pure function of departments and seed."""
    rng = random.Random(seed)
    kinds = [
        (department, shelf, kind) for department in departments for shelf, names in department.shelves for kind in names
    ]
    rng.shuffle(kinds)
    kinds = kinds[:_TYPES_PER_CATALOGUE]
    ids = rng.sample(
        [f"B0{first}7{second}" for first in _ID_WORDS for second in _ID_WORDS if first != second],
        PRODUCTS_PER_CATALOGUE,
    )
    products: list[Product] = []
    for number, (department, shelf, kind) in enumerate(kinds):
        first = number * PRODUCTS_PER_CATALOGUE // len(kinds)
        last = (number + 1) * PRODUCTS_PER_CATALOGUE // len(kinds)
        products += _articles_of_type(rng, department, shelf, kind, ids[first:last])
    # Articles of equal score are shown in the catalogue's order: it says nothing about prices.
    rng.shuffle(products)
    return Catalogue(products)


def _articles_of_type(
    rng: random.Random, department: Department, shelf: str, kind: str, ids: list[str]
) -> list[Product]:
    features, materials = rng.sample(department.features, 4), rng.sample(department.materials, 3)
    combinations = [(feature, material) for feature in features for material in materials]
    colors = tuple(rng.sample(COLORS, 3))
    name, values = department.second_option
    second = tuple(rng.sample(values, 2))
    articles = []
    for number, article_id in enumerate(ids):
        feature, material = combinations[number % len(combinations)]
        # Never a multiple of ten: no article costs exactly what a goal's limit says.
        price = float(10 * rng.randint(1, 9) + rng.randint(1, 9))
        articles.append(
            Product(
                id=article_id,
                title=f"{rng.choice(BRANDS)} {feature} {material} {kind}",
                price=price,
                category=(department.name, shelf, kind),
                query=kind,
                attributes=(feature, material),
                options=(("color", colors), (name, second)),
                description=f"A {feature} {kind} made of {material}.",
                features=(feature, f"made of {material}"),
            )
        )
    return articles
