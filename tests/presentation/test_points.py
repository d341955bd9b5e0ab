"""Curves keep their spikes when they are thinned, and their level when they are smoothed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.presentation.points import smooth, thin

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400).map(np.array)


@given(VALUES, st.integers(1, 60))
def test_thinned_points_ascend_and_hold_both_ends_and_both_extremes(values: np.ndarray, buckets: int) -> None:
    x = np.arange(len(values), dtype=float)
    kept = thin(x, values, buckets)
    assert len(kept) <= min(len(values), 2 * buckets + 2) and np.all(np.diff(kept) > 0)
    assert kept[0] == 0 and kept[-1] == len(values) - 1
    assert values[kept].max() == values.max() and values[kept].min() == values.min()


@given(VALUES, st.integers(1, 60))
def test_each_part_of_the_axis_keeps_its_extremes(values: np.ndarray, buckets: int) -> None:
    x = np.linspace(0, 1, len(values))
    kept = thin(x, values, buckets)
    part = np.minimum((x * buckets).astype(int), buckets - 1)
    for number in set(part.tolist()):
        inside, shown = values[part == number], values[kept][part[kept] == number]
        assert (shown.min(), shown.max()) == (inside.min(), inside.max())


def test_points_at_one_place_are_thinned_too() -> None:
    kept = thin(np.zeros(100), np.arange(100.0), 4)
    assert kept.tolist() == [0, 99]


def test_smoothing_is_the_moving_average_that_its_formula_says() -> None:
    values = np.array([4.0, 2.0, 8.0])
    expected = [4.0, (0.5 * 0.5 * 4 + 0.5 * 2) / 0.75, (0.25 * 0.5 * 4 + 0.5 * 0.5 * 2 + 0.5 * 8) / 0.875]
    np.testing.assert_allclose(smooth(values, 0.5), expected, rtol=1e-12)


@given(st.floats(-1e6, 1e6), st.integers(1, 200), st.sampled_from([0.0, 0.9, 0.99]))
def test_what_is_constant_stays_as_it_is(value: float, count: int, weight: float) -> None:
    assert smooth(np.full(count, value), weight) == pytest.approx(np.full(count, value), rel=1e-9, abs=1e-9)
