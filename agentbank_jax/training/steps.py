"""The steps of a run: from a batch to the next, with what is due between them."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import lora
from agentbank_jax.parallel.sharding import put_batch
from agentbank_jax.training.agreement import Agreement
from agentbank_jax.training.bad_steps import BadSteps
from agentbank_jax.training.batches import Batches
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.evaluator import Evaluator, totals
from agentbank_jax.training.goodput import Goodput
from agentbank_jax.training.loss import trained_capacity
from agentbank_jax.training.meter import Meter
from agentbank_jax.training.metrics import MetricsWriter, SilentWriter
from agentbank_jax.training.preemption import Preemption
from agentbank_jax.training.profiler import Profiler
from agentbank_jax.training.programs import Programs
from agentbank_jax.training.progress import TrainingProgress
from agentbank_jax.training.state import TrainState
from agentbank_jax.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a run is.

    Fields:
      step: optimizer steps done, bad ones included.
      passed_over: batches that rollbacks have left out.
      rollbacks: how many there were.
      evaluated: whether what was due after the step has been measured.
    """

    step: int = 0
    passed_over: int = 0
    rollbacks: int = 0
    evaluated: bool = True

    @property
    def batch(self) -> int:
        """The number of the next batch."""
        return self.step + self.passed_over


class SpikeError(Exception):
    """The loss of a step spiked."""

    def __init__(self, step: int):
        super().__init__(step)
        self.step = step


