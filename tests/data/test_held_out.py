"""What is held out is not trained on, whatever else is in the bank."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.data.declarations import get_task
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.held_out import HeldOutBatches, hold_out, place_of
from agentbank_jax.data.sources import task_files
from agentbank_jax.data.token_cache import TokenCache, build_cache
from agentbank_jax.errors import AgentBankError
from tests.data.made_cache import made_cache

LENGTHS = np.random.default_rng(5)


def _named(cache: TokenCache, *ids: tuple[str, ...]) -> TokenCache:
    tasks = (dataclasses.replace(task, ids=names) for task, names in zip(cache.tasks, ids, strict=True))
    return dataclasses.replace(cache, tasks=tuple(tasks))


@pytest.fixture(scope="module")
def made() -> TokenCache:
    """Two tasks of 200 and 300 trajectories; the first 100 of both have the same ids, and some are parts."""
    cache = made_cache([LENGTHS.integers(4, 30, 200), LENGTHS.integers(4, 30, 300)], [1.0, 0.5], 40)
    first = tuple(f"shared/{n}" if n < 100 else f"one/{n // 2}" + f"#part{n % 2 + 1}" * (n % 2) for n in range(200))
    return _named(cache, first, tuple(f"shared/{n}" if n < 100 else f"two/{n}" for n in range(300)))


def _nothing(cache: TokenCache) -> TokenCache:
    return dataclasses.replace(cache, tasks=(), rates=())


def _texts(cache: TokenCache) -> dict[str, list[tuple[str, bytes, bytes]]]:
    """Id, tokens and mask of every trajectory, by task."""
    found = {}
    for number, task in enumerate(cache.tasks):
        start = int(cache.starts[number])
        examples = [cache.example(start + index) for index in range(len(task))]
        found[task.task.name] = [(n, t.tobytes(), m.tobytes()) for n, (t, m) in zip(task.ids, examples, strict=True)]
    return found


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.02, 0.9))
def test_every_trajectory_is_either_trained_on_or_held_out(made, share):
    kept, held = hold_out(made, share, _nothing(made))
    whole, trained, measured = _texts(made), _texts(kept), _texts(held)
    for name, all_of_task in whole.items():
        assert sorted(trained[name] + measured.get(name, [])) == sorted(all_of_task)
    ids = [{identifier.split("#")[0] for task in cache.tasks for identifier in task.ids} for cache in (kept, held)]
    # Over tasks too, and with the parts of one that was split.
    assert not ids[0] & ids[1]
    assert kept.rates == made.rates and set(held.rates) == {1.0}


def test_what_is_delivered_is_what_the_manifest_lists_and_nothing_that_is_held_out(made):
    kept, held = hold_out(made, 0.2, _nothing(made))
    batches = PackedBatches(kept, batch_size=4, length=40)
    drawn = set()
    for epoch in range(3):
        drawn |= set(batches.examples_of_epoch(epoch).tolist())
    names = [identifier.split("#")[0] for task in kept.tasks for identifier in task.ids]
    delivered = {names[index] for index in drawn}
    seen = {identifier for ids in kept.seen().values() for identifier in ids}
    assert delivered == seen
    assert not seen & {identifier for ids in held.seen().values() for identifier in ids}


def test_whether_a_trajectory_is_held_out_depends_on_its_id_alone(made):
    held = hold_out(made, 0.2, _nothing(made))[1]
    fewer = made_cache([np.full(60, 9)], [1.0], 40)
    fewer = _named(fewer, tuple(f"two/{n}" for n in range(200, 260)))
    again = hold_out(fewer, 0.2, _nothing(fewer))[1]
    of_those = {identifier for identifier in held.tasks[1].ids if identifier in fewer.tasks[0].ids}
    assert set(again.tasks[0].ids) == of_those and of_those


def test_the_share_that_is_held_out_is_near_the_one_asked_for():
    places = np.array([place_of(f"starter_math/train/{number}") for number in range(20_000)])
    # Five standard deviations of a binomial of 20,000.
    assert abs((places < 0.05).mean() - 0.05) < 5 * (0.05 * 0.95 / 20_000) ** 0.5


def test_without_a_share_the_data_and_its_fingerprint_are_as_they_were(made):
    kept, held = hold_out(made, 0.0, _nothing(made))
    assert kept.fingerprint == made.fingerprint and not held.tasks


def test_another_share_is_another_fingerprint(made):
    caches = [hold_out(made, share, _nothing(made)) for share in (0.1, 0.2)]
    names = {cache.fingerprint for pair in caches for cache in pair} | {made.fingerprint}
    assert len(names) == 5


def test_a_task_that_would_be_held_out_whole_is_refused():
    cache = made_cache([np.full(2, 9)], [1.0], 40)
    with pytest.raises(AgentBankError, match=r"made_0.*share=0\.99 holds out all of its 2 trajectories"):
        hold_out(cache, 0.99, _nothing(cache))


def test_a_task_gives_nothing_away_where_it_has_a_validation_split(made):
    own = made_cache([np.full(5, 9)], [1.0], 40)
    own = _named(own, tuple(f"own/{n}" for n in range(5)))
    kept, held = hold_out(made, 0.2, own)
    assert kept.tasks[0].ids == made.tasks[0].ids and len(kept.tasks[1]) < len(made.tasks[1])
    assert [task.task.name for task in held.tasks] == ["made_0", "made_1"] and held.tasks[0].ids == own.tasks[0].ids


def test_a_validation_split_of_what_is_trained_on_is_refused(made):
    own = _named(made_cache([np.full(2, 9)], [1.0], 40), ("own/0", "shared/7"))
    with pytest.raises(AgentBankError, match="the trajectory 'shared/7' is in its training files and"):
        hold_out(made, 0.0, own)


def test_held_out_batches_hold_every_trajectory_once_with_its_task_whatever_the_parts(made):
    held = hold_out(made, 0.2, _nothing(made))[1]
    batches = HeldOutBatches(held, batch_size=4, length=40)
    whole = list(batches.batches())
    parts = [list(batches.batches(part, 2)) for part in range(2)]
    for number, batch in enumerate(whole):
        for key, value in batch.items():
            np.testing.assert_array_equal(np.concatenate([half[number][key] for half in parts]), value)
    found = []
    for batch in whole:
        for row in range(4):
            for segment in range(1, batch["segment_ids"][row].max() + 1):
                there = batch["segment_ids"][row] == segment
                (task,) = set(batch["tasks"][row][there].tolist())
                tokens = (*batch["tokens"][row][there].tolist(), int(batch["targets"][row][there][-1]))
                found.append((batches.tasks[task], tokens))
    expected = [
        (task.task.name, tuple(held.example(int(held.starts[number]) + index)[0].tolist()))
        for number, task in enumerate(held.tasks)
        for index in range(len(task))
    ]
    assert sorted(found) == sorted(expected)
    assert batches.trajectories == len(expected)
    assert batches.most_segments == max(batch["segment_ids"].max() for batch in whole)


def test_at_most_so_many_of_a_task_are_measured(made):
    held = hold_out(made, 0.2, _nothing(made))[1]
    batches = HeldOutBatches(held, batch_size=4, length=40, most=3)
    assert batches.trajectories == 6
    assert HeldOutBatches(held, batch_size=4, length=40, most=10_000).trajectories == len(held)


@pytest.mark.usefixtures("mixture")
def test_files_called_validation_are_a_cache_of_their_own(data_dir: Path, template, tmp_path: Path):
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    task = get_task("fake_house")
    assert task_files(task, folder, "validation") == []
    before = build_cache("fake_house", template, max_length=400, data_dir=folder, cache_dir=tmp_path / "cache")
    (source,) = task_files(task, folder)
    shutil.copyfile(source, source.with_name(source.name.replace("train", "validation")))
    own = build_cache(
        "fake_house", template, max_length=400, data_dir=folder, cache_dir=tmp_path / "cache", split="validation"
    )
    again = build_cache("fake_house", template, max_length=400, data_dir=folder, cache_dir=tmp_path / "cache")
    assert again.fingerprint == before.fingerprint != own.fingerprint
    assert own.tasks[0].ids == before.tasks[0].ids
    with pytest.raises(AgentBankError, match="is in its training files and in its validation files"):
        hold_out(before, 0.1, own)
