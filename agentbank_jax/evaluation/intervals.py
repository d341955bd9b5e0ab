"""Intervals of rates and means whose episodes are not all independent: several seeds of one instance are alike."""

import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000
"""Of the bootstrap."""

_CHUNK = 1 << 22
_Z = 1.959963984540054


def wilson_interval(rate: float, episodes: float) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson, 1927); (0, 1) without episodes.

    Args:
      rate: successes divided by episodes.
      episodes: how many; where they are not independent see `independent_episodes`, for a mean of tasks
        `effective_episodes`.
    """
    if not episodes:
        return 0.0, 1.0
    centre = rate + _Z * _Z / (2 * episodes)
    margin = _Z * math.sqrt(rate * (1 - rate) / episodes + _Z * _Z / (4 * episodes * episodes))
    scale = 1 + _Z * _Z / episodes
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def independent_episodes(successes: Sequence[int], episodes: Sequence[int]) -> float:
    """Independent episodes that tell as much as those of instances that were played several times each.

    With k_i episodes of instance i, s_i of them successes, n = sum k_i and p = sum s_i / n, the rate's variance with
    instances as clusters is V = sum (s_i - p k_i)^2 / n^2 (the ratio estimator of Cochran, Sampling Techniques, 1977,
    section 9A), and p (1 - p) / V independent episodes have it too: n over the design effect (Kish, 1965). Never more
    than n, and never fewer than n^2 / sum k_i^2, which is the number of instances where all were played equally often:
    so few where each instance always ends alike, and where all episodes do. With one seed it is n.

    Args:
      successes, episodes: of each instance.
    """
    total = sum(episodes)
    if not total:
        return 0.0
    rate = sum(successes) / total
    scatter = sum((won - rate * played) ** 2 for won, played in zip(successes, episodes, strict=True))
    least = total**2 / sum(played**2 for played in episodes)
    if sum(successes) in (0, total):
        return least
    return float(total) if not scatter else min(max(rate * (1 - rate) * total**2 / scatter, least), float(total))


def effective_episodes(episodes: Sequence[float]) -> float:
    """Episodes in one proportion that is as sure as the mean of several tasks' proportions.

    With a common rate p the mean of K rates of n_k episodes has the variance p (1 - p) / n where
    n = K^2 / sum(1 / n_k); where the tasks' rates differ, the variance is smaller still.
    """
    return len(episodes) ** 2 / sum(1 / count for count in episodes)


def resampled_means(
    values: Float[np.ndarray, "instances kinds"], name: str, *, resamples: int = RESAMPLES
) -> Float[np.ndarray, "resamples kinds"]:
    """Means of `values` over instances that are drawn anew, with replacement, as many as there are (Efron, 1979).

    Args:
      values: one row an instance: what all of its episodes gave together.
      name: decides chance, so that the same task is resampled alike in every report, and no two tasks are.
      resamples: how often.
    """
    return np.concatenate([drawn @ values / len(values) for drawn in _drawn(len(values), name, resamples)])


def _drawn(instances: int, name: str, resamples: int) -> Iterator[Float[np.ndarray, "part instances"]]:
    """How often each instance is drawn in each resample, in parts that fit into memory."""
    chance = np.random.default_rng(zlib.crc32(name.encode("utf-8", "replace")))
    part = max(1, _CHUNK // instances)
    for start in range(0, resamples, part):
        rows = min(part, resamples - start)
        places = chance.integers(instances, size=(rows, instances)) + instances * np.arange(rows)[:, None]
        # As floats, since the product with integers is not that of a linear algebra library.
        yield np.bincount(places.ravel(), minlength=rows * instances).reshape(rows, instances).astype(np.float64)


def percentile_interval(draws: Float[np.ndarray, " resamples"]) -> tuple[float, float] | None:
    """What lies between the 2.5th and the 97.5th percentile; None where all are equal, which says nothing of chance."""
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return None if np.ptp(draws) < 1e-12 else (low, high)
