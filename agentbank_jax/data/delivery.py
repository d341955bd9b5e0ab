"""Packed batches in an order that is a pure function of (seed, epoch), from any step on."""

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

from agentbank_jax.data.packing import WINDOW, PackingPlan, plan_packing
from agentbank_jax.data.token_cache import TokenCache
from agentbank_jax.errors import AgentBankError

FORMAT = "packed_batches/1"

# Separates the random numbers that draw examples and reorder rows from those that shuffle them.
_DRAW, _REORDER = 1, 2


class Batch(TypedDict):
    """One batch of packed rows, B rows of T places.

    Fields:
      tokens: what the model reads, int32; 0 where there is no example.
      targets: the token that follows within the same trajectory, int32.
      loss_weights: 1 where the target is trained, else 0, float32.
      positions: places within the trajectory from 0, int32.
      segment_ids: 1, 2, … for the trajectories of a row; 0 is padding, int32.
    """

    tokens: Int[np.ndarray, "B T"]
    targets: Int[np.ndarray, "B T"]
    loss_weights: Float[np.ndarray, "B T"]
    positions: Int[np.ndarray, "B T"]
    segment_ids: Int[np.ndarray, "B T"]


class PackedBatches:
    """The endless sequence of training batches of a token cache.

    A position in it is one number, the step: `batch_at(step)` depends on nothing else, so a run that
    goes on from a step sees what an uninterrupted one sees. All epochs have the same number of
    steps. Where all rates are whole numbers, each epoch holds each trajectory exactly as often as
    its task's rate says; of a task with another rate, an epoch holds a part, and the parts of
    successive epochs take turns.

    Fields:
      batch_size: rows of a batch.
      length: places of a row.
      seed: decides the order.
    """

    def __init__(self, cache: TokenCache, *, batch_size: int, length: int, seed: int = 0, window: int = WINDOW) -> None:
        """Plans the first epoch.

        Args:
          cache: what to deliver.
          batch_size: rows of a batch.
          length: places of a row, at least those of the cache's longest trajectory.
          seed: decides the order.
          window: examples that are packed together; see `plan_packing`.

        Raises:
          AgentBankError: on a batch size below 1 or rows that are too short for the cache.
        """
        if batch_size < 1:
            raise AgentBankError(f"batch_size is {batch_size}; expected at least 1 row.")
        # A trajectory of n tokens takes n - 1 places: its last token is a target only.
        self._places = cache.lengths - 1
        if length < self._places.max():
            raise AgentBankError(
                f"rows have {length} places, and the longest trajectory of '{cache.mixture}' takes "
                f"{self._places.max()}; expected rows of at least that, or a cache with a smaller max_length."
            )
        self.batch_size = batch_size
        self.length = length
        self.seed = seed
        self._cache = cache
        self._window = window
        self._lock = threading.Lock()
        self._plans: dict[int, PackingPlan] = {0: self._plan(0)}
        self.steps_per_epoch = -(-len(self._plans[0]) // batch_size)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever any batch does; belongs into a checkpoint beside the step."""
        plan = self._plan_of(0)
        digest = hashlib.sha256(
            json.dumps(
                [FORMAT, self._cache.fingerprint, self.batch_size, self.length, self.seed, self._window]
            ).encode()
        )
        digest.update(plan.order.tobytes())
        digest.update(plan.bounds.tobytes())
        return digest.hexdigest()

    @cached_property
    def fill(self) -> float:
        """The share of places that hold a token, over the first epoch's rows."""
        plan = self._plan_of(0)
        return float(self._places[plan.order].sum() / (len(plan) * self.length))

    def batch_at(self, step: int) -> Batch:
        """Returns the batch of a step, counted from 0 over all epochs.

        The last batch of an epoch may end with empty rows.
        """
        if step < 0:
            raise AgentBankError(f"step is {step}; expected 0 or more.")
        epoch, place = divmod(step, self.steps_per_epoch)
        plan = self._plan_of(epoch)
        shape = (self.batch_size, self.length)
        batch = Batch(
            tokens=np.zeros(shape, np.int32),
            targets=np.zeros(shape, np.int32),
            loss_weights=np.zeros(shape, np.float32),
            positions=np.zeros(shape, np.int32),
            segment_ids=np.zeros(shape, np.int32),
        )
        first = place * self.batch_size
        for row in range(min(self.batch_size, len(plan) - first)):
            begin = 0
            for segment, index in enumerate(plan.row(first + row).tolist(), start=1):
                tokens, trained = self._cache.example(index)
                end = begin + len(tokens) - 1
                batch["tokens"][row, begin:end] = tokens[:-1]
                batch["targets"][row, begin:end] = tokens[1:]
                batch["loss_weights"][row, begin:end] = trained[1:]
                batch["positions"][row, begin:end] = self._counting[: end - begin]
                batch["segment_ids"][row, begin:end] = segment
                begin = end
        return batch

    def iterator(self, start_step: int = 0, *, prefetch: int = 4) -> Iterator[Batch]:
        """Yields the batches from `start_step` on, made ahead of time by Grain in background threads.

        Args:
          start_step: the step of the first batch.
          prefetch: batches that are made ahead.
        """
        import grain

        dataset = grain.MapDataset.source(_Steps(self, start_step))
        options = grain.ReadOptions(num_threads=min(2, prefetch), prefetch_buffer_size=prefetch)
        return iter(dataset.to_iter_dataset(options))

    def examples_of_epoch(self, epoch: int) -> Int[np.ndarray, " examples"]:
        """Returns the indices of the trajectories that an epoch draws, those of a task side by side."""
        drawn = []
        for number, (task, rate) in enumerate(zip(self._cache.tasks, self._cache.rates, strict=True)):
            whole, part = int(rate), round((rate - int(rate)) * len(task))
            indices = [np.tile(np.arange(len(task)), whole)]
            if part:
                shuffled = np.random.default_rng([self.seed, number, _DRAW]).permutation(len(task))
                indices.append(shuffled[(epoch * part + np.arange(part)) % len(task)])
            drawn.append(np.concatenate(indices) + self._cache.starts[number])
        return np.concatenate(drawn)

    @cached_property
    def _counting(self) -> Int[np.ndarray, " length"]:
        return np.arange(self.length, dtype=np.int32)

    def _plan_of(self, epoch: int) -> PackingPlan:
        with self._lock:
            if epoch not in self._plans:
                plan = self._plan(epoch)
                if len(plan) > self.steps_per_epoch * self.batch_size:
                    # An epoch that packs worse than the first would have more steps: it takes the
                    # first one's rows, in an order of its own.
                    plan = self._reordered(self._plans[0], epoch)
                # Prefetching threads may still read the epoch before.
                self._plans = {known: self._plans[known] for known in (0, epoch - 1) if known in self._plans}
                self._plans[epoch] = plan
            return self._plans[epoch]

    def _plan(self, epoch: int) -> PackingPlan:
        examples = self.examples_of_epoch(epoch)
        plan = plan_packing(self._places[examples], self.length, seed=self.seed, epoch=epoch, window=self._window)
        return PackingPlan(order=examples[plan.order], bounds=plan.bounds)

    def _reordered(self, plan: PackingPlan, epoch: int) -> PackingPlan:
        rows = np.random.default_rng([self.seed, epoch, _REORDER]).permutation(len(plan))
        order = np.concatenate([plan.row(int(row)) for row in rows])
        return PackingPlan(order=order, bounds=np.concatenate([[0], np.cumsum(np.diff(plan.bounds)[rows])]))


class _Steps:
    """The batches from a step on, as a source that Grain can index."""

    # Grain wants a length; no run gets there.
    _ENDLESS = 1 << 40

    def __init__(self, batches: PackedBatches, start_step: int) -> None:
        self._batches = batches
        self._start_step = start_step

    def __len__(self) -> int:
        return self._ENDLESS

    def __getitem__(self, index: int) -> Batch:
        return self._batches.batch_at(self._start_step + int(index))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._batches.fingerprint}, {self._start_step})"
