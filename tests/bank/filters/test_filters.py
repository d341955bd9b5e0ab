"""Filters: what each drops and why, and that a pipeline loses nothing on the way."""

import dataclasses
import json
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.bank.filters.duplicates import ExactDuplicateFilter, NearDuplicateFilter
from agentbank_jax.bank.filters.pipeline import BankFilter, Filter, apply_filters
from agentbank_jax.bank.filters.replays import ReplayFilter, find_instance
from agentbank_jax.bank.filters.texts import LanguageFilter, LengthFilter, OverlapFilter, PersonalDataFilter
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments import registry
from agentbank_jax.environments.registry import EnvironmentRegistryError
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory, Turn
from tests.bank.made import STARTER_TASKS, starter_trajectory

QUESTION = "A farmer has twelve hens and each hen lays five eggs a week, so how many eggs are laid in a month?"


def trajectory(identifier: str, *texts: str, **metadata: Any) -> Trajectory:
    """A trajectory of user and assistant turns in turn."""
    turns = [Turn.assistant(text) if place % 2 else Turn.user(text) for place, text in enumerate(texts)]
    return Trajectory(id=identifier, task="made", turns=tuple(turns), metadata=metadata)


def thinking(thought: str) -> Trajectory:
    return trajectory("x", "Go.", f"Thought: {thought}\nAction: look")


def reason(verdict: Drop | None) -> str | None:
    return verdict.reason if verdict else None


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({}, None),
        ({"least_turns": 3}, "too_few_turns"),
        ({"most_turns": 1}, "too_many_turns"),
        ({"most_characters": 7}, None),
        ({"most_characters": 6}, "too_long"),
    ],
)
def test_length_is_bounded_in_turns_and_characters(bounds: dict[str, int], expected: str | None) -> None:
    assert reason(LengthFilter(**bounds).check(trajectory("x", "a", "b", "c", "d"))) == expected


def test_bounds_that_leave_nothing_are_refused() -> None:
    with pytest.raises(AgentBankError, match="least_turns is 3, most_turns 2; expected 1 <= least_turns"):
        LengthFilter(least_turns=3, most_turns=2)
    with pytest.raises(AgentBankError, match="most_characters is 0; expected at least 1"):
        LengthFilter(most_characters=0)


@pytest.mark.parametrize(
    ("thought", "expected"),
    [
        ("I look into the cupboard first, since a plate is usually found there or in the sink.", None),
        ("Zuerst muss ich die Anzahl der Stifte berechnen, die Anna am Anfang hatte.", "other_language"),
        ("Je dois d'abord calculer le nombre de stylos que possède Anne, puis soustraire.", "other_language"),
        ("Primero necesito calcular cuántos lápices tiene Ana y después resto los que regaló.", "other_language"),
        ("Сначала нужно вычислить, сколько карандашей у Анны было в начале, затем вычесть.", "other_language"),
        ("12 * 4 = 48, 48 / 6 = 8", None),
        ("Das ist gut.", None),
    ],
)
def test_the_language_of_thoughts_is_told_where_they_have_words(thought: str, expected: str | None) -> None:
    assert reason(LanguageFilter().check(thinking(thought))) == expected


def test_observations_and_actions_may_be_in_any_language() -> None:
    spanish = "Primero necesito calcular cuántos lápices tiene Ana y después resto los que regaló."
    item = trajectory("x", spanish, f"Thought: I search for what the question says.\nAction: search[{spanish}]")
    assert LanguageFilter().check(item) is None


def test_starter_families_are_told_to_be_english() -> None:
    judge = LanguageFilter()
    found = [judge.check(starter_trajectory(task, index)) for task in STARTER_TASKS for index in range(30)]
    assert found == [None] * len(found)


def test_a_language_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AgentBankError, match="language 'english'; expected an ISO 639-1 code"):
        LanguageFilter(language="english")


