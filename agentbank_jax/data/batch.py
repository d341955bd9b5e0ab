"""A batch of packed rows."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int

Example = tuple[Int[np.ndarray, " length"], Bool[np.ndarray, " length"] | Float[np.ndarray, " length"]]
"""Tokens of a trajectory, and which of them are trained."""


class Batch(TypedDict):
    """One batch of packed rows, B rows of T places.

    Fields:
      tokens: what the model reads, int32; 0 where there is no example.
      targets: the token that follows within the same trajectory, int32.
      loss_weights: 1 where the target is trained, else 0, float32.
      positions: places within the trajectory from 0, int32.
      segment_ids: 1, 2, … for the trajectories of a row; 0 is padding, int32.
    """

    tokens: Int[np.ndarray, "B T"]
    targets: Int[np.ndarray, "B T"]
    loss_weights: Float[np.ndarray, "B T"]
    positions: Int[np.ndarray, "B T"]
    segment_ids: Int[np.ndarray, "B T"]


def assemble(rows: Iterable[Sequence[Example]], batch_size: int, length: int) -> Batch:
    """Returns the batch whose rows hold the given examples side by side; further rows are empty.

    An example of n tokens takes n - 1 places: its last token is a target only.
    """
    shape = (batch_size, length)
    batch = Batch(
        tokens=np.zeros(shape, np.int32),
        targets=np.zeros(shape, np.int32),
        loss_weights=np.zeros(shape, np.float32),
        positions=np.zeros(shape, np.int32),
        segment_ids=np.zeros(shape, np.int32),
    )
    counting = np.arange(length, dtype=np.int32)
    for row, examples in enumerate(rows):
        begin = 0
        for segment, (tokens, trained) in enumerate(examples, start=1):
            end = begin + len(tokens) - 1
            batch["tokens"][row, begin:end] = tokens[:-1]
            batch["targets"][row, begin:end] = tokens[1:]
            batch["loss_weights"][row, begin:end] = trained[1:]
            batch["positions"][row, begin:end] = counting[: end - begin]
            batch["segment_ids"][row, begin:end] = segment
            begin = end
    return batch
