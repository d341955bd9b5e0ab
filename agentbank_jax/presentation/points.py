"""The points of a curve: smoothed, and thinned to what a picture can show."""

import numpy as np
from jaxtyping import Float, Int


def smooth(values: Float[np.ndarray, " n"], weight: float) -> Float[np.ndarray, " n"]:
    """The exponential moving average that TensorBoard shows.

    s_t = weight s_(t-1) + (1 - weight) y_t from s_0 = 0, divided by 1 - weight^t, so that it begins at the first value.

    Args:
      values: finite.
      weight: of what was before, from 0 to below 1.
    """
    smoothed = np.empty_like(values)
    average, share = 0.0, 1.0
    for index, value in enumerate(values.tolist()):
        average = weight * average + (1 - weight) * value
        share *= weight
        smoothed[index] = average / (1 - share)
    return smoothed


def thin(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], buckets: int) -> Int[np.ndarray, " k"]:
    """Indices of the points to draw: of each of equal parts of the x axis the lowest and the highest, and both ends.

    No spike is lost, as it would be by means, or by every so manieth.

    Args:
      x: ascending.
      y: finite.
      buckets: how many parts.

    Returns:
      ascending; all of them where there are no more than two a bucket.
    """
    if len(x) <= 2 * buckets:
        return np.arange(len(x))
    spread = (x[-1] - x[0]) or 1.0
    bucket = np.minimum(((x - x[0]) * (buckets / spread)).astype(int), buckets - 1)
    by_height = np.lexsort((y, bucket))
    ends = np.flatnonzero(np.diff(bucket[by_height], prepend=-1))
    lowest, highest = by_height[ends], by_height[np.append(ends[1:], len(x)) - 1]
    return np.unique(np.concatenate([lowest, highest, [0, len(x) - 1]]))
