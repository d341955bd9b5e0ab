"""What a difficulty-bias report reads of a finished bank, and what a success-only selection is held against."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agentbank_jax.bank.difficulty import KEPT, SUCCESS_ONLY
from agentbank_jax.bank.difficulty_selection import Selection, compare, plans_cut_short, weak_search
from agentbank_jax.bank.difficulty_source import Source, annotate, by_actions, find_instances, read_bank_source
from agentbank_jax.bank.filters.texts import LengthFilter
from agentbank_jax.bank.search.budget import Budget
from agentbank_jax.bank.search.random_walk import RandomWalk
from agentbank_jax.bank.staging import DROPS, MANIFEST
from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError
from tests.bank.made import build_in, recipe_of

TASK = "starter_math"
SPEC = registry.get(TASK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished bank that has left out what takes more than three actions, from another first problem than 0."""
    recipe = recipe_of(TASK, trajectories=15, seed=3)
    build_in(tmp_path, [replace(recipe, filters=(LengthFilter(most_turns=3),))])
    return tmp_path / TASK


def test_a_bank_says_how_hard_each_of_its_problems_is_those_left_out_too(folder: Path) -> None:
    source = read_bank_source(folder, by_problem=True)
    assert len(source.lengths) == 15 and len(source.difficulty) > 20
    left_out = {level for name, level in source.difficulty.items() if name not in source.lengths}
    assert len(left_out) > 1, "else nothing is looked up"
    for name, level in source.difficulty.items():
        instance = SPEC.instance("train", int(name.rpartition("/")[2]))
        assert (instance.id, instance.difficulty) == (name, level)
    again = annotate(SPEC, "train", source.problems(), lambda done, of: None)
    assert again.difficulty == source.difficulty
    assert source.lengths == {name: length for name, length in again.lengths.items() if length <= 3}
    assert [each.id for each in source.problems(3)] == sorted(source.difficulty, key=lambda name: (len(name), name))[:3]


def test_without_looking_problems_up_the_counts_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = read_bank_source(folder, by_problem=True)
    monkeypatch.setattr("agentbank_jax.bank.difficulty_source.find_instances", None)
    quick = read_bank_source(folder, by_problem=False)
    assert Counter(quick.difficulty.values()) == Counter(exact.difficulty.values())
    assert quick.difficulty.keys() == exact.difficulty.keys() and quick.lengths == exact.lengths
    assert compare(quick, None, resamples=20) == compare(exact, None, resamples=20)


def test_a_problem_that_repeats_an_earlier_one_is_of_no_source(folder: Path) -> None:
    before = read_bank_source(folder, by_problem=True)
    with open(folder / DROPS, "a") as file:
        file.write(json.dumps({"id": f"{TASK}/train/9", "reason": "duplicate", "detail": ""}) + "\n")
    assert read_bank_source(folder, by_problem=True) == before


def test_a_bank_whose_files_disagree_is_refused(folder: Path) -> None:
    drops = (folder / DROPS).read_text()
    (folder / DROPS).write_text(drops[drops.index("\n") + 1 :])
    with pytest.raises(AgentBankError, match=r"its manifest counts \d+ problems, its shards and drops.jsonl name \d+"):
        read_bank_source(folder, by_problem=False)
    (folder / DROPS).write_text(drops)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["difficulty"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(AgentBankError, match="does not say of how hard a source the bank was made; build it again"):
        read_bank_source(folder, by_problem=False)


def test_problems_are_found_by_their_ids_wherever_they_are() -> None:
    ids = [SPEC.instance("train", number).id for number in (90_000, 7)]
    assert [each.id for each in find_instances(SPEC, "train", ids)] == [ids[1], ids[0]]
    for lost in (f"{TASK}/test/7", "other/train/7", f"{TASK}/train/x"):
        with pytest.raises(AgentBankError, match=f"its train split has no problem '{lost}'"):
            find_instances(SPEC, "train", [*ids, lost])


def made(difficulty: dict[str, int], lengths: dict[str, int]) -> Source:
    return Source(
        task="made", spec=SPEC, split="train", origin="", measure="hops", difficulty=difficulty, lengths=lengths
    )


def test_a_teacher_is_compared_with_what_it_tried_alone() -> None:
    source = made({"a": 1, "b": 1, "c": 2, "d": 3}, {"a": 3, "b": 4, "c": 9})
    whole, part = compare(source, Selection(teacher="m", solved=["a", "x"], tried=["a", "c", "d", "x"]), resamples=20)
    assert whole.counts == {"source": (2, 1, 1), KEPT: (2, 1, 0)}
    assert part.counts == {"source": (1, 1, 1), KEPT: (1, 1, 0), SUCCESS_ONLY: (1, 0, 0)}
    (all_,) = compare(source, Selection(teacher="m", solved=["a"], tried=["a", "b", "c", "d", "x"]), resamples=20)
    assert all_.counts == {**whole.counts, SUCCESS_ONLY: (1, 0, 0)}
    with pytest.raises(AgentBankError, match="m tried 1 problems, none of which the source has; for example 'x'"):
        compare(source, Selection(teacher="m", solved=[], tried=["x"]), resamples=20)


def test_by_actions_what_was_left_out_is_harder_than_all_that_was_kept() -> None:
    source = by_actions(made({"a": 1, "b": 1, "c": 1}, {"a": 3, "b": 5}))
    assert source.difficulty == {"a": 3, "b": 5, "c": 6}
    assert plans_cut_short(source, None).solved == ["a"] and plans_cut_short(source, 5).solved == ["a", "b"]
    assert compare(source, None, resamples=20)[0].counts == {"source": (1, 1, 1), KEPT: (1, 1, 0)}


def test_a_weak_search_solves_more_with_a_larger_budget_and_tells_how_far_it_is() -> None:
    spec = registry.get("starter_web")
    source = annotate(spec, "train", [spec.instance("train", number) for number in range(6)], lambda done, of: None)
    told: list[tuple[int, int]] = []
    solved = [
        set(weak_search(source, RandomWalk(), Budget(steps=steps), 5, lambda *both: told.append(both)).solved)
        for steps in (3, 300, 3000)
    ]
    assert not solved[0] and solved[1] < solved[2] <= {instance.id for instance in source.instances[:5]}
    assert told[:5] == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
