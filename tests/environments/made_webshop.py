"""A small shop that this project made, in the files and fields of WebShop's publisher."""

import json
import random
from pathlib import Path

MATERIALS = ("cotton", "wool", "steel", "bamboo", "linen")
ARTICLES = {
    "apron": "Home & Kitchen › Kitchen & Dining › Aprons",
    "kettle": "Home & Kitchen › Kitchen & Dining › Kettles",
    "backpack": "Clothing, Shoes & Jewelry › Luggage › Backpacks",
    "lamp": "Tools & Home Improvement › Lighting › Lamps",
}
COLORS = ("navy blue", "dark red", "black", "snow white")
SIZES = ("small", "large", "6.5/m")
PRICES = ("$12.99", "$45.5", "$10.0$30.0", "", "$995.0")


def write_webshop(folder: Path, *, products: int = 60, suffix: str = "_1000") -> Path:
    """Writes the three files of `products` made products, one instruction for every third."""
    rng = random.Random(7)
    rows, attributes, instructions = [], {}, {}
    for number in range(products):
        asin = f"B0{number:08d}"
        article, material = list(ARTICLES)[number % len(ARTICLES)], MATERIALS[number % len(MATERIALS)]
        maker = "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(3)).capitalize()
        options = {
            "Color": [{"value": color.title(), "image": None} for color in COLORS],
            "Size": [{"value": f" {size.upper()} "} for size in SIZES],
            "Style": None,
        }
        rows.append(
            {
                "asin": asin,
                "name": f"{maker} {material.capitalize()} {article.capitalize()} for Home, Model {number}",
                "category": "garden",
                "query": f" {material} {article}s ",
                "product_category": ARTICLES[article],
                "pricing": PRICES[number % len(PRICES)],
                "full_description": None if number % 7 == 0 else f"The {article} by {maker}.",
                "small_description": f"Easy to clean {article}" if number % 5 == 0 else [f"Made of {material}", "Gift"],
                "customization_options": {} if number % 4 == 3 else options,
                "images": ["none"],
            }
        )
        attributes[asin] = {"attributes": [f"{material} {article}", "easy clean"]}
        if number % 3 == 0:
            wanted = [COLORS[number % len(COLORS)], "6.5 | m"] if number % 4 != 3 else []
            named = dict(zip(("color", "size"), wanted, strict=False))
            instructions[asin] = [
                {
                    "asin": asin,
                    "instruction": f"I need an easy clean {material} {article} {' in '.join(wanted)}.",
                    "instruction_attributes": ["easy clean", f"{material} {article}"],
                    "instruction_options": wanted if number % 2 else named,
                },
                {"asin": asin, "instruction": "Nothing.", "instruction_attributes": [], "instruction_options": []},
            ]
    # What WebShop leaves out: an id that is none, one that is too long, and a second row of an id.
    rows += [{**rows[0], "asin": "nan"}, {**rows[0], "asin": "B0123456789"}, {**rows[0], "name": "another"}]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"items_shuffle{suffix}.json").write_text(json.dumps(rows, indent=1))
    (folder / f"items_ins_v2{suffix}.json").write_text(json.dumps(attributes))
    (folder / "items_human_ins.json").write_text(json.dumps(instructions))
    return folder
