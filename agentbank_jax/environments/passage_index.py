"""A full-text index of passages on disk: the one that `scripts/build_index.py` makes, opened and searched.

The folder holds `manifest.json` and tantivy's files. It may be moved, and many processes may search it at once.
"""

import dataclasses
import functools
import importlib.metadata
import json
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.errors import AgentBankError, first_line

if TYPE_CHECKING:
    import tantivy

FORMAT = "agentbank_jax passages"
VERSION = 1
MANIFEST = "manifest.json"
TANTIVY = "tantivy"

MAX_QUERY_WORDS = 64

_MAX_ARTICLE = 10_000
_MAX_TITLE = 400
_ANALYZER = "passages"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A titled text."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class IndexManifest:
    """What an index holds; the file beside it.

    Fields:
      content: hash of titles and texts in their order; it names the corpus in results.
      passages, articles: how many there are; neighbouring passages of one title are an article.
      duplicates: passages left out because title and text were there already.
      max_words: where passages were cut.
      tantivy: its version.
      sources: the files, each with its passages.
    """

    content: str
    passages: int
    articles: int
    duplicates: int
    max_words: int
    tantivy: str
    sources: tuple[dict[str, Any], ...]
    format: str = FORMAT
    version: int = VERSION

    def write(self, folder: Path) -> None:
        """Writes the file into an index's folder."""
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8", errors="replace")


def read_manifest(folder: Path) -> IndexManifest:
    """Reads what an index holds.

    Raises:
      AgentBankError: `folder` is no index, or one of another version; says how to build one.
    """
    remedy = f"build it with: python scripts/build_index.py --input=PASSAGES --output={shlex.quote(str(folder))}"
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AgentBankError(f"{folder} holds no index of passages; {remedy}") from None
    except (OSError, ValueError) as error:
        raise AgentBankError(f"{folder / MANIFEST}: cannot be read ({first_line(error)}); {remedy}") from None
    names = {field.name for field in dataclasses.fields(IndexManifest)}
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise AgentBankError(f"{folder} holds no index of passages of version {VERSION}; {remedy} --overwrite")
    if set(content) != names:
        raise AgentBankError(
            f"{folder / MANIFEST}: its fields are not {', '.join(sorted(names))}; {remedy} --overwrite"
        )
    return IndexManifest(**{**content, "sources": tuple(content["sources"])})


def query_words(query: str) -> str:
    """Returns the words of a query, at most `MAX_QUERY_WORDS`, without characters that would be operators."""
    # Lower case keeps AND, OR, NOT, IN and TO from being read as operators.
    return " ".join(_WORD.findall(query)[:MAX_QUERY_WORDS]).lower()


def title_key(title: str) -> str:
    """Returns what equal titles have in common: case and blanks do not count, nor what follows a long beginning."""
    # Half a surrogate pair, which a model or JSON may write, cannot be in an index.
    return " ".join(title[:_MAX_TITLE].split()).casefold().encode("utf-8", "replace").decode("utf-8")


def make_schema() -> "tantivy.Schema":
    """The fields of a passage: `title` and `text` for words, `key` for the whole title, `number` for its place."""
    import tantivy

    builder = tantivy.SchemaBuilder()
    for name in ("title", "text"):
        builder.add_text_field(name, stored=True, tokenizer_name=_ANALYZER, index_option="freq")
    builder.add_text_field("key", tokenizer_name="raw", index_option="basic")
    builder.add_integer_field("number", fast=True)
    return builder.build()


def make_analyzer() -> "tantivy.TextAnalyzer":
    """What makes words of a text: lower case, no accents, no English stop words, stems."""
    import tantivy

    analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for each in (
        tantivy.Filter.remove_long(40),
        tantivy.Filter.lowercase(),
        tantivy.Filter.ascii_fold(),
        tantivy.Filter.stopword("english"),
        tantivy.Filter.stemmer("english"),
    ):
        analyzer = analyzer.filter(each)
    return analyzer.build()


def register_analyzer(index: "tantivy.Index") -> None:
    """Tells an index how texts become words."""
    index.register_tokenizer(_ANALYZER, make_analyzer())


