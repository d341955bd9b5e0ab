"""Texts cut where their sentences end: into the passages of an index, and into the sentences that a look-up shows."""

import re
from collections.abc import Iterable, Iterator

# Behind the mark that ends a sentence, where the next one begins like one; not behind an initial, as in `J. Smith`.
_SENTENCE_END = re.compile(r"""(?<!\b[A-Z]\.)(?<=[.!?])["”')\]]*\s+(?=["“'(\[]*[A-Z0-9])""")


def split_sentences(text: str) -> list[str]:
    """Returns the sentences of a text, judged by its punctuation."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    pieces = (text[begin:end].strip() for begin, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [piece for piece in pieces if piece]


def split_passages(paragraphs: Iterable[str], max_words: int) -> Iterator[str]:
    """Joins and cuts the paragraphs of an article into passages of at most `max_words` words.

    A paragraph is cut only where it is longer, between sentences, and a sentence only where that is longer.
    """
    held: list[str] = []
    count = 0
    for paragraph in paragraphs:
        words = paragraph.split()
        for piece in [words] if len(words) <= max_words else _cut(paragraph, max_words):
            if count + len(piece) > max_words and held:
                yield " ".join(held)
                held, count = [], 0
            held += piece
            count += len(piece)
    if held:
        yield " ".join(held)


def _cut(paragraph: str, max_words: int) -> Iterator[list[str]]:
    for sentence in split_sentences(paragraph):
        words = sentence.split()
        for begin in range(0, len(words), max_words):
            yield words[begin : begin + max_words]
