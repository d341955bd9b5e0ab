"""The shapes of learning-rate schedules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule
from agentbank_jax.training.schedule import DECAY_TYPES, make_schedule


def _rates(config, steps):
    schedule = learning_rate_schedule(config, steps)
    return np.array([schedule(step) for step in range(steps + 1)])


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.1), ("linear", 0.1), ("constant", 1.0), ("wsd", 0.1)])
def test_the_rate_rises_to_its_peak_and_falls_to_its_end(schedule, last):
    config = OptimizerConfig(learning_rate=1.0, warmup_ratio=0.1, schedule=schedule, final_ratio=0.1)
    rates = _rates(config, 100)
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-6)
    assert rates.max() == pytest.approx(1.0)
    assert rates[100] == pytest.approx(last, abs=1e-6)
    assert (np.diff(rates[10:]) <= 1e-9).all()


def test_warmup_in_steps_replaces_the_ratio():
    config = OptimizerConfig(learning_rate=1.0, warmup_ratio=0.5, warmup_steps=2)
    assert learning_rate_schedule(config, 100)(1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("decay_type", "expected"),
    [
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", (1 + np.cos(np.pi * np.arange(5) / 5)) / 2),
        ("sqrt", 1 - np.sqrt(np.arange(5) / 5)),
    ],
)
def test_wsd_is_constant_until_its_last_steps_and_falls_in_these(decay_type, expected):
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=4, schedule="wsd", decay_ratio=0.25, decay_type=decay_type)
    rates = _rates(config, 20)
    np.testing.assert_allclose(rates[:4], [0.25, 0.5, 0.75, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(rates[4:15], 1.0)
    np.testing.assert_allclose(rates[15:20], expected, atol=1e-6)
    assert rates[20] == pytest.approx(0.0, abs=1e-6)


def test_the_decay_in_steps_replaces_the_ratio():
    config = OptimizerConfig(learning_rate=1.0, warmup_ratio=0.0, schedule="wsd", decay_ratio=0.9, decay_steps=2)
    np.testing.assert_allclose(_rates(config, 10)[7:], [1.0, 1.0, 0.5, 0.0], atol=1e-6)


def test_a_longer_run_has_the_same_rates_until_the_decay_of_the_shorter():
    """What makes the schedule one to go on from: only the decay knows where the run ends."""
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=4, schedule="wsd", decay_steps=5)
    short, long = _rates(config, 20), _rates(config, 40)
    np.testing.assert_array_equal(short[:15], long[:15])
    np.testing.assert_array_equal(short[15:21], long[35:41])


@given(
    total=st.integers(1, 60),
    warmup=st.integers(0, 80),
    decay=st.integers(0, 80),
    decay_type=st.sampled_from(sorted(DECAY_TYPES)),
    final=st.floats(0, 1),
)
def test_wsd_of_any_lengths_stays_between_0_and_its_peak_and_ends_at_its_final_rate(
    total, warmup, decay, decay_type, final
):
    schedule = make_schedule(
        "wsd", peak=2.0, final_ratio=final, total_steps=total, warmup_steps=warmup, decay_steps=decay,
        decay_type=decay_type,
    )  # fmt: skip
    rates = np.array([schedule(step) for step in (0, warmup, total - 1, total)])
    assert (rates >= -1e-6).all() and (rates <= 2.0 + 1e-6).all()
    if warmup < total:
        assert rates[1] == pytest.approx(2.0, abs=1e-5)
        assert rates[3] == pytest.approx(2.0 * final, abs=1e-5)