def test_personal_data_are_dropped_and_not_repeated() -> None:
    item = trajectory("x", "Write to ann.vass@example.org.", "Thought: I write.\nAction: write")
    verdict = PersonalDataFilter().check(item)
    assert verdict and verdict.reason == "personal_email" and "ann" not in verdict.detail
    assert PersonalDataFilter(kinds=("phone",)).check(item) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ("email", "fone")}, "kind 'fone'; expected of credentials, email, .*Did you mean 'phone'"),
        ({"kinds": ("",)}, "kind ''; expected of credentials, "),
        ({"region": "us"}, "region=us: expected a country's code of two letters, such as US. Did you mean 'US'"),
        ({"region": "USA"}, "region=USA: expected .* Did you mean 'US'"),
        ({"region": "XX"}, "region=XX: expected a country's code"),
    ],
)
def test_an_unknown_kind_or_region_of_personal_data_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AgentBankError, match=f"PersonalDataFilter: {message}"):
        PersonalDataFilter(**settings)


def test_evaluation_questions_are_found_in_any_turn(tmp_path: Path) -> None:
    (tmp_path / "eggs.txt").write_text(QUESTION)
    judge = OverlapFilter(paths=(str(tmp_path / "eggs.txt"),))
    assert reason(judge.check(trajectory("x", "Start.", f"Thought: {QUESTION.upper()}\nAction: go"))) == (
        "evaluation_overlap"
    )
    assert judge.check(trajectory("x", "A farmer has twelve hens.", "Thought: Five eggs.\nAction: go")) is None


def test_of_equal_and_nearly_equal_trajectories_the_first_stays() -> None:
    words = [f"word{number}" for number in range(100)]
    other = [*words[:-1], "changed"]
    bank = [
        trajectory("a", "Q", " ".join(words)),
        trajectory("b", "q", "  ".join(words).upper()),
        trajectory("c", "Q", " ".join(other)),
        trajectory("d", "Q", " ".join(reversed(words))),
    ]
    assert [reason(each) for each in ExactDuplicateFilter().check_all(bank)] == [None, "exact_duplicate", None, None]
    near = NearDuplicateFilter().check_all(bank)
    assert [reason(each) for each in near] == [None, "near_duplicate", "near_duplicate", None]
    assert near[2] and near[2].detail.startswith("repeats a, similarity 0.9")
    assert NearDuplicateFilter().check_all([]) == []
    with pytest.raises(AgentBankError, match=r"threshold is 0\.2; expected 0\.5 to 1"):
        NearDuplicateFilter(threshold=0.2)


@pytest.mark.parametrize("task", STARTER_TASKS)
def test_built_trajectories_replay(task: str) -> None:
    assert [ReplayFilter().check(starter_trajectory(task, index)) for index in range(5)] == [None] * 5


def changed(item: Trajectory, place: int, content: str) -> Trajectory:
    turns = list(item.turns)
    turns[place] = dataclasses.replace(turns[place], content=content)
    return dataclasses.replace(item, turns=tuple(turns))


def test_what_does_not_replay_is_dropped_with_its_reason() -> None:
    item = starter_trajectory("starter_math")
    judge = ReplayFilter()
    told = changed(item, 2, "Observation: 1234567")
    assert reason(judge.check(told)) == "other_observation"
    assert ReplayFilter(observations=False).check(told) is None
    wrong = changed(item, len(item.turns) - 1, "Thought: I guess.\nFinal Answer: 987654321")
    assert reason(judge.check(wrong)) == "replay_not_rewarded"
    assert reason(judge.check(changed(item, 1, "Thought: Hm.\nAction: what?"))) == "replay_invalid_action"
    assert reason(judge.check(changed(item, 1, "Hm."))) == "no_action"
    assert reason(judge.check(dataclasses.replace(item, metadata={}))) == "no_reward"
    half = dataclasses.replace(item, metadata={**item.metadata, "reward": 0.5})
    assert reason(judge.check(half)) == "other_reward"
    assert judge.check(dataclasses.replace(item, task="another")) is None, "a bank may call its tasks otherwise"
    assert reason(judge.check(dataclasses.replace(item, id="unknown/train/0"))) == "no_instance"
    assert reason(judge.check(dataclasses.replace(item, id="starter_math/train/x"))) == "no_instance"
    # The actions of one problem do not solve another.
    assert reason(judge.check(dataclasses.replace(item, id="starter_math/train/1")))


