"""WebShop's published files: products and what people asked for.

WebShop: Yao et al. 2022, arXiv 2207.01206. Three files of its publisher (github.com/princeton-nlp/WebShop):
`items_shuffle.json`, a list of products; `items_ins_v2.json`, their attributes; `items_human_ins.json`, instructions
that people wrote. The first two also come for the first thousand products, with `_1000` in the name.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentbank_jax.environments.json_list import read_rows
from agentbank_jax.environments.webshop_catalogue import Product
from agentbank_jax.environments.webshop_reward import ShoppingGoal
from agentbank_jax.errors import AgentBankError

PRODUCTS, ATTRIBUTES = (
    ("items_shuffle.json", "items_shuffle_1000.json"),
    ("items_ins_v2.json", "items_ins_v2_1000.json"),
)
GOALS = "items_human_ins.json"

GOAL_SEED = 233
NO_LIMIT = 1_000_000.0  # dollars; the limit of a goal for which there is none
_UNKNOWN_PRICE = 100.0
_LIMITS = [10.0 * step for step in range(1, 100)]
_NEAR_LIMITS = 4


def find_files(folder: Path) -> tuple[Path, Path, Path]:
    """The products, attributes and goals in a folder; the full catalogue before that of a thousand.

    Raises:
      AgentBankError: where one is missing.
    """
    found = []
    for names in (PRODUCTS, ATTRIBUTES, (GOALS,)):
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise AgentBankError(f"{folder} holds no {' or '.join(names)}; WebShop's setup.sh fetches it.")
        found.append(path)
    return found[0], found[1], found[2]


def read_json(path: Path) -> Any:
    """Raises `AgentBankError` where the file is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AgentBankError(f"{path}: cannot be read as JSON ({error}).") from None


def read_products(path: Path, attributes: dict[str, Any]) -> Iterator[Product]:
    """Yields the products that WebShop keeps: those with an id of at most ten characters, each once.

    Raises:
      AgentBankError: a row breaks the layout; names file, row (from 0) and field.
    """
    known: set[str] = set()
    for number, row in enumerate(read_rows(path)):
        asin = row.get("asin")
        if not isinstance(asin, str) or not isinstance(row.get("name"), str):
            field = "name" if isinstance(asin, str) else "asin"
            raise AgentBankError(f"{path}: row {number}: {field} is {str(row.get(field))[:40]}; expected a string.")
        if asin == "nan" or len(asin) > 10 or asin in known:
            continue
        known.add(asin)
        yield _product(row, attributes.get(asin) or {})


def _product(row: dict[str, Any], attributes: dict[str, Any]) -> Product:
    asin, bullets = row["asin"], row.get("small_description") or []
    prices = [float(re.sub(r"[^\d.]", "", part) or 0) for part in (row.get("pricing") or "").split("$")[1:]]
    price, tag = _UNKNOWN_PRICE, f"${_UNKNOWN_PRICE}"
    if len(prices) == 1:
        price, tag = prices[0], f"${prices[0]}"
    elif prices:
        # WebShop draws it anew at each start of its server.
        price = random.Random(f"{GOAL_SEED}/{asin}").uniform(*prices[:2])
        tag = f"${prices[0]} to ${prices[1]}"
    options = []
    for name, contents in (row.get("customization_options") or {}).items():
        values = [str(one["value"]).strip().replace("/", " | ").lower() for one in contents or ()]
        if contents is not None:
            options.append((name.lower(), tuple(dict.fromkeys(values))))
    return Product(
        id=asin,
        title=row["name"],
        price=price,
        price_tag=tag,
        category=tuple(part.strip() for part in (row.get("product_category") or "").split("›")),
        query=(row.get("query") or "").lower().strip(),
        attributes=tuple(attributes.get("attributes") or ()),
        options=tuple(options),
        description=row.get("full_description") or "",
        features=tuple(str(line) for line in (bullets if isinstance(bullets, list) else [bullets])),
    )


def goals_of(product: Product, instructions: list[dict[str, Any]]) -> Iterator[ShoppingGoal]:
    """What people asked for with this product in mind; those that ask for no attribute are left out, as in WebShop.

    The limit is the higher of two of the four next tens of dollars above the price. WebShop draws it anew at each
    start; here it follows from the product and the number of the instruction.
    """
    for number, one in enumerate(instructions):
        if not one["instruction_attributes"]:
            continue
        near = [limit for limit in _LIMITS if limit > product.price][:_NEAR_LIMITS]
        limit, words = NO_LIMIT, ""
        if len(near) >= 2:
            rng = random.Random(f"{GOAL_SEED}/{product.id}/{number}")
            limit = max(rng.sample(near, 2))
            words = f", and price lower than {limit:.2f} dollars"
        options = one.get("instruction_options") or []
        pairs = options.items() if isinstance(options, dict) else (("", value) for value in options)
        yield ShoppingGoal(
            instruction=one["instruction"].strip(".") + words,
            query=product.query,
            name=product.title,
            category=product.category,
            attributes=tuple(one["instruction_attributes"]),
            options=tuple((str(name), str(value)) for name, value in pairs),
            price_upper=limit,
        )
