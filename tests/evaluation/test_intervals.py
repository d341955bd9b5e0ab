"""Intervals are as wide as they claim: equal to published values, to slow references, and to what simulation covers."""

import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.evaluation import intervals
from agentbank_jax.evaluation.intervals import (
    effective_episodes,
    independent_episodes,
    percentile_interval,
    resampled_means,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    # Reference values of the score interval: Newcombe (1998), table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_equals_published_values(successes: int, episodes: int, low: float, high: float) -> None:
    assert wilson_interval(successes / episodes, episodes) == pytest.approx((low, high), abs=5e-5)


@given(episodes=st.integers(1, 500), data=st.data())
def test_the_interval_holds_the_rate_and_stays_within_0_and_1(episodes: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, episodes))
    low, high = wilson_interval(successes / episodes, episodes)
    assert 0 <= low <= successes / episodes + 1e-9 and successes / episodes - 1e-9 <= high <= 1


def test_a_mean_of_tasks_is_as_sure_as_all_their_episodes_where_they_are_equal() -> None:
    assert effective_episodes([40, 40, 40]) == pytest.approx(120)
    assert effective_episodes([10, 1000]) == pytest.approx(39.6, abs=0.01)


def test_episodes_of_one_instance_tell_as_much_as_they_differ() -> None:
    # Each instance always ends alike: three seeds tell no more than one.
    assert independent_episodes([3, 0, 3, 0], [3, 3, 3, 3]) == pytest.approx(4)
    # By hand: p = 6/12, scatter = 2 (2 - 1.5)^2 + 2 (1 - 1.5)^2 = 1, so 0.25 * 144 / 1 = 36, which is more than 12.
    assert independent_episodes([2, 1, 2, 1], [3, 3, 3, 3]) == pytest.approx(12)
    # By hand: p = 5/12, deviations 1.75, -1.25, 0.75, -1.25, scatter 6.75: (5/12) (7/12) 144 / 6.75.
    assert independent_episodes([3, 0, 2, 0], [3, 3, 3, 3]) == pytest.approx(35 / 6.75)
    assert independent_episodes([], []) == 0
    # All instances are won as often as not: nothing sets one apart from another.
    assert independent_episodes([1, 1, 1], [2, 2, 2]) == 6
    assert independent_episodes([0, 0], [3, 3]) == independent_episodes([3, 3], [3, 3]) == pytest.approx(2)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_with_one_seed_every_episode_counts(successes: list[bool]) -> None:
    assert independent_episodes(successes, [1] * len(successes)) == pytest.approx(len(successes))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=40))
def test_they_are_never_more_than_were_played(pairs: list[tuple[int, int]]) -> None:
    won, played = [min(pair) for pair in pairs], [pair[1] for pair in pairs]
    assert 0 < independent_episodes(won, played) <= sum(played) + 1e-9


@pytest.mark.parametrize("likeness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_intervals_of_success_cover_what_they_promise_with_several_seeds(likeness: float, rate: float) -> None:
    """40 instances, 5 seeds: nominally 95 %, and the interval over episodes times seeds covers far less."""
    chance = np.random.default_rng(7)
    covered, naive, trials = 0, 0, 1500
    for _ in range(trials):
        if likeness == 0:
            chances = np.full(40, rate)
        elif likeness == 1:
            chances = (chance.random(40) < rate).astype(float)
        else:
            scale = 1 / likeness - 1
            chances = chance.beta(rate * scale, (1 - rate) * scale, 40)
        won = chance.binomial(5, chances).tolist()
        found = sum(won) / 200
        low, high = wilson_interval(found, independent_episodes(won, [5] * 40))
        covered += low <= rate <= high
        low, high = wilson_interval(found, 200)
        naive += low <= rate <= high
    # Of 40 episodes at a rate of 0.2 Wilson's own interval covers 0.928, since they are whole numbers.
    assert 0.915 <= covered / trials <= 0.985
    assert naive / trials < 0.80 or likeness == 0


def test_the_bootstrap_equals_a_slow_one_that_draws_instance_by_instance() -> None:
    values = np.array([[1.0, 0.5], [0.0, -1.0], [1.0, 0.25], [-1.0, 0.0], [0.0, 2.0]])
    chance = np.random.default_rng(intervals.zlib.crc32(b"task"))
    slow = []
    for _ in range(300):
        drawn = [int(chance.integers(5)) for _ in range(5)]
        slow.append([statistics.fmean(values[place, kind] for place in drawn) for kind in (0, 1)])
    fast = resampled_means(values, "task", resamples=300)
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    ordered = sorted(row[0] for row in slow)

    def percentile(share: float) -> float:
        whole, part = divmod(share * 299, 1)
        return ordered[int(whole)] * (1 - part) + ordered[int(whole) + 1] * part

    assert percentile_interval(fast[:, 0]) == pytest.approx((percentile(0.025), percentile(0.975)))


def test_resampling_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((13, 2))
    whole = resampled_means(values, "task", resamples=500)
    monkeypatch.setattr(intervals, "_CHUNK", 200)
    np.testing.assert_array_equal(resampled_means(values, "task", resamples=500), whole)


def test_tasks_are_resampled_independently_of_each_other_and_always_alike() -> None:
    values = np.random.default_rng(0).random((30, 1))
    one, two = (resampled_means(values, name)[:, 0] for name in ("one", "two"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
    np.testing.assert_array_equal(one, resampled_means(values, "one")[:, 0])
    assert one.std() == pytest.approx(values.std() / 30**0.5, rel=0.05)


def test_where_all_are_alike_no_interval_is_claimed() -> None:
    assert percentile_interval(resampled_means(np.ones((8, 1)), "task")[:, 0]) is None


def test_intervals_of_gains_cover_what_they_promise_and_single_episodes_would_not() -> None:
    """40 instances, 5 seeds, hard and easy ones; the gain is 0.2 in the whole population."""
    chance = np.random.default_rng(3)
    covered, naive, trials = 0, 0, 500
    for trial in range(trials):
        solvable = chance.random(40) < 0.4  # by the model, always; one half of them by the base
        base = solvable & (chance.random(40) < 0.5)
        gained = solvable.astype(float) - base
        low, high = percentile_interval(resampled_means(gained[:, None], str(trial), resamples=1000)[:, 0]) or (0, 0)
        covered += low - 1e-9 <= 0.2 <= high + 1e-9
        apart = resampled_means(np.repeat(gained, 5)[:, None], str(trial), resamples=1000)
        low, high = percentile_interval(apart[:, 0]) or (0, 0)
        naive += low <= 0.2 <= high
    assert covered / trials >= 0.92 and naive / trials < 0.75


def test_the_random_numbers_of_python_are_left_alone() -> None:
    random.seed(1)
    first = random.random()
    random.seed(1)
    resampled_means(np.ones((3, 1)), "task")
    assert random.random() == first
