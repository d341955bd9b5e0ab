"""Joins the sweeps of several runs, task by task; what cannot be compared is kept apart, and said."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentbank_jax.environments.registry import SKILLS
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.episode import EpisodeRecord
from agentbank_jax.evaluation.results import summarize
from agentbank_jax.evaluation.sheet import Cell, Player, Row, Sheet
from agentbank_jax.evaluation.sweep_config import BASELINES
from agentbank_jax.evaluation.sweep_result import Column, SweepResult, TaskResult


@dataclass(frozen=True, kw_only=True)
class Source:
    """A sweep, and what its run is called."""

    run: str
    result: SweepResult


def join(sources: Sequence[Source], *, base: str | None = None) -> tuple[Sheet, ...]:
    """Puts sweeps of one name beside each other, in the order in which they are first met.

    Args:
      sources: their runs are called differently where sweeps of one name come from several.
      base: the model or column that every other is compared with; None takes each sweep's own.

    Raises:
      AgentBankError: nobody is called as `base` is.
    """
    by_name: dict[str, list[Source]] = {}
    for source in sources:
        by_name.setdefault(source.result.name, []).append(source)
    sheets = tuple(_join(name, group, base) for name, group in by_name.items())
    names = [name for sheet in sheets for player in sheet.players for name in (player.name, player.model)]
    if base is not None and base not in names:
        raise AgentBankError(f"--base={base}: nobody of that name played.{did_you_mean(base, names)}")
    return sheets


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One task of one of the sweeps."""

    number: int
    source: Source
    task: TaskResult

    @property
    def name(self) -> str:
        return self.task.facts.name

    @property
    def conditions(self) -> dict[str, str]:
        """What must be the same in a row, in the order in which a reader asks for it."""
        facts, result = self.task.facts, self.source.result
        return {
            "task": facts.name,
            "protocol": facts.protocol,
            "answers": f"answers {result.answers}",
            "split": f"split {result.split}",
            "steps": f"at most {facts.max_steps} steps",
            "threshold": f"success from {facts.success_threshold:g}",
            "data": f"data {self.data}",
            "held out": "held out" if facts.held_out else "held in",
        }

    @property
    def data(self) -> str:
        """The version of the instances, as their episodes say."""
        columns = self.source.result.columns
        return _each(dict.fromkeys(record.data for column in columns for record in self.records(column)))

    def is_stale(self, record: EpisodeRecord) -> bool:
        """Whether an episode was played otherwise than the sweep plays now: it waits for being played again."""
        wanted = (self.task.facts.protocol, self.source.result.answers, self.source.result.split)
        return (record.protocol, record.answers, record.split) != wanted

    def records(self, column: Column) -> list[EpisodeRecord]:
        return [record for record in self.task.records.get(column.name, ()) if not self.is_stale(record)]

    def fingerprints(self) -> dict[int, str]:
        """Of the instances that were played, by index."""
        columns = self.source.result.columns
        records = [record for column in columns for record in self.records(column)]
        return {record.index: record.fingerprint for record in records if record.fingerprint is not None}


def _join(name: str, sources: Sequence[Source], base: str | None) -> Sheet:
    players, places = _players(sources)
    based = [replace(player, base=_base(player, players, places, sources, base)) for player in players]
    groups = _comparable(
        [
            _Entry(number=number, source=source, task=task)
            for number, source in enumerate(sources)
            for task in source.result.tasks
        ]
    )
    labels, notes = _labels(groups)
    rows = [_row(group, label, places) for group, label in zip(groups, labels, strict=True)]
    order = {skill: place for place, skill in enumerate(SKILLS)}
    return Sheet(
        name=name,
        players=tuple(based),
        rows=tuple(sorted(rows, key=lambda row: (row.facts.held_out, order.get(row.facts.skill, len(order))))),  # type: ignore[call-overload]
        split=_each(source.result.split for source in sources),
        seeds=_each(", ".join(map(str, source.result.seeds)) for source in sources),
        notes=notes,
    )


def _each(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))


def _players(sources: Sequence[Source]) -> tuple[list[Player], dict[tuple[int, str], str]]:
    """The columns, and what each sweep's column is called among them.

    What played the same episodes in several runs, as `random` does, is one column.
    """
    kinds: dict[tuple[str, frozenset[object]], list[tuple[int, Column]]] = {}
    for number, source in enumerate(sources):
        for column in source.result.columns:
            kinds.setdefault((column.name, _decided(source.result, column)), []).append((number, column))
    clashes = Counter(name for name, _ in kinds)
    players: list[Player] = []
    places: dict[tuple[int, str], str] = {}
    for (name, _), alike in kinds.items():
        number, column = alike[0]
        run = sources[number].run
        shown = f"{name} ({run})" if clashes[name] > 1 else name
        players.append(Player(name=shown, model=column.model, agent=column.agent, run=run))
        places |= {(at, one.name): shown for at, one in alike}
    return players, places


