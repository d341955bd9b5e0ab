import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.sentences import split_passages, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is there! Three?", ["One is here.", "Two is there!", "Three?"]),
        ("It is by J. K. Stone. He wrote it.", ["It is by J. K. Stone.", "He wrote it."]),
        ("The U.S. Navy has it. It cost 3.5 million.", ["The U.S. Navy has it.", "It cost 3.5 million."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("Made c. 1900 in Rome.", ["Made c.", "1900 in Rome."]),
        ("No mark at the end", ["No mark at the end"]),
        ("see e.g. this", ["see e.g. this"]),
        ("", []),
    ],
)
def test_a_sentence_ends_where_punctuation_is_followed_by_a_beginning(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_short_paragraphs_are_joined_and_long_ones_cut_between_sentences() -> None:
    paragraphs = ["One two.", "Three four.", "Five six seven. Eight nine ten. Eleven."]
    assert list(split_passages(paragraphs, 4)) == [
        "One two. Three four.",
        "Five six seven.",
        "Eight nine ten. Eleven.",
    ]


def test_a_sentence_longer_than_a_passage_is_cut_between_words() -> None:
    assert list(split_passages(["a b c d e"], 2)) == ["a b", "c d", "e"]


@given(st.lists(st.text(alphabet='aA .!?\n\t"', max_size=60), max_size=5), st.integers(1, 12))
def test_no_word_is_lost_and_no_passage_is_too_long(paragraphs: list[str], max_words: int) -> None:
    passages = list(split_passages(paragraphs, max_words))
    assert " ".join(passages).split() == " ".join(paragraphs).split()
    assert all(1 <= len(passage.split()) <= max_words for passage in passages)
