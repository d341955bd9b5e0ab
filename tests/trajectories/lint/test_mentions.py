"""Pronouns, names and places are counted by source, within the limits that the module states."""

from pathlib import Path

import pytest

from agentbank_jax.trajectories.lint import mentions as module
from agentbank_jax.trajectories.lint.mentions import Mentions, top
from agentbank_jax.trajectories.lint.words import split_words
from tests.trajectories.lint.made_rows import GOOD_TURNS, lint_rows, make_row


def mentions_of(*texts: str) -> Mentions:
    mentions = Mentions()
    for text in texts:
        part = Mentions()
        part.add(text, split_words(text))
        mentions.merge(part)
    return mentions


def test_pronouns_are_counted_in_all_forms_and_nothing_else_is() -> None:
    mentions = mentions_of("He saw her; she saw HIM. Their hers themself. The theme, shed, history, I, you, it.")
    assert mentions.pronouns == {"he": 2, "she": 3, "they": 2}


def test_capitalised_runs_within_sentences_are_names() -> None:
    names, places = mentions_of(
        "So Anna Maria met Bob. Then bob ate. I asked O.K. NASA why Zoë left"
    ).names_and_places()
    assert names == {"Anna Maria": 1, "Bob": 1, "Zoë": 1} and places == {}


def test_a_run_that_mostly_follows_a_preposition_of_place_is_a_place() -> None:
    names, places = mentions_of(
        "We live in Paris.", "Go from Paris to Rome.", "I asked Paris.", "In Oslo it rains."
    ).names_and_places()
    assert mentions_of("so we are in the Sahara").names_and_places()[1] == {"Sahara": 1}
    assert places == {"Paris": 3, "Rome": 1, "Oslo": 1} and names == {}


def test_the_opening_of_a_sentence_counts_for_words_that_are_names_elsewhere() -> None:
    names, _ = mentions_of("Anna ran. Anna fell. Here Anna lay. Cars pass. Cars stop.").names_and_places()
    assert names == {"Anna": 3}
    names, _ = mentions_of("Cars pass. " * 11 + "I like Cars here").names_and_places()
    assert names == {"Cars": 1}


def test_labels_titles_months_and_function_words_are_no_names() -> None:
    text = "Thought: see Mr. Smith on Monday in May.\nAction: search[The Final Answer]\nObservation: so The End"
    assert mentions_of(text).names_and_places()[0] == {"Smith": 1, "End": 1}


def test_sources_are_counted_apart(tmp_path: Path) -> None:
    rows = [
        make_row(("human", f"{who} and what is 2 + {number}?"), *GOOD_TURNS[1:], id=str(number), source=source)
        for number, (who, source) in enumerate([("Does he", "a"), ("Does she", "b"), ("Will she", "b")])
    ]
    result = lint_rows(tmp_path, rows)
    assert {source: dict(both[1].pronouns) for (_, source), both in result.sources.items()} == {
        "a": {"he": 1},
        "b": {"she": 2},
    }


def test_the_most_frequent_come_first_and_ties_by_name() -> None:
    assert top(mentions_of("so Bob, so Ann, so Bob, so Cy").within, 2) == [("Bob", 2), ("Ann", 1)]


def test_what_is_kept_of_a_source_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_KEPT", 3)
    kept = mentions_of("so Ann, so Ann", "so Bob", "so Cy", "so Di", "so Ann, so Ed")
    assert kept.within["Ann"] == 3 and len(kept.within) <= 4
