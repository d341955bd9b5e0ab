"""A recipe for any environment: actions are found, played again, given Thoughts, and filtered."""

import contextlib
import importlib
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agentbank_jax.bank.annotation import Annotator, RationaleWriter
from agentbank_jax.bank.engine import close_engine, held_engine
from agentbank_jax.bank.filters.pipeline import BankFilter, Filter
from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.bank.replay import conversation, replay
from agentbank_jax.bank.sources import declaring_modules, source_hash
from agentbank_jax.environments import benchmark_data, registry, sandbox_limits
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.sandbox_limits import SandboxConfig
from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.trajectories.schema import Trajectory

SPLIT = "train"

# A seed other than 0 starts among the first 100,000 instances of an endless split at one of these distances.
_SEED_STRIDE, _SEED_STARTS = 1000, 100

# Of a problem whose engine fails.
_TRIES = 2

_HELD = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class EnvironmentRecipe(Recipe):
    """Trajectories of an environment's train split.

    An instance is annotated; its actions are replayed in a freshly reset environment, whose observations and reward are
    those of the trajectory; a Thought is worded for each; the filters look at the whole. What fails at a stage is
    dropped with that stage's reason.

    Fields:
      task: the folder in the bank.
      environment: where instances come from.
      method: how actions are found, in AgentBank's terms.
      annotator: finds them.
      rationales: words the Thoughts.
      filters: judge each trajectory by itself, one after the other.
      bank_filters: compare those of the whole task.
      wanted: how many trajectories; None, for splits that end, takes all that can be made.
      seed: where an endless split begins; annotator and rationales have their own.
      max_steps: actions allowed instead of the environment's own limit.
      source: what the metadata name as the source; the environment if empty.
      shard_rows: trajectories per file.
      chunk: instances that are annotated at once, see `Recipe`.
      fresh_engine: whether each chunk begins with a new engine; the bytes then depend on `chunk`.
      threads: instances under way at one time in each process, for annotators that wait for a server.
      benchmarks: where published data are.
      sandbox: how programs are held apart.
      imports: modules that register environments of the user's own.
    """

    task: str
    environment: str
    method: str
    annotator: Annotator
    rationales: RationaleWriter
    filters: tuple[Filter, ...] = ()
    bank_filters: tuple[BankFilter, ...] = ()
    wanted: int | None = None
    seed: int = 0
    max_steps: int | None = None
    source: str = ""
    shard_rows: int = 2000
    chunk: int = 200
    fresh_engine: bool = False
    threads: int = 1
    benchmarks: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    imports: tuple[str, ...] = ()

    @cached_property
    def spec(self) -> EnvironmentSpec:
        """The environment's specification, with the data of this recipe."""
        for module in self.imports:
            importlib.import_module(module)
        benchmark_data.configure(self.benchmarks)
        sandbox_limits.configure(self.sandbox)
        return registry.get(self.environment)

    @property
    def at_once(self) -> int | None:  # type: ignore[override]
        return self.spec.at_once

    @property
    def candidates(self) -> int | None:  # type: ignore[override]
        return self.spec.size(SPLIT)

    def __getstate__(self) -> dict[str, Any]:
        # A specification cannot be sent to another process; it is looked up there.
        return {name: value for name, value in vars(self).items() if name != "spec"}

    def parameters(self) -> Mapping[str, Any]:
        spec = self.spec
        judges: tuple[Filter | BankFilter, ...] = (*self.filters, *self.bank_filters)
        declared = declaring_modules().get(self.environment)
        own = (spec.make.__module__, *self.imports) if declared is None else (declared,)
        modules = {*own, __name__, *(type(part).__module__ for part in (self.annotator, self.rationales, *judges))}
        return {
            "task": self.task,
            "environment": self.environment,
            "skill": spec.skill,
            "action_space": spec.action_space,
            "protocol": spec.protocol,
            "data": spec.data_version(),
            "licence": spec.licence,
            "source": self.source or self.environment,
            "split": SPLIT,
            "trajectories": self.wanted,
            "seed": self.seed,
            "max_steps": self.max_steps,
            "shard_rows": self.shard_rows,
            "engine_of": self.chunk if self.fresh_engine else None,
            "annotation": self.method,
            "annotator": dict(self.annotator.facts()),
            "rationales": dict(self.rationales.facts()),
            "filters": [dict(each.facts()) for each in judges],
            "imports": list(self.imports),
            "sources": source_hash(modules),
        }

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        first = self._first_index()
        instances = [self.spec.instance(SPLIT, first + number) for number in range(start, stop)]
        if self.fresh_engine:
            close_engine()
        if self.threads == 1:
            return [self.outcome(instance) for instance in instances]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.outcome, instances))

    def _first_index(self) -> int:
        if not self.seed or self.candidates is not None:
            return 0
        return random.Random(self.seed).randrange(_SEED_STARTS) * _SEED_STRIDE

    def outcome(self, instance: Instance) -> Outcome:
        """What becomes of a problem."""
        return Outcome(item=self._made(instance), fingerprint=instance.fingerprint, difficulty=instance.difficulty)

    def _made(self, instance: Instance) -> Trajectory | Drop:
        """The trajectory; an engine that fails is begun anew once."""
        for _ in range(_TRIES):
            try:
                return self._item(instance)
            except AgentBankError:
                raise
            except Exception as error:
                close_engine()
                failure = error
        return Drop(
            id=instance.id, reason="environment_error", detail=f"{type(failure).__name__}: {first_line(failure)}"
        )

    def _item(self, instance: Instance) -> Trajectory | Drop:
        # Engines that are slow to start are kept, and reset: one for all threads of a process, which take turns. What
        # waits for a server at each step has an engine of its own.
        own = self.method == "answer_forcing"
        with contextlib.nullcontext() if own else _HELD:
            sequence = self.annotator.annotate(self.spec, instance)
            if isinstance(sequence, Drop):
                return sequence
            actions = [step.action for step in sequence.steps]
            environment = None if own else held_engine(self.spec)
            replayed = replay(self.spec, instance, actions, environment=environment, max_steps=self.max_steps)
        if isinstance(replayed, Drop):
            return replayed
        said = self.rationales.write(self.spec, instance, sequence, replayed.observations)
        if isinstance(said, Drop):
            return said
        trajectory = Trajectory(
            id=instance.id,
            task=self.task,
            turns=conversation(replayed, said, actions),
            metadata={
                "skill": self.spec.skill,
                "source": self.source or self.environment,
                "license": self.spec.licence,
                "reward": replayed.reward,
                "annotation": sequence.method,
                "difficulty": instance.difficulty,
                "seed": self.seed,
            },
        )
        drops = (each.check(trajectory) for each in self.filters)
        return next((drop for drop in drops if drop is not None), trajectory)
