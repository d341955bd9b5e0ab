"""The products of a text shop and the full-text index over them."""

import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    import tantivy

_WORD = re.compile(r"\w+")
_INDEX_MEMORY = 15_000_000  # bytes; the least that tantivy accepts for one thread


@dataclass(frozen=True, kw_only=True)
class Product:
    """One article.

    Fields:
      id: what is clicked on a results page; WebShop's are Amazon's ten-character numbers.
      title: one line.
      price: in dollars.
      category: from the widest level to the narrowest.
      query: the search under which the article is filed; two articles of one query are of one type.
      attributes: properties that a buyer may ask for.
      options: (name, values) in the order of the page, such as `("color", ("red", "blue"))`.
      description: the text of the page Description.
      features: the lines of the page Features.
      price_tag: the price as pages show it, where that is not `price_text(price)`, such as `$5.0 to $7.0`.
    """

    id: str
    title: str
    price: float
    category: tuple[str, ...] = ()
    query: str = ""
    attributes: tuple[str, ...] = ()
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    description: str = ""
    features: tuple[str, ...] = ()
    price_tag: str = field(default="", repr=False)  # part of no digest


def price_text(price: float) -> str:
    """`$23` for whole dollars, else `$23.50`."""
    return f"${price:.0f}" if price == int(price) else f"${price:.2f}"


class ProductSearch(Protocol):
    """What a shop needs of its catalogue."""

    def get(self, product_id: str) -> Product | None:
        """The product of this id, in any case, or None."""
        ...

    def search(self, keywords: str, limit: int) -> tuple[Product, ...]:
        """The `limit` best products for these words, best first."""
        ...


class Catalogue:
    """Products, found by id or by keywords.

    The index is BM25 over titles and attributes with English stems, held in memory and built at
    the first search. Products of equal score come in the catalogue's order.

    Args:
      products: at least one, with distinct ids (also when case is ignored).

    Raises:
      AgentBankError: on an empty catalogue or a repeated id.
    """

    def __init__(self, products: Iterable[Product]) -> None:
        self.products = tuple(products)
        self._by_id = {product.id.lower(): product for product in self.products}
        if not self.products:
            raise AgentBankError("A shop's catalogue is empty; expected at least one product.")
        if len(self._by_id) < len(self.products):
            raise AgentBankError(
                f"A shop's catalogue has {len(self.products)} products but only {len(self._by_id)} ids; "
                "give each product an id of its own (case does not count)."
            )
        self._found: dict[tuple[str, int], tuple[Product, ...]] = {}

    def __len__(self) -> int:
        return len(self.products)

    def get(self, product_id: str) -> Product | None:
        """The product of this id, in any case, or None."""
        return self._by_id.get(product_id.lower())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of all products."""
        return hashlib.sha256(repr(self.products).encode()).hexdigest()

    def search(self, keywords: str, limit: int) -> tuple[Product, ...]:
        """The `limit` best products for these words, best first; any word may match."""
        words = " ".join(_WORD.findall(keywords.lower()))
        if not words:
            return ()
        if (words, limit) not in self._found:
            if len(self._found) >= 4096:  # a bound for agents that search at random
                self._found.clear()
            index, searcher = self._index
            hits = searcher.search(index.parse_query(words, ["text"]), limit).hits
            self._found[words, limit] = tuple(
                self.products[searcher.doc(address)["position"][0]] for _, address in hits
            )
        return self._found[words, limit]

    @functools.cached_property
    def _index(self) -> "tuple[tantivy.Index, tantivy.Searcher]":
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", tokenizer_name="en_stem")
        builder.add_integer_field("position", stored=True)
        index = tantivy.Index(builder.build())
        # One thread and one commit make one segment, so equal scores keep the catalogue's order.
        writer = index.writer(_INDEX_MEMORY, 1)
        for position, product in enumerate(self.products):
            missing = [attribute for attribute in product.attributes if attribute not in product.title]
            text = " ".join([product.title, *missing])
            writer.add_document(tantivy.Document(text=text, position=position))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        return index, index.searcher()
