"""Batches hold each example as often as its rate says, in an order that any step can be entered at."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from agentbank_jax.data.batch import Batch
from agentbank_jax.data.declarations import get_task
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.token_cache import TaskTokens, TokenCache, build_cache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.templates.registry import Llama2Template


@pytest.fixture(scope="module")
def batches(cache: TokenCache) -> PackedBatches:
    return PackedBatches(cache, batch_size=4, length=400, seed=1)


def segments(batch: Batch) -> list[tuple[list[int], list[bool]]]:
    """Takes a batch apart into (tokens, mask) of its examples, checking every column on the way."""
    examples = []
    for row in range(len(batch["tokens"])):
        ids = batch["segment_ids"][row]
        padding = ids == 0
        assert not any(batch[name][row][padding].any() for name in ("tokens", "targets", "loss_weights", "positions"))
        assert (np.diff(padding.astype(int)) >= 0).all(), "padding stands at the end of a row"
        for segment in range(1, ids.max() + 1):
            (places,) = np.nonzero(ids == segment)
            assert places.tolist() == list(range(places[0], places[-1] + 1))
            tokens, targets = batch["tokens"][row][places], batch["targets"][row][places]
            assert batch["positions"][row][places].tolist() == list(range(len(places)))
            # A target is the next token of the same example, never that of the next one.
            assert tokens[1:].tolist() == targets[:-1].tolist()
            examples.append(
                (
                    [*tokens.tolist(), int(targets[-1])],
                    [False, *(batch["loss_weights"][row][places] == 1).tolist()],
                )
            )
    return examples


def expected(cache: TokenCache, indices: np.ndarray) -> list[tuple[list[int], list[bool]]]:
    return sorted((tokens.tolist(), trained.tolist()) for tokens, trained in map(cache.example, indices.tolist()))


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7])
def test_an_epoch_holds_each_example_once_and_whole(cache: TokenCache, batch_size: int) -> None:
    batches = PackedBatches(cache, batch_size=batch_size, length=400, seed=2)
    steps = batches.steps_per_epoch
    whole = expected(cache, np.arange(len(cache)))
    orders = []
    for epoch in range(6):
        found = [e for step in range(epoch * steps, (epoch + 1) * steps) for e in segments(batches.batch_at(step))]
        orders.append(found)
        assert sorted(found) == whole
    assert all(a != b for a, b in pairwise(orders))


def test_an_epoch_that_packs_worse_keeps_its_steps(cache: TokenCache) -> None:
    # Short rows and one row a batch: the number of rows differs from epoch to epoch.
    batches = PackedBatches(cache, batch_size=1, length=int(cache.lengths.max()) + 5, seed=0, window=3)
    rows = {len(batches._plan(epoch)) for epoch in range(8)}
    assert len(rows) > 1 and max(rows) > batches.steps_per_epoch
    for epoch in range(8):
        plan = batches._plan_of(epoch)
        assert len(plan) <= batches.steps_per_epoch
        assert sorted(plan.order.tolist()) == list(range(len(cache)))


def test_rates_are_passes_over_a_task(mixture: str, data_dir: Path, template: Llama2Template, tmp_path: Path) -> None:
    uneven = build_cache("fake_uneven", template, max_length=400, data_dir=data_dir, cache_dir=tmp_path)
    batches = PackedBatches(uneven, batch_size=2, length=400, seed=0)
    drawn = [batches.examples_of_epoch(epoch) for epoch in range(10)]
    for indices in drawn:
        counts = np.bincount(indices, minlength=85)
        assert counts[:60].sum() == 18 and counts[:60].max() == 1
        assert (counts[60:] == 2).all()
    # 10 epochs at 0.3 are three passes.
    assert (np.bincount(np.concatenate(drawn), minlength=85)[:60] == 3).all()
    found = [e for step in range(batches.steps_per_epoch) for e in segments(batches.batch_at(step))]
    assert sorted(found) == expected(uneven, drawn[0])


def test_parts_of_a_task_take_turns_though_epochs_differ_in_length(cache: TokenCache) -> None:
    # One row a batch and short rows: an epoch with long trajectories needs more rows than the first.
    length = int(cache.lengths.max()) + 5
    batches = PackedBatches(replace(cache, rates=(0.35, 0.07)), batch_size=1, length=length, seed=3)
    rows = {len(batches._plan(epoch)) for epoch in range(20)}
    assert max(rows) > len(batches._plan(0)), "otherwise this shows nothing"
    steps, seen = batches.steps_per_epoch, []
    for epoch in range(20):
        found = [e for step in range(epoch * steps, (epoch + 1) * steps) for e in segments(batches.batch_at(step))]
        assert sorted(found) == expected(cache, batches.examples_of_epoch(epoch))
        seen += batches.examples_of_epoch(epoch).tolist()
    # 20 epochs at 0.35 of 60 are seven passes, at 0.07 of 25 they are 35 trajectories.
    counts = np.bincount(seen, minlength=len(cache))
    assert (counts[:60] == 7).all() and counts[60:].sum() == 35 and set(counts[60:]) == {1, 2}


def test_the_smallest_rate_draws_one_trajectory_in_the_first_epoch(cache: TokenCache) -> None:
    batches = PackedBatches(replace(cache, rates=(1.0, 0.001)), batch_size=4, length=400)
    drawn = [int((batches.examples_of_epoch(epoch) >= 60).sum()) for epoch in range(41)]
    assert drawn == [1, *[0] * 39, 1], "25 trajectories at 0.001: one in 40 epochs"


def test_tasks_are_mixed_before_packing(cache: TokenCache) -> None:
    batches = PackedBatches(cache, batch_size=4, length=400, seed=1)
    plan = batches._plan(0)
    mixed = [row for row in range(len(plan)) if len({int(index) < 60 for index in plan.row(row)}) == 2]
    assert len(mixed) > len(plan) / 3


def test_steps_are_known_before_the_first_and_hold_for_every_epoch(cache: TokenCache) -> None:
    for rates in [(1.0, 1.0), (2.0, 3.0), (0.5, 1.5)]:
        batches = PackedBatches(replace(cache, rates=rates), batch_size=4, length=400)
        steps = batches.steps_per_epoch
        for epoch in range(3):
            found = [e for step in range(epoch * steps, (epoch + 1) * steps) for e in segments(batches.batch_at(step))]
            assert len(found) == len(batches.examples_of_epoch(epoch))


def assert_equal(batch: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    assert batch.keys() == other.keys()
    for name, values in batch.items():
        assert values.dtype == other[name].dtype
        np.testing.assert_array_equal(values, other[name])


class Hosts:
    """The batches of a run on several hosts, which are played one after the other."""

    def __init__(self, cache: TokenCache, count: int) -> None:
        self._all = [
            PackedBatches(cache, batch_size=4, length=400, seed=1, process_index=index, process_count=count)
            for index in range(count)
        ]
        fingerprints = {batches.fingerprint for batches in self._all}
        assert len(fingerprints) == 1
        self.fingerprint = fingerprints.pop()

    def batches(self, start: int, count: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields what the prefetching iterators of all hosts give, their rows side by side."""
        iterators = [islice(batches.iterator(start), count) for batches in self._all]
        for parts in zip(*iterators, strict=True):
            yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def uninterrupted(batches: PackedBatches) -> list[Batch]:
    return list(islice(batches.iterator(), 3 * batches.steps_per_epoch + 20))


