"""A published catalogue on disk: products, full-text index and goals, made once and then only opened."""

import functools
import hashlib
import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.environments.webshop_catalogue import Product
from agentbank_jax.environments.webshop_files import GOAL_SEED, find_files, goals_of, read_json, read_products
from agentbank_jax.environments.webshop_reward import ShoppingGoal
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    import tantivy

FORMAT = 1
_INDEX_MEMORY = 64_000_000  # bytes
_WORD = re.compile(r"\w+")
_WORDS_LIMIT = 100  # of one search
_KEPT = 4096  # searches and products that are remembered


class StoredCatalogue:
    """The products of one folder of WebShop's files, found by id or by keywords.

    The index is BM25 with English stems over what WebShop indexes: title, description, first bullet point and options.
    It lies in `agentbank_index/` in that folder and is made at the first use.

    Args:
      folder: with WebShop's files.

    Raises:
      AgentBankError: where a file is missing or malformed, or the index cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        import tantivy

        place = index_folder(folder)
        self._index = tantivy.Index.open(str(place / "products"))
        self._searcher = self._index.searcher()
        self.get = functools.lru_cache(maxsize=_KEPT)(self._get)
        self.search = functools.lru_cache(maxsize=_KEPT)(self._search)

    def __len__(self) -> int:
        return self._searcher.num_docs

    def _get(self, product_id: str) -> Product | None:
        import tantivy

        query = tantivy.Query.term_query(self._index.schema, "id", product_id.upper())
        hits = self._searcher.search(query, 1).hits
        return self._product(hits[0][1]) if hits else None

    def _search(self, keywords: str, limit: int) -> tuple[Product, ...]:
        words = " ".join(_WORD.findall(keywords.lower())[:_WORDS_LIMIT])
        if not words:
            return ()
        hits = self._searcher.search(self._index.parse_query(words, ["text"]), limit).hits
        return tuple(self._product(address) for _, address in hits)

    def _product(self, address: "tantivy.DocAddress") -> Product:
        return Product(**_fields(bytes(self._searcher.doc(address)["product"][0])))


def index_folder(folder: Path) -> Path:
    """Where the index of a folder of WebShop's files is; makes it where there is none."""
    files = find_files(folder)
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(repr((FORMAT, facts)).encode()).hexdigest()[:16]
    place = folder / "agentbank_index" / key
    if not place.is_dir():
        _make(place, files)
    return place


def read_goals(folder: Path) -> Iterator[tuple[ShoppingGoal, str]]:
    """Yields all goals in the order of WebShop's shuffle, with the id of the product that each was made from."""
    with (index_folder(folder) / "goals.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            fields = _fields(line)
            asin = fields.pop("asin")
            yield ShoppingGoal(**fields), asin


def _fields(text: str | bytes) -> dict[str, Any]:
    """The fields of a product or goal that JSON has, its lists as tuples."""
    return {key: _tuples(value) for key, value in json.loads(text).items()}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _make(place: Path, files: tuple[Path, Path, Path]) -> None:
    try:
        place.parent.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="making_", dir=place.parent))
    except OSError as error:
        raise AgentBankError(
            f"{place.parent} cannot be written ({error.strerror}); WebShop's index is kept there, so make the folder "
            "writable or copy WebShop's files to one that is."
        ) from None
    try:
        goals = list(_fill(made, files))
        random.Random(GOAL_SEED).shuffle(goals)
        lines = (json.dumps({**asdict(goal), "asin": asin}) + "\n" for goal, asin in goals)
        (made / "goals.jsonl").write_text("".join(lines), encoding="utf-8")
        try:
            os.rename(made, place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _fill(made: Path, files: tuple[Path, Path, Path]) -> Iterator[tuple[ShoppingGoal, str]]:
    """Writes the index and yields the goals in the order of the products."""
    import tantivy

    products, attributes, instructions = files
    asked = read_json(instructions)
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name="en_stem")
    builder.add_text_field("id", tokenizer_name="raw")
    builder.add_bytes_field("product", stored=True)
    (made / "products").mkdir()
    index = tantivy.Index(builder.build(), path=str(made / "products"))
    writer = index.writer(_INDEX_MEMORY, 1)
    try:
        for product in read_products(products, read_json(attributes)):
            options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options)
            text = " ".join([product.title, product.description, *product.features[:1], options])
            fields = json.dumps(asdict(product)).encode()
            writer.add_document(tantivy.Document(text=text, id=product.id.upper(), product=fields))
            for goal in goals_of(product, asked.get(product.id) or []):
                yield goal, product.id
        writer.commit()
    finally:
        # Else its threads would write into a folder that is being removed.
        writer.wait_merging_threads()
