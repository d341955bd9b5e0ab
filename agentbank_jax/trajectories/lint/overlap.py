"""Runs of words that trajectories share with evaluation items: the contamination check of GPT-3.

A trajectory overlaps with an item where the two share a run of at least `n` words (13 by default;
Brown et al. 2020, appendix C), in lower case and without punctuation. An item of fewer words
matches where all of them stand together; of fewer than eight, GPT-3's shortest run too, it is not
checked. As there, a run that is common is no evidence: here, one that stands in more than ten
items, such as the opening of a household's description.

Of each item, every (n - 4)th run of five words is indexed: each run of `n` words holds one of them
whole, so that none is missed, and the index is small. What meets an indexed run is compared word
by word to both sides.
"""

import gzip
import os
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.formats.registry import detect_format
from agentbank_jax.trajectories.lint.duplicates import SHINGLE_WORDS
from agentbank_jax.trajectories.lint.words import split_words
from agentbank_jax.trajectories.rows.errors import RowError
from agentbank_jax.trajectories.rows.files import RowReader, find_files

NGRAM_WORDS = 13
SHORTEST_ITEM = 8
COMMON_ITEMS = 10

# Where an item's question stands, in the files of public benchmarks.
QUESTION_FIELDS = ("question", "problem", "query", "prompt", "instruction", "goal", "input", "text")


class EvaluationItem(NamedTuple):
    """A question of an evaluation file: index of the file, number in it from 0, and its text."""

    file: int
    number: int
    text: str


class Overlap(NamedTuple):
    """A trajectory shares `words` words in a row with an item; `share` of the item's words."""

    item: int
    words: int
    share: float


def read_items(
    paths: Sequence[str | os.PathLike[str]], field: str | None = None
) -> tuple[list[Path], list[EvaluationItem]]:
    """Reads evaluation files: `.jsonl`, `.json` (a list), `.parquet`, or `.txt` with a question a line.

    Args:
      paths: files or glob patterns; all but parquet may end in `.gz`.
      field: the column that holds the question; None takes the first of `QUESTION_FIELDS`, in any
        case, or the first user turn of a trajectory in any layout.

    Raises:
      AgentBankError: on a file that cannot be read, a row without a question, or a file without any.
    """
    files = find_files(paths)
    items = []
    for index, path in enumerate(files):
        texts = list(_read_lines(path) if ".txt" in path.suffixes else _read_questions(path, field))
        if not texts:
            raise AgentBankError(f"--against={path}: holds no question; expected at least one, a row or a line each.")
        items += [EvaluationItem(index, number, text) for number, text in enumerate(texts)]
    return files, items


class EvaluationIndex:
    """Finds the items of evaluation files in trajectories.

    Fields:
      items: all of them.
      n: words that a run must have.
      too_short: indices of the items that have too few words to be checked.
    """

    def __init__(self, items: Sequence[EvaluationItem], n: int = NGRAM_WORDS) -> None:
        """Indexes items.

        Raises:
          AgentBankError: where `n` is less than a shingle's five words.
        """
        if n < SHINGLE_WORDS:
            raise AgentBankError(f"--ngram={n}: expected at least {SHINGLE_WORDS}.")
        self.items = items
        self.n = n
        self._words = [split_words(item.text) for item in items]
        shortest = min(n, SHORTEST_ITEM)
        self.too_short = [index for index, words in enumerate(self._words) if len(words) < shortest]
        self._telling = self._telling_windows()
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for item, windows in enumerate(self._telling):
            if not windows:
                continue
            size = self._window(item)
            stride = size - SHINGLE_WORDS + 1
            for place in range(0, len(self._words[item]) - SHINGLE_WORDS + 1, stride):
                # Some telling window must hold the run that is indexed.
                if any(windows[max(0, place - stride + 1) : place + 1]):
                    run = " ".join(self._words[item][place : place + SHINGLE_WORDS])
                    self._places[run].append((item, place))

    def match(self, words: Sequence[str], runs: Sequence[str]) -> list[Overlap]:
        """Returns the items that a trajectory shares a run with, the longest run of each.

        Args:
          words: the trajectory's, as `split_words` gives them.
          runs: their shingles, as `shingles` gives them.
        """
        met = self._places.keys() & set(runs)
        if not met:
            return []
        longest: dict[int, int] = {}
        seen: set[tuple[int, int, int]] = set()
        for place, run in enumerate(runs):
            if run not in met:
                continue
            for item, item_place in self._places[run]:
                theirs = self._words[item]
                begin, end = _extend(words, place, theirs, item_place)
                # The same run is met at each indexed place that it holds.
                if (item, begin, place - item_place) in seen:
                    continue
                seen.add((item, begin, place - item_place))
                size = self._window(item)
                if end - begin >= size and any(self._telling[item][begin : end - size + 1]):
                    longest[item] = max(longest.get(item, 0), end - begin)
        return [Overlap(item, length, length / len(self._words[item])) for item, length in sorted(longest.items())]

    def _window(self, item: int) -> int:
        """Words that a run with this item must have."""
        return min(self.n, len(self._words[item]))

    def _telling_windows(self) -> list[list[bool]]:
        """Says of each item's windows whether they are rare enough to tell that the item was seen."""
        items_of: dict[int, int] = defaultdict(int)
        hashes: list[list[int]] = []
        for item, words in enumerate(self._words):
            size = self._window(item)
            count = len(words) - size + 1 if size >= min(self.n, SHORTEST_ITEM) else 0
            hashes.append([hash(tuple(words[place : place + size])) for place in range(count)])
            for each in set(hashes[-1]):
                items_of[each] += 1
        return [[items_of[each] <= COMMON_ITEMS for each in windows] for windows in hashes]


def _extend(ours: Sequence[str], place: int, theirs: Sequence[str], item_place: int) -> tuple[int, int]:
    """Returns the longest run in `theirs` around the place where both have the same five words."""
    begin, end = item_place, item_place + SHINGLE_WORDS
    shift = place - item_place
    while begin > 0 and begin + shift > 0 and theirs[begin - 1] == ours[begin + shift - 1]:
        begin -= 1
    while end < len(theirs) and end + shift < len(ours) and theirs[end] == ours[end + shift]:
        end += 1
    return begin, end


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as lines:
            for line in lines:
                if line.strip():
                    yield line.decode("utf-8").strip()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise AgentBankError(f"--against={path}: cannot be read as UTF-8 text ({error}).") from None


def _read_questions(path: Path, field: str | None) -> Iterator[str]:
    for number, row in RowReader(path):
        name = field or _question_field(row)
        text = row.get(name) if name else _first_turn(row)
        if not isinstance(text, str):
            wanted = field or "question"
            raise AgentBankError(
                f"--against={path}, row {number}: no text in '{wanted}'.{did_you_mean(wanted, row)} "
                "Name the column that holds the question with --against_field."
            )
        yield text


def _question_field(row: Mapping[str, Any]) -> str | None:
    names = {name.lower(): name for name in row if isinstance(row[name], str)}
    return next((names[name] for name in QUESTION_FIELDS if name in names), None)


def _first_turn(row: Mapping[str, Any]) -> str | None:
    try:
        turns = detect_format(row).turns_from_row(row, "row")
    except RowError:
        return None
    return next((turn.content for turn in turns if turn.role == "user"), None)