def _decided(result: SweepResult, column: Column) -> frozenset[object]:
    """All that decided a column's episodes."""
    return frozenset(
        (task.facts.name, column.model in task.contaminated, record.seed, record.index, record.key)
        for task in result.tasks
        for record in task.records.get(column.name, ())
    )


def _base(
    player: Player,
    players: Sequence[Player],
    places: Mapping[tuple[int, str], str],
    sources: Sequence[Source],
    wanted: str | None,
) -> str | None:
    if wanted is not None:
        candidates = [other for other in players if wanted in (other.name, other.model)]
        # A column's own name is meant; a model's name, where each run has it, means that of the same run.
        candidates.sort(key=lambda other: (other.name != wanted, other.run != player.run, other.agent != player.agent))
    else:
        homes = [place[0] for place, name in places.items() if name == player.name]
        names = {
            places[number, column.name]
            for number in homes
            for column in sources[number].result.columns
            if column.model == sources[number].result.base
        }
        candidates = [other for other in players if other.name in names]
        candidates.sort(key=lambda other: other.agent != player.agent)
    if not candidates or player in candidates or player.model in BASELINES:
        return None
    return candidates[0].name


def _comparable(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Groups of entries that may stand in one row: of the same conditions, and the same instances where they share any.

    A task that did not run stands where others played it: an engine that is not there has no version to differ.
    """
    groups: list[list[_Entry]] = []
    met: list[dict[int, str]] = []
    for entry in (entry for entry in entries if entry.task.not_run is None):
        own = entry.fingerprints()
        for group, known in zip(groups, met, strict=True):
            same = all(known[index] == own[index] for index in known.keys() & own.keys())
            if same and group[0].conditions == entry.conditions:
                group.append(entry)
                known |= own
                break
        else:
            groups.append([entry])
            met.append(own)
    for entry in (entry for entry in entries if entry.task.not_run is not None):
        for group in groups:
            if group[0].name == entry.name:
                group.append(entry)
                break
        else:
            groups.append([entry])
    return sorted(groups, key=lambda group: entries.index(group[0]))


def _labels(groups: Sequence[Sequence[_Entry]]) -> tuple[list[str], tuple[str, ...]]:
    """Names of rows, and warnings: rows of one task say in what they differ."""
    labels, notes = [], []
    for group in groups:
        first = group[0]
        alike = [other[0] for other in groups if other[0].name == first.name]
        if len(alike) == 1:
            labels.append(first.name)
            continue
        differing = [
            value for key, value in first.conditions.items() if any(other.conditions[key] != value for other in alike)
        ]
        if any(other is not first and other.conditions == first.conditions for other in alike):
            differing.append(f"instances of {first.source.run}")
        labels.append(f"{first.name} [{', '.join(differing)}]")
        runs = _each(entry.source.run for entry in group)
        notes.append(f"NOT COMPARABLE with the other rows of {first.name}: {labels[-1]}, as {runs} played it.")
    return labels, tuple(notes)


def _failure(records: Sequence[EpisodeRecord]) -> str:
    """Why nothing is known where every episode was ended by its environment."""
    reason = (records[0].error or "no reason given").partition("\n")[0]
    return f"its environment ended all {len(records)} episodes ({reason})"


def _row(group: Sequence[_Entry], label: str, places: Mapping[tuple[int, str], str]) -> Row:
    first = group[0]
    facts = first.task.facts
    trained = {
        record.instance_id
        for entry in group
        for records in entry.task.records.values()
        for record in records
        if record.trained_on
    }
    cells: dict[str, Cell] = {}
    for entry in group:
        result = entry.source.result
        for column in result.columns:
            name = places[entry.number, column.name]
            contaminated = column.model in entry.task.contaminated
            # All are measured by the instances that nobody was trained on. Who was trained on a held-out task stands
            # apart from the others, and does not take its instances from them.
            left_out = trained if contaminated or not facts.held_out else set()
            kept = entry.records(column)
            records = [replace(record, trained_on=record.instance_id in left_out) for record in kept]
            summary = summarize(records, task=label, skill=facts.skill, model=name)
            cell = Cell(
                summary=summary,
                records=tuple(records),
                expected=entry.task.facts.episodes * len(result.seeds),
                not_run=_failure(records) if summary.broken else entry.task.not_run,
                contaminated=contaminated,
                stale=len(entry.task.records.get(column.name, ())) - len(kept),
            )
            if name not in cells or cells[name].not_run is not None:
                cells[name] = cell
    return Row(
        name=label, facts=facts, answers=first.source.result.answers, split=first.source.result.split, cells=cells
    )
