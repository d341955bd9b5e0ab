"""The figures of an interval of steps."""

import math
import time
from collections.abc import Mapping

import numpy as np

from agentbank_jax.training.memory import memory_in_use


class Meter:
    """Sums metrics over the steps of an interval."""

    def __init__(self, flops: float, peak: float, total_steps: int, shape: tuple[int, int]):
        self._flops, self._peak, self._total, self._places = flops, peak, total_steps, shape[0] * shape[1]
        self._start = self._since = time.perf_counter()
        self._earlier_tokens = 0
        self.all_tokens, self.all_seconds = 0, 0.0
        self._reset()

    def _reset(self) -> None:
        self._steps, self._loss, self._trained, self._tokens = 0, 0.0, 0.0, 0

    def go_on(self, earlier_tokens: int) -> None:
        """Adds the tokens that earlier starts of the run have trained on."""
        self._earlier_tokens = earlier_tokens

    def exclude(self, seconds: float) -> None:
        """Leaves out seconds that were not spent on steps."""
        self._start += seconds
        self._since += seconds

    def add(self, metrics: Mapping[str, np.ndarray]) -> None:
        """Adds a step; a bad one's loss is no part of the mean."""
        self._steps += 1
        if not metrics["bad"]:
            trained = float(metrics["trained_tokens"])
            self._loss += float(metrics["loss"]) * trained
            self._trained += trained
        self._tokens += int(metrics["tokens"])
        self.all_tokens += int(metrics["tokens"])

    def record(self, step: int, metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The interval's figures, and how far the run is; begins the next interval.

        The loss of an interval without a good step is NaN.
        """
        now = time.perf_counter()
        seconds = max(now - self._since, 1e-9)
        per_second = self._steps * self._places / seconds
        values = {
            "loss": self._loss / self._trained if self._trained else math.nan,
            "gradient_norm": float(metrics["gradient_norm"]),
            "learning_rate": float(metrics["learning_rate"]),
            "tokens_per_second": self._tokens / seconds,
            "trained_tokens_per_second": self._trained / seconds,
            "mfu": per_second * self._flops / self._peak,
            "packing_fill": self._tokens / (self._steps * self._places),
            "seconds_per_step": seconds / self._steps,
            "eta_seconds": (self._total - step) * seconds / self._steps,
            "tokens": float(self._earlier_tokens + self.all_tokens),
            **memory_in_use(),
        }
        self._since, self.all_seconds = now, now - self._start
        self._reset()
        return values