def test_an_id_names_its_instance() -> None:
    spec = registry.get("starter_web")
    assert find_instance(spec, "starter_web/test/7") == spec.instance("test", 7)
    for identifier in ("starter_math/test/7", "starter_web/dev/7", "starter_web/test/", "7"):
        with pytest.raises(EnvironmentRegistryError):
            find_instance(spec, identifier)


@dataclass(frozen=True)
class DropLetters:
    """Drops ids that begin with one of some letters, by the letter."""

    name: str
    letters: str

    def check(self, trajectory: Trajectory) -> Drop | None:
        first = trajectory.turns[0].content
        return Drop(id=trajectory.id, reason=first) if first in self.letters else None

    def facts(self) -> Mapping[str, Any]:
        return {"filter": self.name}


def make_bank(letters: Sequence[str]) -> list[Trajectory]:
    return [trajectory(str(place), letter, f"Thought: {letter}") for place, letter in enumerate(letters)]


FILTERS = (DropLetters("one", "ab"), ExactDuplicateFilter(), DropLetters("two", "bc"), NearDuplicateFilter())


@given(st.lists(st.sampled_from("abcdef"), max_size=30))
@settings(max_examples=60)
def test_every_trajectory_is_kept_or_dropped_once_and_counted(letters: list[str]) -> None:
    bank = make_bank(letters)
    found = apply_filters(bank, FILTERS)
    ids = [one.id for one in bank]
    kept, dropped = [one.id for one in found.kept], [drop.id for drop in found.drops]
    assert sorted(kept + dropped, key=int) == ids and len(set(kept + dropped)) == len(ids)
    assert kept == [name for name in ids if name in kept]
    assert sum(found.counts.values()) == len(dropped)
    by_reason: Counter[str] = Counter()
    for (_, name), count in found.counts.items():
        by_reason[name] += count
    assert by_reason == Counter(drop.reason for drop in found.drops)
    assert found == apply_filters(bank, FILTERS)
    assert {one.turns[0].content for one in found.kept} <= set("def")
    assert list(found.seen) == ["one", "exact_duplicates", "two", "near_duplicates"]
    seen = [*found.seen.values(), len(kept)]
    for before, after, name in zip(seen, seen[1:], found.seen, strict=False):
        assert before - after == sum(count for (each, _), count in found.counts.items() if each == name)


@given(st.lists(st.sampled_from("abcdef"), max_size=20))
@settings(max_examples=30)
def test_what_was_kept_is_kept_again(letters: list[str]) -> None:
    kept = apply_filters(make_bank(letters), FILTERS).kept
    assert apply_filters(kept, FILTERS).kept == kept


def test_the_table_shows_filters_that_dropped_nothing() -> None:
    found = apply_filters(make_bank("aabd"), FILTERS)
    assert found.table().rows == (
        ("one", "a", "4", "2"),
        ("one", "b", "4", "1"),
        ("exact_duplicates", "-", "1", "0"),
        ("two", "-", "1", "0"),
        ("near_duplicates", "-", "1", "0"),
    )


def test_filters_are_of_one_kind_and_state_their_facts(tmp_path: Path) -> None:
    single = [LengthFilter(), LanguageFilter(), PersonalDataFilter(), ReplayFilter()]
    (tmp_path / "eggs.txt").write_text(QUESTION)
    single.append(OverlapFilter(paths=(str(tmp_path / "eggs.txt"),)))
    both = [*single, ExactDuplicateFilter(), NearDuplicateFilter()]
    for each in both:
        assert isinstance(each, Filter) != isinstance(each, BankFilter)
        assert json.loads(json.dumps(each.facts())) == each.facts()
    assert len({each.facts()["filter"] for each in both}) == len(both)
    assert [pickle.loads(pickle.dumps(each)) for each in single] == single
