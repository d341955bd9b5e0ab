"""Packed batches in an order that is a pure function of (seed, epoch), from any step on."""

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from jaxtyping import Int

from agentbank_jax.data.batch import Batch, assemble
from agentbank_jax.data.packing import WINDOW, PackingPlan, plan_packing
from agentbank_jax.data.token_cache import TokenCache
from agentbank_jax.errors import AgentBankError

FORMAT = "packed_batches/2"

# Separates the random numbers that draw examples and reorder rows from those that shuffle them.
_DRAW, _REORDER = 1, 2

# Epochs among which the one with the most tokens decides the number of steps. No run has more.
_FORESEEN = 1000


class PackedBatches:
    """The endless sequence of training batches of a token cache.

    A position in it is one number, the step: `batch_at(step)` depends on nothing else, so a run that
    goes on from a step sees what an uninterrupted one sees. Several processes share the work: each
    assembles only its own rows, and the rows of all, side by side, are those that one process would
    make. Neither the position nor the fingerprint depends on how many they are.

    All epochs have the same number of steps. An epoch draws each task's trajectories as often as its
    rate says; where that is no whole number, the rest is drawn from a shuffled order in which the
    epochs take turns, at least one trajectory in the first.

    Fields:
      batch_size: rows of a batch, of all processes together.
      length: places of a row.
      seed: decides the order.
      process_index, process_count: which part of each batch is assembled here.
      steps_per_epoch: batches of one epoch.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        batch_size: int,
        length: int,
        seed: int = 0,
        window: int = WINDOW,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        """Plans the first epoch.

        Args:
          cache: what to deliver.
          batch_size: rows of a batch, of all processes together.
          length: places of a row, at least those of the cache's longest trajectory.
          seed: decides the order.
          window: examples that are packed together; see `plan_packing`.
          process_index: this process, from 0; it gets the rows from `process_index * batch_size /
            process_count` on.
          process_count: processes that share each batch.

        Raises:
          AgentBankError: on a batch size below 1, rows that are too short for the cache, or a batch
            that does not divide over the processes.
        """
        if batch_size < 1:
            raise AgentBankError(f"batch_size is {batch_size}; expected at least 1 row.")
        if process_count < 1 or not 0 <= process_index < process_count:
            raise AgentBankError(
                f"process_index is {process_index} of process_count {process_count}; expected at least one process, "
                "and an index from 0 to below their number."
            )
        if batch_size % process_count:
            raise AgentBankError(
                f"a batch of {batch_size} rows does not divide over {process_count} processes; expected a multiple: "
                f"make batch_size {batch_size + -batch_size % process_count}, or change the number of processes."
            )
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
        self.process_index = process_index
        self.process_count = process_count
        self._cache = cache
        self._window = window
        self._lock = threading.Lock()
        self._plans: dict[int, PackingPlan] = {0: self._plan(0)}
        self.steps_per_epoch = -(-self._most_rows() // batch_size)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever any batch does; belongs into a checkpoint beside the step."""
        plan = self._plan_of(0)
        digest = hashlib.sha256(
            json.dumps(
                [
                    FORMAT,
                    self._cache.fingerprint,
                    self.batch_size,
                    self.length,
                    self.seed,
                    self._window,
                    self.steps_per_epoch,
                ]
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
        """Returns this process's rows of the batch of a step, counted from 0 over all epochs.

        The last batch of an epoch may end with empty rows.
        """
        if step < 0:
            raise AgentBankError(f"step is {step}; expected 0 or more.")
        epoch, place = divmod(step, self.steps_per_epoch)
        plan = self._plan_of(epoch)
        rows = self.batch_size // self.process_count
        first = place * self.batch_size + self.process_index * rows
        there = range(first, min(first + rows, len(plan)))
        examples = ([self._cache.example(index) for index in plan.row(row).tolist()] for row in there)
        return assemble(examples, rows, self.length)

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
            begin, end = _turns(len(task), rate, np.array([epoch, epoch + 1])).tolist()
            part = self._turn_order(number)[np.arange(begin, end) % len(task)]
            whole = np.tile(np.arange(len(task)), int(rate))
            drawn.append(np.concatenate([whole, part]) + self._cache.starts[number])
        return np.concatenate(drawn)

    def _turn_order(self, number: int) -> Int[np.ndarray, " trajectories"]:
        """The order in which the trajectories of a task take turns, where its rate is no whole number."""
        return np.random.default_rng([self.seed, number, _DRAW]).permutation(len(self._cache.tasks[number]))

    def _most_rows(self) -> int:
        """Rows of the longest epoch, which decides the number of steps of all."""
        epochs = np.arange(_FORESEEN + 1)
        places = np.zeros(_FORESEEN, np.int64)
        for number, (task, rate) in enumerate(zip(self._cache.tasks, self._cache.rates, strict=True)):
            start = int(self._cache.starts[number])
            of_turns = self._places[start + self._turn_order(number)]
            before = np.concatenate([[0], np.cumsum(of_turns)])
            passes, rest = np.divmod(_turns(len(task), rate, epochs), len(task))
            places += np.diff(passes * before[-1] + before[rest])
        longest = int(np.argmax(places))
        return max(len(self._plans[0]), len(self._plan(longest))) if longest else len(self._plans[0])

    def _plan_of(self, epoch: int) -> PackingPlan:
        with self._lock:
            if epoch not in self._plans:
                plan = self._fitting_plan(epoch)
                # Prefetching threads may still read the epoch before.
                self._plans = {known: self._plans[known] for known in (0, epoch - 1) if known in self._plans}
                self._plans[epoch] = plan
            return self._plans[epoch]

    def _fitting_plan(self, epoch: int) -> PackingPlan:
        """Plans an epoch within the steps that all have."""
        most = self.steps_per_epoch * self.batch_size
        plan, window = self._plan(epoch), self._window
        if len(plan) > most and any(rate % 1 for rate in self._cache.rates):
            while len(plan) > most and window < len(plan.order):
                window *= 4
                plan = self._plan(epoch, window)
        # An epoch that packs worse than the first takes the first one's rows, in an order of its own: where all
        # rates are whole numbers they hold the same trajectories.
        return plan if len(plan) <= most else self._reordered(self._plans[0], epoch)

    def _plan(self, epoch: int, window: int | None = None) -> PackingPlan:
        examples = self.examples_of_epoch(epoch)
        plan = plan_packing(
            self._places[examples], self.length, seed=self.seed, epoch=epoch, window=window or self._window
        )
        return PackingPlan(order=examples[plan.order], bounds=plan.bounds)

    def _reordered(self, plan: PackingPlan, epoch: int) -> PackingPlan:
        rows = np.random.default_rng([self.seed, epoch, _REORDER]).permutation(len(plan))
        order = np.concatenate([plan.row(int(row)) for row in rows])
        return PackingPlan(order=order, bounds=np.concatenate([[0], np.cumsum(np.diff(plan.bounds)[rows])]))


def _turns(trajectories: int, rate: float, epochs: Int[np.ndarray, " epochs"]) -> Int[np.ndarray, " epochs"]:
    """How many trajectories of a task the fraction in its rate has drawn before each of `epochs`.

    Rounded up, so that the first epoch holds one of every task; the small number keeps 0.3 x 60 at 18.
    """
    return np.ceil(epochs * ((rate - int(rate)) * trajectories) - 1e-6).astype(np.int64)


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
