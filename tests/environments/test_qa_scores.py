import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.qa_scores import (
    contains_alias,
    exact_match,
    f1_score,
    hotpot_f1,
    mint_match,
    normalise_answer,
    normalise_trivia,
    normalise_yes_no,
    score_answer,
)


def test_normalisation_drops_case_articles_punctuation_and_blanks() -> None:
    assert normalise_answer("  The U.S.A., an  Example ") == "usa example"


@pytest.mark.parametrize(
    ("text", "hotpotqa", "triviaqa"),
    [
        ("Jean-Luc", "jeanluc", "jean luc"),
        ("O’Neill", "o’neill", "o neill"),
        ("snake_case", "snakecase", "snake case"),
        ("A-ha", "aha", "ha"),
        ("Theatre of the Absurd", "theatre of absurd", "theatre of absurd"),
        ("Ivan the Terrible's", "ivan terribles", "ivan terrible s"),
        ("the", "", ""),
    ],
)
def test_hotpotqa_drops_punctuation_and_triviaqa_puts_a_blank_in_its_place(
    text: str, hotpotqa: str, triviaqa: str
) -> None:
    assert (normalise_answer(text), normalise_trivia(text)) == (hotpotqa, triviaqa)


def test_every_alias_counts() -> None:
    assert exact_match("NYC", ("New York", "nyc")) and not exact_match("York", ("New York", "nyc"))
    assert f1_score("York", ("New York", "nyc")) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        ("the Amber Bay", "Amber Bay", 1.0),
        # 2 shared words of 3 and of 2: precision 2/3, recall 1.
        ("old Amber Bay", "Amber Bay", 0.8),
        # A word counts as often as it stands in both.
        ("bay bay", "bay", 2 / 3),
        ("", "bay", 0.0),
        ("river", "bay", 0.0),
    ],
)
def test_f1_is_the_harmonic_mean_over_words(answer: str, reference: str, f1: float) -> None:
    assert f1_score(answer, (reference,)) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [("yes", "Yes.", 1.0), ("yes it is", "yes", 0.0), ("no", "no man", 0.0), ("no man", "no women", 0.5)],
)
def test_hotpotqa_gives_a_partly_right_yes_or_no_nothing(answer: str, reference: str, f1: float) -> None:
    assert hotpot_f1(answer, (reference,)) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [("Yes.", "yes"), ("TRUE", "yes"), ("false", "no"), (" no! ", "no"), ("yes, it would", "yes it would")],
)
def test_yes_and_no_have_two_spellings_each(answer: str, normalised: str) -> None:
    assert normalise_yes_no(answer) == normalised


@pytest.mark.parametrize(
    ("answer", "aliases", "contained"),
    [
        ("It was Sunset Boulevard, in 1993", ("Sunset Blvd", "Sunset Boulevard"), True),
        ("sunset-boulevard", ("Sunset Boulevard",), True),
        ("Boulevard Sunset", ("Sunset Boulevard",), False),
        # An alias is words, not letters: `he` is not in `the`, and an empty one is in nothing.
        ("somewhere there", ("He",), False),
        ("anything", ("The", "!"), False),
        ("", ("Sunset",), False),
    ],
)
def test_an_alias_is_contained_as_words(answer: str, aliases: tuple[str, ...], contained: bool) -> None:
    assert contains_alias(answer, aliases) == contained


@pytest.mark.parametrize(
    ("answer", "reference", "matches"),
    [
        ("105", "100", True),
        ("105.01", "100", False),
        ("95", "100", True),
        ("94.9", "100", False),
        ("-104", "-100", True),
        ("0.1", "0", False),
        ("0", "0", True),
        ("nan", "100", False),
        ("inf", "100", False),
        ("about 100", "100", True),
        ("1000 km", "100", True),
        ("The Titan IIIE rocket", "titan iiie", True),
        ("Titan", "Titan IIIE", False),
        ("I do not know", "no", True),
        ("anything", " ", False),
    ],
)
def test_mint_takes_numbers_within_five_percent_and_references_within_answers(
    answer: str, reference: str, matches: bool
) -> None:
    assert mint_match(answer, reference) == matches


def test_the_protocol_decides_success_and_never_the_exact_match() -> None:
    exact = score_answer("It was Amber Bay", ("Amber Bay",), "words")
    mint = score_answer("It was Amber Bay", ("Amber Bay",), "words", "mint")
    assert not exact.success and mint.success
    assert exact.exact_match is mint.exact_match is False
    assert exact.f1 == mint.f1 == pytest.approx(2 / 3)


def test_triviaqa_succeeds_by_containment_and_reports_the_exact_match_beside_it() -> None:
    score = score_answer("the Sunset Boulevard of 1993", ("Sunset Boulevard",), "aliases")
    assert score.success and not score.exact_match and score.f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize("protocol", ["exact", "mint"])
def test_yes_or_no_is_one_of_two_words_under_both_protocols(protocol: str) -> None:
    def succeeds(answer: str, accepted: str) -> bool:
        return score_answer(answer, (accepted,), "yes_no", protocol).success  # type: ignore[arg-type]

    assert succeeds("yes", "Yes") and succeeds("False.", "No")
    assert not succeeds("I do not know", "No") and not succeeds("yes or no", "Yes") and not succeeds("", "No")


@given(st.text(max_size=40))
def test_articles_case_and_blanks_never_decide(text: str) -> None:
    for scoring, normalise in (("words", normalise_answer), ("aliases", normalise_trivia)):
        score = score_answer(f" The  {text} ", (text,), scoring)  # type: ignore[arg-type]
        assert score.exact_match and score.f1 == bool(normalise(text))


@given(st.text(max_size=40), st.text(max_size=40))
def test_f1_is_symmetric_and_a_share(one: str, other: str) -> None:
    assert 0 <= f1_score(one, (other,)) == f1_score(other, (one,)) <= 1
