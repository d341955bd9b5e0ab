"""Sweeps of one name beside each other: who played which task, and which episodes may stand in one row."""

from collections.abc import Mapping
from dataclasses import dataclass

from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.results import Summary
from agentbank_jax.evaluation.sweep_result import Mean, TaskFacts, mean_of


@dataclass(frozen=True, kw_only=True)
class Player:
    """A column of a sheet.

    Fields:
      name: of its own in the sheet.
      model, agent: see `sweep_result.Column`.
      run: where it played.
      base: the player that it is compared with; None for baselines, and where there is none.
    """

    name: str
    model: str
    agent: str
    run: str
    base: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a player did in a task.

    Fields:
      summary: figures of the episodes that count; of none where the task did not run.
      records: all episodes, each marked with whether it is left out as trained on.
      expected: how many episodes there are when the sweep is done.
      not_run: why the task could not run; None where it did.
      contaminated: whether the model was trained on the task so that it cannot be judged by it.
      stale: episodes of another protocol or split, which are in no figure.
    """

    summary: Summary
    records: tuple[EpisodeRecord, ...] = ()
    expected: int = 0
    not_run: str | None = None
    contaminated: bool = False
    stale: int = 0

    @property
    def played(self) -> bool:
        """Whether there is an episode that counts."""
        return self.not_run is None and self.summary.episodes > 0

    @property
    def counts(self) -> bool:
        """Whether the task is in the player's means."""
        return self.played and not self.contaminated


@dataclass(frozen=True, kw_only=True)
class Row:
    """A task under one protocol, with the same instances for all who stand in it.

    Fields:
      name: the task's, and what tells it from other rows of the same task.
      facts: of the environment.
      answers, split: see `SweepConfig`.
      cells: by player's name; who never was to play it is missing.
    """

    name: str
    facts: TaskFacts
    answers: str
    split: str
    cells: Mapping[str, Cell]

    @property
    def played(self) -> bool:
        return any(cell.played for cell in self.cells.values())


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All that is known of the sweeps of one name.

    Fields:
      name: of the sweeps.
      players: columns, in the order of the runs and of their sweeps.
      rows: held-in tasks first, by skill.
      split, seeds: as the sweeps say, joined by commas where they differ.
      notes: what must be known before columns are compared.
    """

    name: str
    players: tuple[Player, ...]
    rows: tuple[Row, ...]
    split: str
    seeds: str
    notes: tuple[str, ...]

    def rows_of(self, *, held_out: bool, skill: str | None = None) -> list[Row]:
        """The held-in or held-out rows, optionally those of one skill."""
        return [row for row in self.rows if row.facts.held_out == held_out and skill in (None, row.facts.skill)]

    def counting(self, player: str, *, held_out: bool, skill: str | None = None) -> list[Row]:
        """The rows in a player's mean."""
        rows = self.rows_of(held_out=held_out, skill=skill)
        return [row for row in rows if player in row.cells and row.cells[player].counts]

    def mean(self, player: str, *, held_out: bool, skill: str | None = None) -> Mean | None:
        """A player's mean over the held-in or held-out tasks that count for it; None where there is none."""
        rows = self.counting(player, held_out=held_out, skill=skill)
        return mean_of([row.cells[player].summary for row in rows])

    def cells(self, player: str) -> list[tuple[Row, Cell]]:
        """Where a player played."""
        return [(row, row.cells[player]) for row in self.rows if player in row.cells and row.cells[player].played]
