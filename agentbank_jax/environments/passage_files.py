"""The users' files of passages and articles, in the layouts in which corpora are published."""

import csv
import html
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from agentbank_jax.environments.benchmark_rows import open_text, rows_of, typed_field
from agentbank_jax.errors import AgentBankError

LAYOUTS = (
    "JSON lines with title and text (or contents, as Pyserini has them), DPR's TSV, WikiExtractor's <doc …> files, "
    "HotpotQA's or StrategyQA's questions, or a .txt file for each article"
)

_DOC = re.compile(r'^<doc\b.*\btitle="(.*)">\s*$')
_END_OF_DOC = "</doc>"
_TSV = ("id\ttext\ttitle", "id\ttitle\ttext")
# In a folder anything else may lie beside the passages; WikiExtractor's files have no ending.
_NAMES = re.compile(r"(?:.*\.(?:jsonl?|tsv|txt)|wiki_\d+)(?:\.gz|\.bz2)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Article:
    """A titled text, as its paragraphs."""

    title: str
    paragraphs: list[str]


def find_passage_files(paths: Iterable[str]) -> list[Path]:
    """Returns the files that paths name: each file itself, and of a folder all that may hold passages, by name.

    Raises:
      AgentBankError: a path does not exist, or a folder holds no such file.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given).expanduser()
        if path.is_file():
            found[path] = None
            continue
        if not path.is_dir():
            raise AgentBankError(f"--input={given}: no such file or folder; expected {LAYOUTS}.")
        files = sorted(each for each in path.rglob("*") if each.is_file() and _NAMES.fullmatch(each.name))
        if not files:
            raise AgentBankError(
                f"--input={given}: the folder holds no *.jsonl, *.json, *.tsv, *.txt or wiki_*; expected {LAYOUTS}."
            )
        found |= dict.fromkeys(files)
    return list(found)


def read_articles(path: Path) -> Iterator[tuple[Article, float]]:
    """Yields the articles of a file, each with how much of the file has been read, 0 to 1.

    Raises:
      AgentBankError: where it cannot be read, or its layout is not known; names file, row and field.
    """
    with open_text(path) as (file, raw):
        size = max(1, path.stat().st_size)
        for article in _articles(file, path):
            yield article, min(1.0, raw.tell() / size)


def _articles(file: TextIO, path: Path) -> Iterator[Article]:
    first = next((line for line in iter(file.readline, "") if not line.isspace()), "")
    if not first:
        raise AgentBankError(f"{path}: is empty; expected {LAYOUTS}.")
    start = first.lstrip()
    if start.startswith("<doc "):
        return _read_docs(itertools.chain([first], file), path)
    if start.rstrip("\r\n") in _TSV:
        return _read_tsv(start.split(), file, path)
    if start[0] in "{[":
        # Blank lines count in the numbers of rows.
        file.seek(0)
        return _read_json(file, path)
    if ".txt" in path.suffixes:
        title = path.name.split(".txt")[0].replace("_", " ")
        return iter([Article(title, [first, *file])])
    raise AgentBankError(f"{path}: begins with {start.rstrip()!r:.40}; expected {LAYOUTS}.")


def _read_docs(lines: Iterable[str], path: Path) -> Iterator[Article]:
    title: str | None = None
    paragraphs: list[str] = []
    for number, line in enumerate(lines, start=1):
        if title is None:
            if line.isspace():
                continue
            head = _DOC.match(line)
            if head is None:
                raise AgentBankError(f'{path}:{number}: {line.strip()!r:.40}; expected <doc … title="…">.')
            title = html.unescape(head[1])
        elif line.startswith(_END_OF_DOC):
            # The first line says the title again.
            same = bool(paragraphs) and paragraphs[0].strip() == title
            yield Article(title, paragraphs[1:] if same else paragraphs)
            title, paragraphs = None, []
        else:
            paragraphs.append(html.unescape(line))
    if title is not None:
        raise AgentBankError(f"{path}: ends within the article {title!r}; expected {_END_OF_DOC} behind it.")


def _read_tsv(columns: list[str], file: TextIO, path: Path) -> Iterator[Article]:
    title, text = columns.index("title"), columns.index("text")
    number = 0
    try:
        for number, row in enumerate(csv.reader(file, delimiter="\t"), start=1):
            if len(row) != len(columns):
                raise AgentBankError(f"{path}:{number}: {len(row)} columns; expected {', '.join(columns)}.")
            yield Article(row[title], [row[text]])
    except csv.Error as error:
        raise AgentBankError(f"{path}:{number + 1}: {error}; expected {', '.join(columns)}.") from None


def _read_json(file: TextIO, path: Path) -> Iterator[Article]:
    for number, row in rows_of(file, path):
        where = f"{path}:{number}"
        if "context" in row:
            yield from _hotpotqa_paragraphs(row["context"], where)
        elif "facts" in row:
            yield Article(typed_field(row, "term", str, where), [" ".join(_texts(row["facts"], f"{where}:facts"))])
        elif "text" in row:
            # HotpotQA's abstracts of Wikipedia have a list of sentences there.
            text = row["text"]
            yield Article(
                typed_field(row, "title", str, where),
                text.split("\n") if isinstance(text, str) else ["".join(_texts(text, f"{where}:text"))],
            )
        elif "contents" in row:
            # Pyserini's layout: the title, perhaps in quotation marks, stands on the first line.
            title, _, text = typed_field(row, "contents", str, where).partition("\n")
            yield Article(title.strip(' "') if text else str(row.get("id", "")), (text or title).split("\n"))
        else:
            raise AgentBankError(f"{where}: holds {', '.join(row) or 'nothing'}; expected {LAYOUTS}.")


def _hotpotqa_paragraphs(context: Any, where: str) -> Iterator[Article]:
    for position, paragraph in enumerate(context if isinstance(context, list) else [context], start=1):
        place = f"{where}:context:{position}"
        if not isinstance(paragraph, list) or len(paragraph) != 2 or not isinstance(paragraph[0], str):
            raise AgentBankError(f"{place}: {paragraph!r:.40}; expected [title, [sentences]].")
        yield Article(paragraph[0], ["".join(_texts(paragraph[1], place))])


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise AgentBankError(f"{where}: {value!r:.40}; expected a list of texts.")
    return value
