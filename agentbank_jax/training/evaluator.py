"""What measures a model while it is trained."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models import forward


class Evaluator(Protocol):
    """Something that measures the parameters every so many steps, and at the end.

    Fields:
      every: steps between measurements; at least 1.
    """

    every: int

    @property
    def names(self) -> Sequence[str]:
        """Of the values that it may yield."""

    def evaluate(self, step: int, params: forward.Params) -> Iterable[tuple[str, float]]:
        """Yields `(name, value)`, such as `("eval/loss", 1.25)`; called on every process.

        Args:
          step: optimizer steps done.
          params: the model's parameters on the devices, adapters beside what they belong to (see `models.lora`); not
            to be kept.
        """


def check_best_metric(best_metric: str, evaluators: Sequence[Evaluator]) -> None:
    """Raises AgentBankError where no evaluator measures what the best checkpoint is chosen by; "" is nothing."""
    names = [name for evaluator in evaluators for name in evaluator.names]
    if best_metric and not names:
        raise AgentBankError(
            f"TrainConfig.best_metric={best_metric!r}: the run measures nothing while it trains; expected "
            "EvalConfig.every or EvalConfig.sweep_every, or an empty best_metric."
        )
    if best_metric and best_metric not in names:
        raise AgentBankError(
            f"TrainConfig.best_metric={best_metric!r} is not measured by the run's evaluations."
            + did_you_mean(best_metric, names)
        )


def totals(values: Mapping[str, float]) -> dict[str, float]:
    """The values to tell in a line: of each kind (`eval/…`, `arena/…`) those of the fewest parts, over all tasks."""
    parts: dict[str, int] = {}
    for name in values:
        kind, count = name.split("/")[0], name.count("/")
        parts[kind] = min(count, parts.get(kind, count))
    return {name: value for name, value in values.items() if name.count("/") == parts[name.split("/")[0]]}
