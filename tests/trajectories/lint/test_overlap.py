"""Evaluation items are found in trajectories by runs of words, none missed, common ones left out."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.lint.duplicates import shingles
from agentbank_jax.trajectories.lint.overlap import COMMON_ITEMS, EvaluationIndex, EvaluationItem, read_items
from agentbank_jax.trajectories.lint.words import split_words
from tests.trajectories.lint.made_rows import GOOD_TURNS, found, lint_rows, make_row

WORDS = [f"w{number}" for number in range(40)]
QUESTION = " ".join(WORDS)


def index_of(*questions: str, n: int = 13) -> EvaluationIndex:
    return EvaluationIndex([EvaluationItem(0, number, text) for number, text in enumerate(questions)], n)


def matches(index: EvaluationIndex, text: str) -> list[tuple[int, int]]:
    words = split_words(text)
    return [(overlap.item, overlap.words) for overlap in index.match(words, shingles(words))]


@pytest.mark.parametrize("start", range(0, 28))
def test_a_run_of_thirteen_words_is_found_wherever_it_stands_and_one_of_twelve_is_not(start: int) -> None:
    index = index_of("other words " * 10, QUESTION)
    run = " ".join(WORDS[start : start + 13])
    assert matches(index, f"before {run} after") == [(1, 13)]
    assert matches(index, run) == [(1, 13)]
    assert matches(index, f"before {run.rsplit(' ', 1)[0]} after") == []


@given(
    st.lists(st.sampled_from("abc"), min_size=6, max_size=40), st.lists(st.sampled_from("abc"), min_size=5, max_size=40)
)
def test_what_is_found_is_the_longest_shared_run(item: list[str], text: list[str]) -> None:
    n = 6
    window = min(n, len(item))
    longest = max(
        (
            length
            for begin in range(len(item))
            for length in range(window, len(item) - begin + 1)
            if f" {' '.join(item[begin : begin + length])} " in f" {' '.join(text)} "
        ),
        default=0,
    )
    assert matches(index_of(" ".join(item), n=n), " ".join(text)) == ([(0, longest)] if longest else [])


def test_case_and_punctuation_do_not_hide_an_item() -> None:
    question = "How many positive whole-number divisors does 196 have, if 1 and 196 are counted too?"
    assert matches(index_of(question), question.upper().replace(",", " -- ")) == [(0, 16)]


def test_a_short_item_matches_as_a_whole_and_a_shorter_one_is_not_checked() -> None:
    index = index_of("When did the last king of Spain die?", "Who was the last king of Spain?")
    assert index.too_short == [1]
    assert matches(index, "Tell me when did the last king of Spain die, please") == [(0, 8)]
    assert matches(index, "Tell me when did the last king of Spain live? Who was the last king of Spain?") == []


@pytest.mark.parametrize("words", range(10))
def test_an_item_of_any_length_is_either_found_or_said_to_be_too_short(words: int) -> None:
    question = " ".join(WORDS[:words])
    index = index_of(question)
    assert (index.too_short, matches(index, f"x {question} y")) == (([0], []) if words < 8 else ([], [(0, words)]))


def test_a_run_that_many_items_share_is_no_evidence() -> None:
    opening = "you are in the middle of a room looking quickly around you you see"
    few = [f"{opening} item{number}" for number in range(COMMON_ITEMS)]
    assert len(matches(index_of(*few), opening)) == COMMON_ITEMS
    many = [*few, f"{opening} nothing"]
    assert matches(index_of(*many), opening) == []
    assert matches(index_of(*many), f"{opening} item3") == [(3, 15)]


def test_an_overlap_is_a_finding_about_the_row_and_counts_for_the_item(tmp_path: Path) -> None:
    rows = [
        make_row(id="clean"),
        make_row(("human", f"{GOOD_TURNS[0][1]} {QUESTION}"), *GOOD_TURNS[1:], id="dirty"),
        make_row(*GOOD_TURNS[:2], ("human", " ".join(WORDS[5:20])), GOOD_TURNS[3], id="partly"),
    ]
    result = lint_rows(tmp_path, rows, evaluation=index_of("an item that nobody has met", QUESTION))
    assert found(result) == {"evaluation-overlap": 2}
    (item,) = result.overlaps
    met = result.overlaps[item]
    assert (item, met.rows, met.words, met.share) == (1, 2, 40, 1.0)
    assert [identifier for _, _, identifier in met.first] == ["dirty", "partly"]


def test_the_layouts_of_public_benchmarks_are_read(tmp_path: Path) -> None:
    rows = [{"id": 1, "Question": "a b?", "Answer": 3}, {"problem": "c"}, {"query": "d", "gold": "x"}]
    rows.append({"conversations": [{"from": "human", "value": "e"}, {"from": "gpt", "value": "f"}]})
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.json").write_text(json.dumps(rows))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.table({"question": ["a b?", "c", "d", "e"]}), tmp_path / "d.parquet")
    (tmp_path / "e.txt").write_text("a b?\n\nc\nd\u2028\ne\n")
    files, items = read_items([tmp_path / "*.*"])
    assert [file.name[0] for file in files] == list("abcde")
    for number in range(5):
        assert [item.text.strip() for item in items if item.file == number] == ["a b?", "c", "d", "e"]
    assert [item.number for item in items if item.file == 2] == [0, 1, 2, 3]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "was?"}\n')
    assert [item.text for item in read_items([tmp_path / "a.jsonl"], "frage")[1]] == ["was?"]
    with pytest.raises(AgentBankError, match=r"row 0: no text in 'fragen'.*Did you mean 'frage'.*--against_field"):
        read_items([tmp_path / "a.jsonl"], "fragen")
    with pytest.raises(AgentBankError, match="--against_field"):
        read_items([tmp_path / "a.jsonl"])
    with pytest.raises(AgentBankError, match="no such file"):
        read_items([tmp_path / "b.jsonl"])
    with pytest.raises(AgentBankError, match="at least 5"):
        index_of("a", n=4)


def test_a_file_without_a_question_is_refused_since_nothing_would_be_compared(tmp_path: Path) -> None:
    for name, content in (("a.jsonl", "\n"), ("b.json", "[]"), ("c.txt", "")):
        (tmp_path / name).write_text(content)
        with pytest.raises(AgentBankError, match=rf"{name}: holds no question"):
            read_items([tmp_path / name])


def test_the_index_finds_every_planted_item_among_many() -> None:
    generator = random.Random(0)
    questions = [" ".join(f"q{generator.randrange(3000)}" for _ in range(generator.randint(8, 60))) for _ in range(300)]
    index = index_of(*questions)
    for item, question in enumerate(questions):
        assert (item, len(question.split())) in matches(index, f"noise words {question} more noise")
