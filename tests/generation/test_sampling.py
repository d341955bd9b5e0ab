import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from agentbank_jax.generation.requests import SamplingParams
from agentbank_jax.generation.sampling import Sampler, choose, kept, mode_of
from tests.generation.made import ask, make_engine, make_ids, reply_of

LOGITS = jnp.array([1.0, 0.2, -0.5, 2.0, 0.0, -3.0, 1.5, 0.9])


def draws(sampling: SamplingParams, count: int = 20_000) -> np.ndarray:
    """Tokens of one reply, each from the same distribution."""
    logits = jnp.broadcast_to(LOGITS, (count, len(LOGITS)))
    sampler = Sampler.of([sampling] * count)
    return np.asarray(jax.jit(choose, static_argnums=0)(mode_of([sampling]), logits, sampler, jnp.arange(count)))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize(
    ("sampling", "left"),
    [
        (SamplingParams(temperature=1.0, seed=1), range(8)),
        (SamplingParams(temperature=0.8, seed=2**62), range(8)),
        (SamplingParams(temperature=2.0, top_k=4, seed=-5), (3, 6, 0, 7)),
        (SamplingParams(temperature=1.0, top_p=0.55, seed=7), (3, 6)),
        (SamplingParams(temperature=1.0, min_p=0.3, seed=8), (3, 6, 0, 7)),
        (SamplingParams(temperature=1.0, top_k=4, top_p=0.65, seed=9), (3, 6)),
    ],
)
def test_tokens_follow_the_distribution_that_was_asked_for(sampling: SamplingParams, left: range) -> None:
    counts = np.bincount(draws(sampling), minlength=len(LOGITS))
    expected = np.zeros(len(LOGITS))
    expected[list(left)] = softmax(np.asarray(LOGITS, np.float64)[list(left)] / sampling.temperature)
    assert set(np.flatnonzero(counts)) == set(left)
    chosen = expected > 0
    # A wrong distribution fails by many orders of magnitude; the draws are the same in every run.
    assert stats.chisquare(counts[chosen], expected[chosen] * counts.sum()).pvalue > 1e-3


def test_tokens_that_are_as_likely_as_the_last_one_kept_stay_with_it() -> None:
    logits = jnp.array([[1.0, 2.0, 1.0, 0.0]])
    found = kept(logits, Sampler.of([SamplingParams(temperature=1.0, top_k=2)]))
    assert found.tolist() == [[True, True, True, False]]


def test_temperature_0_is_greedy_in_the_company_of_those_that_draw() -> None:
    rows = [SamplingParams(), SamplingParams(temperature=1.0, top_p=0.5, seed=1)]
    assert mode_of(rows) == "truncate" and mode_of(rows[:1]) == "greedy"
    logits = jnp.broadcast_to(LOGITS, (2, len(LOGITS)))
    assert int(choose("truncate", logits, Sampler.of(rows), jnp.zeros(2, int))[0]) == 3


def test_a_draw_is_the_same_in_a_mode_that_others_need() -> None:
    sampling = SamplingParams(temperature=1.0, seed=11)
    logits, steps = jnp.broadcast_to(LOGITS, (200, len(LOGITS))), jnp.arange(200)
    sampler = Sampler.of([sampling] * 200)
    np.testing.assert_array_equal(choose("sample", logits, sampler, steps), choose("truncate", logits, sampler, steps))


def test_a_seed_gives_the_same_tokens_again_and_another_gives_others() -> None:
    ids = make_ids(1, 20)
    tokens = {
        seed: {reply_of(make_engine(), ask("a", ids, 20, temperature=1.0, seed=seed)).ids for _ in range(2)}
        for seed in (1, 2, 1 + 2**32, -1)
    }
    assert all(len(found) == 1 for found in tokens.values())
    assert len(set.union(*tokens.values())) == 4


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(temperature=1e-38),
        SamplingParams(temperature=5e-324),
        SamplingParams(temperature=1e-37, top_k=3),
        SamplingParams(temperature=1.0, top_p=1e-46),
        SamplingParams(temperature=1.0, top_p=1e-46, top_k=2**40),
    ],
)
def test_the_smallest_temperature_and_share_leave_the_most_likely_token(sampling: SamplingParams) -> None:
    logits = jnp.broadcast_to(LOGITS * 30, (50, len(LOGITS)))
    drawn = choose(mode_of([sampling]), logits, Sampler.of([sampling] * 50), jnp.arange(50))
    assert set(np.asarray(drawn).tolist()) == {3}
