"""What to build: one task's candidates, how they are made, and what the result depends on."""

import abc
import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentbank_jax.bank.filters.pipeline import BankFilter
from agentbank_jax.bank.outcome import Outcome


class Recipe(abc.ABC):
    """A task to build; picklable, so that worker processes can run it.

    Attributes:
      task: the task's name and its folder in the bank.
      wanted: how many trajectories to keep; None takes every candidate.
      candidates: how many there are; None where they do not end.
      shard_rows: trajectories per file; None puts all in one file.
      chunk: candidates that are made at once, and lost at most where a build is killed.
      at_once: the most processes that may make it at one time, where engines take much memory; None for no limit.
      threads: candidates under way at one time in each process.
      bank_filters: what compares the trajectories with each other when all are made.
    """

    task: str
    wanted: int | None
    candidates: int | None
    shard_rows: int | None
    chunk: int = 200
    at_once: int | None = None
    threads: int = 1
    bank_filters: Sequence[BankFilter] = ()

    @abc.abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """Everything that the result depends on, as JSON values: equal parameters give equal bytes."""

    def written_parameters(self) -> dict[str, Any]:
        """The parameters as they are after they were written and read."""
        made: dict[str, Any] = json.loads(json.dumps(self.parameters()))
        return made

    @abc.abstractmethod
    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        """Makes the candidates with numbers `start` to `stop - 1`, in order."""
