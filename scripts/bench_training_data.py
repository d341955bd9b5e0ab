"""Made trajectories for `bench_training.py`, the same ones for both sides."""

import numpy as np

from agentbank_jax.data.batch import Batch, assemble
from agentbank_jax.data.packing import plan_packing

_STEPS = 8


def trajectories(settings: dict, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Tokens int32 and loss weights float32 of enough trajectories for some batches.

    Turns of 8 to 40 tokens, a share of them trained. Lengths are log-normal with a standard deviation of 0.7 (of
    the logarithm), cut to a row's length; or, with "whole" rows, all a row's length.
    """
    rng = np.random.default_rng(seed)
    length, budget = settings["length"], _STEPS * settings["rows"] * settings["length"]
    mean = settings["mean_tokens"] or length // 5
    made, total = [], 0
    while total < budget:
        size = length
        if settings["data"] == "packed":
            size = int(np.clip(rng.lognormal(np.log(mean) - 0.7**2 / 2, 0.7), 16, length))
        turns = rng.integers(8, 40, size // 8 + 1)
        trained = np.repeat(rng.random(len(turns)) < settings["trained"], turns)[:size]
        made.append(
            (rng.integers(3, settings["model"]["vocab_size"], size, dtype=np.int32), trained.astype(np.float32))
        )
        total += size
    return made


def packed_batches(settings: dict) -> list[Batch]:
    """The trajectories packed into rows, as training gets them."""
    made, rows, length = trajectories(settings), settings["rows"], settings["length"]
    # The last token of a trajectory is a target only, as the peer's shifted labels have it.
    plan = plan_packing(np.array([len(tokens) - 1 for tokens, _ in made]), length, seed=0, epoch=0)
    packed = [[made[index] for index in plan.row(row)] for row in range(len(plan))]
    return [assemble(packed[first : first + rows], rows, length) for first in range(0, len(plan) - rows + 1, rows)]


def padded_batches(settings: dict) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """The trajectories in batches of like lengths, shuffled, each of at most as many places as a packed batch."""
    made = sorted(trajectories(settings), key=lambda example: len(example[0]))
    budget = settings["rows"] * settings["length"]
    batches: list[list[tuple[np.ndarray, np.ndarray]]] = [[]]
    for example in made:
        if (len(batches[-1]) + 1) * len(example[0]) > budget:
            batches.append([])
        batches[-1].append(example)
    return [batches[index] for index in np.random.default_rng(0).permutation(len(batches))]
