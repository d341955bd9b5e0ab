"""SeqIO metric functions for replies of an agent, and what an evaluator needs around them.

`seqio.Evaluator` decodes no further than the first stop token, which in a trajectory ends its first
reply. What is predicted is therefore one reply, the last one: `prompt_of` gives what it answers,
`reply_postprocessor` what it should have been.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
from jaxtyping import Int

from agentbank_jax.data.seqio_preprocessors import TRAINED
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

_FINAL_ANSWER, _ACTION = "Final Answer:", "Action:"


def action_accuracy(targets: Sequence[str], predictions: Sequence[str]) -> dict[str, seqio.metrics.MetricValue]:
    """Returns the share of predicted replies whose action, or final answer, is the target's.

    Thoughts are not compared: many lead to the same action. A trajectory without a trained reply
    has an empty target and does not count.
    """
    hits = [_action(target) == _action(reply) for target, reply in zip(targets, predictions, strict=True) if target]
    return {"action_accuracy": seqio.metrics.Scalar(sum(hits) / max(len(hits), 1))}


def reply_postprocessor(tokenizer: Callable[[], Tokenizer]) -> Callable[..., str]:
    """Returns a task's `postprocess_fn`: the text of the last trained reply, or of the predicted one.

    Args:
      tokenizer: gives the tokenizer; asked at the first target.
    """

    def postprocess(output: str, example: Mapping[str, Any], is_target: bool) -> str:
        if not is_target:
            return output
        begin, end = _last_run(np.asarray(example["trained"]) == TRAINED)
        return tokenizer().decode(np.asarray(example["targets"])[begin:end].tolist())

    return postprocess


def prompt_of(row: Mapping[str, np.ndarray]) -> Int[np.ndarray, " prompt"]:
    """Returns the ids that a model reads before it writes the last trained reply.

    Args:
      row: an unpacked row of `TrajectoryFeatureConverter`; `tokens` and `loss_weights` are used.
    """
    begin, _ = _last_run(row["loss_weights"] > 0)
    # A place holds the token that is read there, and the weight of the one that follows.
    return row["tokens"][: begin + 1]


def _last_run(mask: np.ndarray) -> tuple[int, int]:
    """Returns where the last run of true values begins and ends; (0, 0) where there is none."""
    (places,) = np.nonzero(mask)
    if not len(places):
        return 0, 0
    end = int(places[-1]) + 1
    (before,) = np.nonzero(~mask[:end])
    return int(before[-1]) + 1 if len(before) else 0, end


def _action(reply: str) -> str:
    """Returns a final answer with its prefix, else what follows the first `Action:`."""
    if _FINAL_ANSWER in reply:
        return _FINAL_ANSWER + " " + reply.split(_FINAL_ANSWER, 1)[1].strip()
    return reply.split(_ACTION, 1)[-1].strip()