STOPS = np.random.default_rng(0).choice(1 << 20, 50, replace=False).tolist()


@pytest.mark.parametrize("stop", STOPS)
def test_going_on_from_any_step_on_any_number_of_hosts_equals_not_having_stopped(
    cache: TokenCache, batches: PackedBatches, uninterrupted: list[Batch], stop: int
) -> None:
    before, after = [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2), (4, 4)][stop % 9]
    first = Hosts(cache, before)
    stop %= 3 * batches.steps_per_epoch
    seen = list(first.batches(max(0, stop - 3), min(stop, 3)))
    position = json.dumps({"step": stop, "fingerprint": first.fingerprint})
    # All that the second run knows of the first is the position.
    position = json.loads(position)
    second = Hosts(cache, after)
    assert second.fingerprint == position["fingerprint"]
    seen += second.batches(position["step"], 20)
    for step, batch in enumerate(seen, start=max(0, stop - 3)):
        assert_equal(batch, uninterrupted[step])
    assert step == stop + 19


def test_the_stops_reach_over_epochs_and_changes_of_hosts(batches: PackedBatches) -> None:
    steps = batches.steps_per_epoch
    stops = [stop % (3 * steps) for stop in STOPS]
    assert {stop // steps for stop in stops} == {0, 1, 2}
    assert {stop % 9 for stop in STOPS} == {*range(9)}


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_host_reads_only_its_own_rows(cache: TokenCache, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    example = TokenCache.example

    def recorded(self: TokenCache, index: int) -> object:
        read.append(index)
        return example(self, index)

    monkeypatch.setattr(TokenCache, "example", recorded)
    whole = PackedBatches(cache, batch_size=8, length=400, seed=1)
    of_hosts = []
    for index in range(count):
        read.clear()
        part = PackedBatches(cache, batch_size=8, length=400, seed=1, process_index=index, process_count=count)
        assert not read, "planning reads lengths alone"
        rows = [part.batch_at(step) for step in range(whole.steps_per_epoch)]
        assert {values.shape for batch in rows for values in batch.values()} == {(8 // count, 400)}
        of_hosts.append(list(read))
    assert sorted(chain.from_iterable(of_hosts)) == list(range(len(cache))), "no two hosts read the same"
    assert max(map(len, of_hosts)) < 2 * len(cache) / count


@pytest.mark.parametrize(
    ("index", "count", "message"),
    [
        (0, 3, r"batch of 4 rows does not divide over 3 processes; expected a multiple: make batch_size 6"),
        (0, 8, r"batch of 4 rows does not divide over 8 processes"),
        (2, 2, r"process_index is 2 of process_count 2"),
        (-1, 2, r"process_index is -1"),
        (0, 0, r"process_count 0"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(cache: TokenCache, index: int, count: int, message: str) -> None:
    with pytest.raises(AgentBankError, match=message):
        PackedBatches(cache, batch_size=4, length=400, process_index=index, process_count=count)


def test_batches_have_the_promised_shapes_and_types(batches: PackedBatches) -> None:
    batch = batches.batch_at(0)
    assert {name: values.dtype.name for name, values in batch.items()} == {
        "tokens": "int32",
        "targets": "int32",
        "loss_weights": "float32",
        "positions": "int32",
        "segment_ids": "int32",
    }
    assert {values.shape for values in batch.values()} == {(4, 400)}
    assert 0.5 < batches.fill <= 1


def test_columns_align(mixture: str) -> None:
    def tiny(name: str, examples: list[tuple[list[int], list[int]]]) -> TaskTokens:
        return TaskTokens(
            task=get_task(name),
            tokens=np.array([token for tokens, _ in examples for token in tokens], np.uint16),
            trained=np.array([mask for _, trained in examples for mask in trained], bool),
            offsets=np.cumsum([0] + [len(tokens) for tokens, _ in examples]),
            turns=np.ones(len(examples), np.int32),
            ids=tuple(str(index) for index in range(len(examples))),
            manifest={"key": name, "counts": {}},
        )

    cache = TokenCache(
        mixture=mixture,
        tasks=(
            tiny("fake_qa", [([1, 11, 12, 13, 2], [0, 0, 0, 1, 1])]),
            tiny("fake_house", [([1, 21, 2], [0, 1, 1])]),
        ),
        rates=(1.0, 1.0),
        max_length=8,
        template_fingerprint="",
        tokenizer_fingerprint="",
    )
    batch = PackedBatches(cache, batch_size=2, length=8).batch_at(0)
    empty = [0] * 8
    assert {name: values.tolist() for name, values in batch.items()} == {
        "tokens": [[1, 11, 12, 13, 1, 21, 0, 0], empty],
        "targets": [[11, 12, 13, 2, 21, 2, 0, 0], empty],
        "loss_weights": [[0, 0, 1, 1, 1, 1, 0, 0], empty],
        "positions": [[0, 1, 2, 3, 0, 1, 0, 0], empty],
        "segment_ids": [[1, 1, 1, 1, 2, 2, 0, 0], empty],
    }


def test_the_fingerprint_tells_orders_apart(cache: TokenCache, batches: PackedBatches) -> None:
    assert PackedBatches(cache, batch_size=4, length=400, seed=1).fingerprint == batches.fingerprint
    others = [
        PackedBatches(cache, batch_size=4, length=400, seed=2),
        PackedBatches(cache, batch_size=5, length=400, seed=1),
        PackedBatches(cache, batch_size=4, length=401, seed=1),
        PackedBatches(replace(cache, rates=(1.0, 2.0)), batch_size=4, length=400, seed=1),
    ]
    assert len({batches.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_rows_that_are_too_short_are_refused(cache: TokenCache) -> None:
    with pytest.raises(AgentBankError, match=r"rows have 50 places"):
        PackedBatches(cache, batch_size=4, length=50)
    with pytest.raises(AgentBankError, match=r"batch_size is 0"):
        PackedBatches(cache, batch_size=0, length=400)
