"""What becomes of trajectories that are longer than a row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.templates.registry import EncodedTrajectory

OverLongPolicy = Literal["drop", "truncate_at_turn", "split_at_turn"]

POLICIES: tuple[OverLongPolicy, ...] = get_args(OverLongPolicy)

_PART = re.compile(r"#part\d+$")


@dataclass(frozen=True, kw_only=True)
class FittedTrajectory:
    """What is left of a trajectory.

    Fields:
      parts: what fits; none where the trajectory is dropped.
      lost_turns: trained assistant turns that are in no part.
    """

    parts: tuple[EncodedTrajectory, ...]
    lost_turns: int = 0


def fit_to_length(encoded: EncodedTrajectory, max_tokens: int, policy: OverLongPolicy) -> FittedTrajectory:
    """Makes a trajectory fit into `max_tokens` tokens.

    Args:
      encoded: the trajectory; comes back as the same object where it fits.
      max_tokens: the longest that fits.
      policy: `drop` keeps only what fits whole; `truncate_at_turn` keeps the turns up to the last
        assistant turn that fits, with at least one trained token; `split_at_turn` makes as many
        parts as it takes. Each later part re-opens with all that stands before the first reply (the
        instruction and the task), then has the reply before its first observation, untrained, so
        that no token is trained twice. Parts are called `<id>`, `<id>#part2`, …; only a turn that
        does not fit even so is lost.

    Raises:
      AgentBankError: on an unknown policy.
    """
    check_policy(policy)
    if len(encoded.tokens) <= max_tokens:
        return FittedTrajectory(parts=(encoded,))
    turns = _reply_spans(encoded)
    if policy == "split_at_turn":
        parts = _split(encoded, turns, max_tokens)
    else:
        ends = [end for _, end in turns if end <= max_tokens] if policy == "truncate_at_turn" else []
        kept = np.arange(ends[-1] if ends else 0)
        parts = [_take(encoded, kept, encoded.trained[kept], encoded.id)] if encoded.trained[kept].any() else []
    trained = sum(bool(encoded.trained[begin:end].any()) for begin, end in turns)
    kept_turns = sum(len(np.unique(part.turn[part.trained])) for part in parts)
    return FittedTrajectory(parts=tuple(parts), lost_turns=trained - kept_turns)


def check_policy(policy: str) -> None:
    """Raises an AgentBankError where there is no such policy."""
    if policy not in POLICIES:
        raise AgentBankError(
            f"policy for over-long trajectories {policy!r} is unknown.{did_you_mean(policy, POLICIES)}"
        )


def whole_id(part_id: str) -> str:
    """Returns the id of the trajectory to which a part belongs."""
    return _PART.sub("", part_id)


def _split(encoded: EncodedTrajectory, replies: Sequence[tuple[int, int]], max_tokens: int) -> list[EncodedTrajectory]:
    opening = np.arange(replies[0][0])
    parts: list[EncodedTrajectory] = []
    index = 0
    while index < len(replies):
        # The reply before, which the first observation answers, is read but not trained again.
        context = np.arange(*replies[index - 1]) if index else np.arange(0)
        begin = replies[index - 1][1] if index else replies[0][0]
        room = max_tokens - len(opening) - len(context)
        fitting = [number for number in range(index, len(replies)) if replies[number][1] - begin <= room]
        if not fitting:
            index += 1
            continue
        own = np.arange(begin, replies[fitting[-1]][1])
        taken = np.concatenate([opening, context, own])
        trained = encoded.trained[taken]
        trained[len(opening) : len(opening) + len(context)] = False
        if trained.any():
            name = encoded.id if not parts else f"{encoded.id}#part{len(parts) + 1}"
            parts.append(_take(encoded, taken, trained, name))
        index = fitting[-1] + 1
    return parts


def _take(
    encoded: EncodedTrajectory, taken: Int[np.ndarray, " part"], trained: Bool[np.ndarray, " part"], name: str
) -> EncodedTrajectory:
    return EncodedTrajectory(id=name, tokens=encoded.tokens[taken], trained=trained, turn=encoded.turn[taken])


def _reply_spans(encoded: EncodedTrajectory) -> list[tuple[int, int]]:
    """Returns the tokens from which and up to which each assistant turn reaches."""
    bounds = np.flatnonzero(np.diff(encoded.turn)) + 1
    begins = np.concatenate([[0], bounds])
    ends = np.concatenate([bounds, [len(encoded.turn)]])
    chosen = encoded.of_reply[begins]
    return list(zip(begins[chosen].tolist(), ends[chosen].tolist(), strict=True))