@dataclass(kw_only=True)
class Steps:
    """What a run's steps need, and where they tell.

    Fields:
      batches, programs, frozen, rows: what is trained on, with which compiled steps, weights of adapters and sharding.
      gather: whether a batch's program depends on its number of trained tokens.
      bound_segments: the most segments of a row where the programs depend on them; 0 where they do not; None takes
        each batch's own.
      config, total_steps: how long, and what is due when.
      checkpoints, evaluators, bad_steps, agreement, preemption: what happens between steps.
      meter, writer, progress, goodput, profiler: where it is told.
      record: the last record of metrics.
    """

    batches: Batches
    programs: Programs
    frozen: Any
    rows: NamedSharding
    gather: bool
    bound_segments: int | None
    config: TrainConfig
    total_steps: int
    checkpoints: Checkpoints
    evaluators: Sequence[Evaluator]
    bad_steps: BadSteps
    agreement: Agreement
    preemption: Preemption
    meter: Meter
    writer: MetricsWriter | SilentWriter
    progress: TrainingProgress
    goodput: Goodput
    profiler: Profiler
    record: dict[str, float] = field(default_factory=dict)
    _pending: tuple[int, dict[str, jax.Array], Mapping[str, np.ndarray]] | None = None
    _saved: float = field(default_factory=time.monotonic)

    def run(self, state: TrainState, position: Position) -> tuple[TrainState, Position]:
        """Steps to the end.

        Raises:
          SpikeError: the loss spiked; the state is lost, for the run to go back.
          Stopped: the run was asked to stop, and has saved.
          AgentBankError: too many bad steps, or a checkpoint that cannot be written.
        """
        if not position.evaluated:
            self._save(state, *self._evaluated(state, position))
        data = self.batches.iterator(position.batch)
        while position.step < self.total_steps:
            with self.goodput.spent_on("data"):
                host_batch = {key: np.asarray(value) for key, value in next(data).items()}
                batch = put_batch(host_batch, self.rows, (self.batches.batch_size, self.batches.length))
            program, compiling = self.programs.get(*self._needs(host_batch), state, batch, self.frozen)
            self.meter.exclude(compiling)
            self.goodput.add("compilation", compiling)
            self.goodput.steps_begin()
            # A transfer that is not written out, such as of a Python number, would be paid at every step.
            with self.profiler.step(position.step + 1, state), jax.transfer_guard("disallow"):
                state, metrics = program(state, batch, self.frozen)
            # The metrics of the step before are read while this one runs.
            self._read(position)
            position = replace(position, step=position.step + 1)
            self._pending = position.step, metrics, host_batch
            stop, late = self.agreement.decide(self.preemption.signal is not None, self._late())
            every = self.config.checkpoint_every
            evaluate = bool(self._due(position.step))
            last = position.step == self.total_steps
            if stop or late or evaluate or last or (every and position.step % every == 0):
                # What a run that goes on from here must find is written first.
                self._read(position)
                position = replace(position, evaluated=not evaluate)
                values: dict[str, float] = {}
                if evaluate and not stop:
                    position, values = self._evaluated(state, position)
                    stop = not position.evaluated
                self._save(state, position, values)
                if stop:
                    self.checkpoints.wait()
                    raise self.preemption.stopped(position.step, self.checkpoints.directory)
        return state, position

    def _needs(self, batch: Mapping[str, np.ndarray]) -> tuple[int | None, int]:
        """The capacity and the segments of the program that a batch needs."""
        capacity = None
        if self.gather:
            parts = self.config.accumulate
            capacity = max(trained_capacity(batch["loss_weights"][part::parts]) for part in range(parts))
        if self.bound_segments == 0:
            return capacity, 0
        most = int(batch["segment_ids"].max())
        if self.bound_segments is None:
            return capacity, most
        if most > self.bound_segments:
            raise AgentBankError(
                f"A row of {most} trajectories: the run's devices take {self.bound_segments} a row at most, since its "
                "processes must compile alike; raise LlamaConfig.max_segments."
            )
        return capacity, self.bound_segments

    def _late(self) -> bool:
        minutes = self.config.checkpoint_minutes
        return bool(minutes) and time.monotonic() - self._saved > 60 * minutes

    def _due(self, step: int) -> list[Evaluator]:
        return [each for each in self.evaluators if step % each.every == 0 or step == self.total_steps]

    def _evaluated(self, state: TrainState, position: Position) -> tuple[Position, dict[str, float]]:
        """Measures what is due after a step; not `evaluated` where a wish to stop has cut it short."""
        values: dict[str, float] = {}
        started = time.perf_counter()
        jax.block_until_ready(state)
        with self.goodput.spent_on("evaluation"):
            try:
                # One process alone may not leave what all of them compute.
                with self.preemption.at_once() if jax.process_count() == 1 else contextlib.nullcontext():
                    params = state.params if self.frozen is None else lora.join(self.frozen, state.params)
                    for evaluator in self._due(position.step):
                        values |= dict(evaluator.evaluate(position.step, params))
            except KeyboardInterrupt:
                if self.preemption.signal is None:
                    raise
                return replace(position, evaluated=False), {}
        self.meter.exclude(time.perf_counter() - started)
        self.writer.write(position.step, values)
        told = "  ".join(f"{name} {value:.4g}" for name, value in totals(values).items())
        self.progress.say(f"step {position.step}: {told}")
        return replace(position, evaluated=True), values

    def _save(self, state: TrainState, position: Position, values: Mapping[str, float]) -> None:
        kept = {
            "passed_over": position.passed_over,
            "rollbacks": position.rollbacks,
            "evaluated": position.evaluated,
            "bad_steps": self.bad_steps.to_json(),
        }
        with self.goodput.spent_on("checkpoint"):
            self.checkpoints.save(state, position.step, self.batches.fingerprint, position=kept, metrics=values)
        self._saved = time.monotonic()
        self.progress.saved(position.step)

    def _read(self, position: Position) -> None:
        """Reads the metrics of the step that waits; writes the record of an interval that it ends."""
        if self._pending is None:
            return
        step, metrics, batch = self._pending[0], jax.device_get(self._pending[1]), self._pending[2]
        self._pending = None
        if self.bad_steps.judge(step, metrics, batch, jax.process_index()):
            self.goodput.add("repeated", time.monotonic() - self._saved)
            raise SpikeError(step)
        self.meter.add(metrics)
        self.progress.advance(step)
        if step % self.config.log_every and step != self.total_steps:
            return
        self.record = {
            **self.meter.record(step, metrics),
            "epoch": (step + position.passed_over) / self.batches.steps_per_epoch,
            "bad_steps": self.bad_steps.bad_steps,
            "rollbacks": position.rollbacks,
            "goodput": self.goodput.share(),
            **{f"seconds/{kind}": seconds for kind, seconds in self.goodput.seconds().items()},
        }
        self.writer.write(step, self.record)
        self.progress.report(step, self.record)
