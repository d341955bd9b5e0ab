import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.evaluation.intervals import effective_episodes, wilson_interval
from agentbank_jax.evaluation.results import summarize


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


def test_without_episodes_nothing_is_claimed() -> None:
    summary = summarize([], task="t", skill="math", model="m")
    assert summary.episodes == 0 and summary.interval == (0.0, 1.0)
