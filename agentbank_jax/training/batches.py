"""What the loop reads."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

BATCH_KEYS = ("tokens", "targets", "loss_weights", "positions", "segment_ids")


class Batches(Protocol):
    """What the loop reads: the batch of a step is a pure function of the step's number."""

    batch_size: int
    length: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the data."""

    @property
    def fingerprint(self) -> str:
        """Differs where any batch differs."""

    def iterator(self, start_step: int) -> Iterator[Mapping[str, np.ndarray]]:
        """This process's rows of the batches from a step on, without end.

        Each is an array [batch_size / processes, length] per key of `BATCH_KEYS`.
        """
