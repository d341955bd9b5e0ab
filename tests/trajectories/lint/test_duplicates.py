"""Repeated rows are found, exactly and nearly, and different ones are not."""

import random
from pathlib import Path

import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.lint.duplicates import (
    PERMUTATIONS,
    exact_duplicates,
    exact_key,
    near_duplicates,
    shingles,
    signature,
)
from tests.trajectories.lint.made_rows import GOOD_TURNS, found, lint_rows, make_row

ROWS, WORDS = 300, 200


def random_words(generator: random.Random, count: int = WORDS) -> list[str]:
    return [f"w{generator.randrange(50_000)}" for _ in range(count)]


def edited(words: list[str], similarity: float, generator: random.Random) -> list[str]:
    """Words whose five-word shingles have about this Jaccard similarity to those of `words`."""
    # A block of b new words changes b + 4 shingles of n on both sides: J = (n - b - 4) / (n + b + 4).
    n = len(words) - 4
    block = round(n * (1 - similarity) / (1 + similarity)) - 4
    start = generator.randrange(10, len(words) - block - 10)
    return words[:start] + random_words(generator, block) + words[start + block :]


def jaccard(left: list[str], right: list[str]) -> float:
    a, b = set(shingles(left)), set(shingles(right))
    return len(a & b) / len(a | b)


def test_shingles_are_the_runs_of_five_words() -> None:
    assert shingles(["a", "b", "c", "d", "e", "f"]) == ["a b c d e", "b c d e f"]
    assert shingles(["a", "b"]) == ["a b"] and shingles([]) == [""]


@pytest.mark.parametrize("similarity", [0.5, 0.8, 0.95])
def test_the_share_of_equal_minima_estimates_the_jaccard_similarity(similarity: float) -> None:
    generator = random.Random(0)
    errors = []
    for _ in range(200):
        words = random_words(generator)
        other = edited(words, similarity, generator)
        equal = signature(shingles(words)) == signature(shingles(other))
        errors.append(equal.mean() - jaccard(words, other))
    # One estimate has a standard deviation of sqrt(J(1 - J) / 128); the mean of 200 a 14th of it.
    deviation = (similarity * (1 - similarity) / PERMUTATIONS) ** 0.5
    assert abs(np.mean(errors)) < 4 * deviation / 200**0.5 and np.std(errors) < 1.3 * deviation


@pytest.mark.parametrize(
    ("similarity", "least", "most"), [(0.95, 1.0, 1.0), (0.87, 0.97, 1.0), (0.72, 0.0, 0.03), (0.5, 0, 0)]
)
def test_pairs_above_the_threshold_of_0_8_are_found_and_those_below_are_not(
    similarity: float, least: float, most: float
) -> None:
    # 0.87 and 0.72 are two standard errors (0.035) from the threshold.
    generator = random.Random(1)
    originals = [random_words(generator) for _ in range(ROWS)]
    copies = [edited(words, similarity, generator) for words in originals]
    signatures = np.stack([signature(shingles(words)) for words in originals + copies])
    duplicates = near_duplicates(signatures)
    # No row is taken for a copy of another than its own original.
    assert all(duplicate.of == duplicate.row - ROWS for duplicate in duplicates)
    assert least <= len(duplicates) / ROWS <= most


def test_the_first_of_a_family_is_the_one_that_the_others_repeat() -> None:
    generator = random.Random(2)
    first = random_words(generator)
    rows = [
        random_words(generator),
        first,
        *(edited(first, 0.93, generator) for _ in range(20)),
        random_words(generator),
    ]
    duplicates = near_duplicates(np.stack([signature(shingles(words)) for words in rows]))
    assert [duplicate.row for duplicate in duplicates] == list(range(2, 22))
    assert all(duplicate.of < duplicate.row for duplicate in duplicates)


def test_rows_that_are_skipped_are_neither_found_nor_repeated() -> None:
    row = signature(shingles([f"w{number}" for number in range(20)]))
    signatures = np.stack([row] * 4)
    assert [(d.row, d.of) for d in near_duplicates(signatures)] == [(1, 0), (2, 0), (3, 0)]
    assert [(d.row, d.of) for d in near_duplicates(signatures, skip=[0, 2])] == [(3, 1)]
    assert near_duplicates(signatures[:1]) == near_duplicates(signatures[:0]) == []


def test_exact_duplicates_ignore_case_and_white_space_but_no_sign() -> None:
    keys = [exact_key(text) for text in ("2 + 2  is\n4", "2 * 2 is 4", "2 + 2 IS 4 ", "2 + 2 is 4.")]
    assert [(d.row, d.of) for d in exact_duplicates([*keys, b"", b""])] == [(2, 0)]


def test_a_row_is_reported_once_as_an_exact_or_a_near_duplicate(tmp_path: Path) -> None:
    generator = random.Random(3)
    long = ("human", " ".join(random_words(generator)))
    near = ("human", f"{long[1]} really")
    rows = [make_row(turn, *GOOD_TURNS[1:], id=str(number)) for number, turn in enumerate([long, near, long, near])]
    result = lint_rows(tmp_path, rows)
    assert found(result) == {"exact-duplicate": 2, "near-duplicate": 1}
    assert [f.row for f in result.tally.examples["exact-duplicate"]] == [2, 3]
    assert result.tally.examples["near-duplicate"][0].detail.startswith("repeats '0' (rows.jsonl, row 0)")


def test_the_instruction_that_rows_share_makes_no_duplicates(tmp_path: Path) -> None:
    generator = random.Random(4)
    system = ("system", " ".join(random_words(generator, 500)))
    rows = [
        make_row(system, ("human", " ".join(random_words(generator, 20))), *GOOD_TURNS[1:], id=str(number))
        for number in range(5)
    ]
    assert found(lint_rows(tmp_path, rows)) == {}


def test_a_threshold_that_the_bands_cannot_serve_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=r"0\.5 to 1"):
        lint_rows(tmp_path, [make_row()], near_threshold=0.3)
