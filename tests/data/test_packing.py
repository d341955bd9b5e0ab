"""Packing loses nothing, cuts nothing, fills tightly, and is a pure function of its arguments."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.data.packing import plan_packing
from agentbank_jax.errors import AgentBankError

LENGTHS = st.lists(st.integers(1, 32), max_size=60)


@given(lengths=LENGTHS, seed=st.integers(0, 3), epoch=st.integers(0, 3), window=st.integers(1, 80))
def test_each_example_is_in_one_row_that_holds_it(lengths: list[int], seed: int, epoch: int, window: int) -> None:
    plan = plan_packing(np.array(lengths, int), 32, seed=seed, epoch=epoch, window=window)
    assert sorted(plan.order.tolist()) == list(range(len(lengths)))
    for row in range(len(plan)):
        assert 1 <= sum(lengths[index] for index in plan.row(row)) <= 32


@given(lengths=LENGTHS)
def test_two_rows_of_a_window_never_fit_into_one(lengths: list[int]) -> None:
    plan = plan_packing(np.array(lengths, int), 32, seed=0, epoch=0)
    used = sorted(sum(lengths[index] for index in plan.row(row)) for row in range(len(plan)))
    assert len(used) < 2 or used[0] + used[1] > 32


def test_a_plan_is_a_function_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 500)

    def plan(seed: int, epoch: int) -> list[int]:
        return plan_packing(lengths, 128, seed=seed, epoch=epoch).order.tolist()

    assert plan(1, 2) == plan(1, 2)
    assert len({tuple(plan(*key)) for key in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4


def test_long_and_short_rows_come_mixed() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 4000)
    plan = plan_packing(lengths, 128, seed=0, epoch=0)
    longest = np.array([lengths[plan.row(row)].max() for row in range(len(plan))])
    half = len(plan) // 2
    assert abs(longest[:half].mean() - longest[half:].mean()) < 3


def test_fifty_thousand_lengths_are_packed_tightly_and_soon() -> None:
    lengths = np.random.default_rng(0).lognormal(np.log(900) - 0.18, 0.6, 50_000).astype(int) + 1
    lengths = lengths[lengths <= 4096]
    begin = time.perf_counter()
    plan = plan_packing(lengths, 4096, seed=0, epoch=0)
    assert time.perf_counter() - begin < 3
    assert lengths.sum() / (len(plan) * 4096) > 0.993


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(AgentBankError, match=r"example 1 takes 33 places; expected 1 to 32"):
        plan_packing(np.array([5, 33]), 32, seed=0, epoch=0)