class PassageStore:
    """An index on disk, opened for searching.

    Fields:
      manifest: what it holds.
    """

    def __init__(self, folder: str | Path) -> None:
        """Opens the index in `folder`.

        Raises:
          AgentBankError: there is none, or it was made by another version; says how to build one.
        """
        folder = Path(folder)
        self.manifest = read_manifest(folder)
        try:
            self._index, self._searcher = _open_read_only((folder / TANTIVY).absolute())
        except (ValueError, OSError) as error:
            raise AgentBankError(
                f"{folder}: cannot be opened ({first_line(error)}); it was built with tantivy {self.manifest.tantivy}, "
                f"and this is {importlib.metadata.version('tantivy')}. Build it again with: python "
                f"scripts/build_index.py --input=PASSAGES --output={shlex.quote(str(folder))} --overwrite"
            ) from None
        self._schema, self._analyzer = self._index.schema, make_analyzer()

    def search(self, query: str, k: int) -> list[Passage]:
        """Returns up to `k` passages, best first; equal ones in the order of the files.

        Any text is a query; operators in it have no meaning. The passages of an article whose title the query is come
        first. Scores are BM25, of title and text together.
        """
        import tantivy

        analysed = dict.fromkeys(self._analyzer.analyze(query_words(query)))
        words = [
            (tantivy.Occur.Should, tantivy.Query.term_query(self._schema, field, word))
            for word in analysed
            for field in ("title", "text")
        ]
        titled = (tantivy.Occur.Must, tantivy.Query.term_query(self._schema, "key", title_key(query)))
        # Two searches: of words alone tantivy need not score every passage that holds one.
        found = self._best(tantivy.Query.boolean_query([titled, *words]), k)
        if words:
            found |= self._best(tantivy.Query.boolean_query(words), k)
        documents = [self._searcher.doc(address) for address in list(found.values())[:k]]
        return [Passage(title=document["title"][0], text=document["text"][0]) for document in documents]

    def article(self, title: str) -> list[str]:
        """Returns the texts of an article's passages in their order; at most 10,000."""
        import tantivy

        query = tantivy.Query.term_query(self._schema, "key", title_key(title))
        hits = self._searcher.search(
            query, _MAX_ARTICLE, count=False, order_by_field="number", order=tantivy.Order.Asc
        ).hits
        return [self._searcher.doc(address)["text"][0] for _, address in hits]

    def _best(self, query: "tantivy.Query", k: int) -> "dict[int, tantivy.DocAddress]":
        """Returns the passages, by number, of the `k` best scores, best first."""
        limit = 4 * k
        hits = self._searcher.search(query, limit, count=False).hits
        # Whole groups of equal scores, so that how the index happens to be stored decides nothing.
        while len(hits) == limit and limit < _MAX_ARTICLE and _score(hits[-1]) == _score(hits[k - 1]):
            limit *= 4
            hits = self._searcher.search(query, limit, count=False).hits
        numbers: list[Any] = self._searcher.fast_field_values("number", [address for _, address in hits])
        ranked = sorted(zip(hits, numbers, strict=True), key=lambda each: (-_score(each[0]), each[1]))
        return {number: address for (_, address), number in ranked[:k]}


def _open_read_only(folder: Path) -> "tuple[tantivy.Index, tantivy.Searcher]":
    """Opens an index that this process may not be allowed to write to: tantivy's lock lies elsewhere meanwhile."""
    import tantivy

    with tempfile.TemporaryDirectory() as links:
        for path in folder.iterdir():
            if path.suffix != ".lock":
                (Path(links) / path.name).symlink_to(path)
        index = tantivy.Index.open(links)
        register_analyzer(index)
        # What is open stays open; nothing is looked for in the folder of links again.
        index.config_reader(reload_policy="manual")
        return index, index.searcher()


def _score(hit: tuple[float, Any]) -> float:
    # Sums of single precision depend on their order in the last digits.
    return round(hit[0], 3)


@functools.lru_cache(maxsize=2)
def _open(folder: str, changed_ns: int) -> PassageStore:
    return PassageStore(folder)


def open_index(folder: str) -> PassageStore:
    """Returns the index in a folder, opened at the first call, and again where it was built anew.

    Raises:
      AgentBankError: as `PassageStore` does.
    """
    manifest = Path(folder) / MANIFEST
    return _open(folder, manifest.stat().st_mtime_ns if manifest.is_file() else 0)
