"""What measures a model while it is trained."""

from collections.abc import Iterable
from typing import Protocol

from agentbank_jax.models import forward


class Evaluator(Protocol):
    """Something that measures the parameters every so many steps, and at the end.

    Fields:
      every: steps between measurements; at least 1.
    """

    every: int

    def evaluate(self, step: int, params: forward.Params) -> Iterable[tuple[str, float]]:
        """Yields `(name, value)`, such as `("eval/loss", 1.25)`; called on every process.

        Args:
          step: optimizer steps done.
          params: the parameters, or adapters, on the devices; not to be kept.
        """
