"""What becomes of trajectories that are longer than a row."""

from typing import Literal, get_args

import numpy as np

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.templates import EncodedTrajectory

OverLongPolicy = Literal["drop", "truncate_at_turn"]

POLICIES: tuple[OverLongPolicy, ...] = get_args(OverLongPolicy)


def fit_to_length(encoded: EncodedTrajectory, max_tokens: int, policy: OverLongPolicy) -> EncodedTrajectory | None:
    """Makes a trajectory fit into `max_tokens` tokens, or returns None where it is dropped.

    Args:
      encoded: the trajectory; comes back as the same object where it fits.
      max_tokens: the longest that fits.
      policy: `drop` keeps only what fits whole; `truncate_at_turn` keeps the turns up to the last
        assistant turn that fits, with at least one trained token.

    Raises:
      AgentBankError: on an unknown policy.
    """
    if policy not in POLICIES:
        raise AgentBankError(
            f"policy for over-long trajectories {policy!r} is unknown.{did_you_mean(policy, POLICIES)}"
        )
    if len(encoded.tokens) <= max_tokens:
        return encoded
    if policy == "drop":
        return None
    # The last turn is a reply, and so is every other one before it, but for a system turn at the start.
    is_reply = (encoded.turn % 2 == encoded.turn[-1] % 2) & (encoded.turn > 0)
    ends = np.flatnonzero(is_reply[:-1] & (encoded.turn[1:] != encoded.turn[:-1])) + 1
    fitting = ends[ends <= max_tokens]
    if not len(fitting) or not encoded.trained[: fitting[-1]].any():
        return None
    end = int(fitting[-1])
    return EncodedTrajectory(
        id=encoded.id, tokens=encoded.tokens[:end], trained=encoded.trained[:end], turn=encoded.turn[:end]
    )
