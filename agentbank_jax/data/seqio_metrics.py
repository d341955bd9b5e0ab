"""SeqIO metric functions for replies of an agent."""

from collections.abc import Sequence

import seqio

_FINAL_ANSWER, _ACTION = "Final Answer:", "Action:"


def action_accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, seqio.metrics.MetricValue]:
    """Returns the share of predicted replies whose action, or final answer, is the target's.

    Thoughts are not compared: many lead to the same action.
    """
    hits = sum(_action(target) == _action(prediction) for target, prediction in zip(targets, predictions, strict=True))
    return {"action_accuracy": seqio.metrics.Scalar(hits / max(len(targets), 1))}


def _action(reply: str) -> str:
    """Returns a final answer with its prefix, else what follows the first `Action:`."""
    if _FINAL_ANSWER in reply:
        return _FINAL_ANSWER + " " + reply.split(_FINAL_ANSWER, 1)[1].strip()
    return reply.split(_ACTION, 1)[-1].strip()
