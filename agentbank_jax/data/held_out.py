"""Trajectories that a model is measured on and not trained on."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

from agentbank_jax.data.batch import assemble
from agentbank_jax.data.over_long import whole_id
from agentbank_jax.data.packing import plan_packing
from agentbank_jax.data.token_cache import TaskTokens, TokenCache
from agentbank_jax.errors import AgentBankError


def place_of(identifier: str) -> float:
    """Where an id stands between 0 and 1: a trajectory is held out where that is below the share.

    It depends on the id alone: not on the bank's other trajectories, nor on the task, so that two tasks that share
    a trajectory hold it out both or neither; the parts of one that was split stay together.
    """
    digest = hashlib.sha256(whole_id(identifier).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hold_out(cache: TokenCache, share: float, own: TokenCache) -> tuple[TokenCache, TokenCache]:
    """Divides a mixture into what is trained on and what is held out.

    Args:
      cache: the mixture's training split.
      share: of the trajectories, 0 to below 1, by `place_of` their ids. Tasks that `own` has give nothing away.
      own: the validation split of the tasks that have one.

    Returns:
      What is trained on, and what is held out: `own`, then the share of the other tasks, as far as there is any.

    Raises:
      AgentBankError: all of a task would be held out, or a trajectory of its validation split is trained on.
    """
    kept: list[TaskTokens] = []
    held: list[TaskTokens] = list(own.tasks)
    validated = {task.task.name: task for task in own.tasks}
    for task in cache.tasks:
        name = task.task.name
        if name in validated:
            seen = {whole_id(identifier) for identifier in task.ids}
            if both := next((each for each in validated[name].ids if whole_id(each) in seen), None):
                raise AgentBankError(
                    f"task '{name}': the trajectory '{both}' is in its training files and in its validation files; "
                    "expected ids of their own: take it out of one, or rename it."
                )
        if name in validated or not share:
            kept.append(task)
            continue
        below = np.array([place_of(identifier) < share for identifier in task.ids])
        if below.all():
            raise AgentBankError(
                f"task '{name}': EvalConfig.share={share} holds out all of its {len(task):,} trajectories; expected "
                "one at least to train on: lower it."
            )
        for part, rule, chosen in ((kept, "kept", ~below), (held, "held out", below)):
            if chosen.any():
                part.append(task.subset(np.flatnonzero(chosen), f"{rule}, share {share}"))
    return (
        replace(cache, tasks=tuple(kept)),
        replace(own, tasks=tuple(held), rates=(1.0,) * len(held)),
    )


class HeldOutBatch(TypedDict):
    """A batch as `data.batch.Batch`, and `tasks`: the number of each place's task, int32, 0 in padding too."""

    tokens: Int[np.ndarray, "B T"]
    targets: Int[np.ndarray, "B T"]
    loss_weights: Float[np.ndarray, "B T"]
    positions: Int[np.ndarray, "B T"]
    segment_ids: Int[np.ndarray, "B T"]
    tasks: Int[np.ndarray, "B T"]


class HeldOutBatches:
    """Every held-out trajectory once, packed into rows, those of all tasks together.

    Fields:
      tasks: names, in the order of their numbers.
      batch_size: rows of a batch, of all processes together.
      length: places of a row.
      trajectories: how many there are.
      most_segments: the most trajectories of a row.
    """

    def __init__(self, cache: TokenCache, *, batch_size: int, length: int, most: int = 0) -> None:
        """Plans the rows.

        Args:
          cache: what is held out; at least one trajectory.
          batch_size: rows of a batch, of all processes together.
          length: places of a row, at least those of the longest trajectory.
          most: trajectories of each task at most, those that `place_of` puts first; 0 takes all.

        Raises:
          AgentBankError: a trajectory does not fit into a row.
        """
        tasks = [_first(task, most) for task in cache.tasks]
        self._cache = replace(cache, tasks=tuple(tasks))
        self.tasks = tuple(task.task.name for task in tasks)
        self.batch_size, self.length = batch_size, length
        self.trajectories = len(self._cache)
        # A trajectory of n tokens takes n - 1 places: its last token is a target only.
        self._plan = plan_packing(self._cache.lengths - 1, length, seed=0, epoch=0)
        self.most_segments = int(np.diff(self._plan.bounds).max())

    def __len__(self) -> int:
        """Batches."""
        return -(-len(self._plan) // self.batch_size)

    def batches(self, part: int = 0, parts: int = 1) -> Iterator[HeldOutBatch]:
        """Yields one part of `parts` equal ones of the rows of every batch; the last batch may end with empty rows."""
        rows = self.batch_size // parts
        for number in range(len(self)):
            first = number * self.batch_size + part * rows
            plan = [self._plan.row(row) for row in range(first, min(first + rows, len(self._plan)))]
            examples = ([self._cache.example(index) for index in row.tolist()] for row in plan)
            batch = assemble(examples, rows, self.length)
            tasks = np.zeros((rows, self.length), np.int32)
            for row, indices in enumerate(plan):
                # The segments of a row are numbered from 1.
                numbers = self._cache.starts.searchsorted(indices, side="right") - 1
                tasks[row] = np.concatenate([[0], numbers])[batch["segment_ids"][row]]
            yield HeldOutBatch(**batch, tasks=tasks)


def _first(task: TaskTokens, most: int) -> TaskTokens:
    if not most or len(task) <= most:
        return task
    places = np.array([place_of(identifier) for identifier in task.ids])
    return task.subset(np.sort(np.argsort(places, kind="stable")[:most]), f"the first {most}")
