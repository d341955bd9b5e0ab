"""The tables of results: success, reward, means and gains. `cost_tables` has the others."""

from collections.abc import Callable, Sequence

from agentbank_jax.environments.registry import SKILLS
from agentbank_jax.evaluation.gains import Estimate, Gains
from agentbank_jax.evaluation.results import Summary
from agentbank_jax.evaluation.sheet import Cell, Row, Sheet
from agentbank_jax.evaluation.sweep_result import Mean
from agentbank_jax.presentation.table import BESIDE, Table

ABSENT = "–"
CONTAMINATED = "CONTAMINATED"
NOT_RUN = "not run"
_KINDS = ((False, "held-in"), (True, "held-out"))


def success_table(sheet: Sheet) -> Table:
    """Success rates with 95 % intervals, a column per player, tasks by skill, and the means."""

    def shown(row: Row, player: str, summary: Summary) -> str:
        return rate(summary.success_rate, summary.interval)

    def mean(player: str, held_out: bool) -> str | None:
        found = sheet.mean(player, held_out=held_out)
        return None if found is None else _mean_rate(found)

    title = f"Success in per cent (95 % interval), sweep '{sheet.name}', {sheet.split} episodes"
    return _by_task(sheet, title, shown, mean, (*sheet.notes, *_notes(sheet)))


def reward_table(sheet: Sheet, gains: Gains) -> Table:
    """Average rewards with 95 % intervals, in the form of `success_table`."""

    def shown(row: Row, player: str, summary: Summary) -> str:
        reached = gains.reached(player, row)
        return f"{summary.average_reward:.3f}{_range(reached.reward_interval if reached else None, '.2f')}"

    def mean(player: str, held_out: bool) -> str | None:
        found, reached = sheet.mean(player, held_out=held_out), gains.mean_reached(player, held_out=held_out)
        if found is None or reached is None:
            return None
        return f"{found.average_reward:.3f}{_range(reached.reward_interval, '.2f')}"

    return _by_task(sheet, f"Average reward (95 % interval), sweep '{sheet.name}'", shown, mean)


def _by_task(
    sheet: Sheet,
    title: str,
    shown: Callable[[Row, str, Summary], str],
    mean: Callable[[str, bool], str | None],
    notes: Sequence[str] = (),
) -> Table:
    names = [player.name for player in sheet.players]
    rows: list[tuple[str, ...]] = []
    strong, marked = [], []
    for held_out, kind in _KINDS:
        for row in sheet.rows_of(held_out=held_out):
            cells = []
            for place, name in enumerate(names):
                cell = row.cells.get(name)
                if cell is not None and (cell.contaminated or cell.not_run is not None):
                    marked.append((len(rows), place + 2))
                cells.append(_cell(cell, lambda summary, name=name, row=row: shown(row, name, summary)))  # type: ignore[misc]
            rows.append((row.facts.skill, task_name(row), *cells))
        if any(sheet.counting(name, held_out=held_out) for name in names):
            strong.append(len(rows))
            rows.append(("", f"{kind} mean", *(mean(name, held_out) or ABSENT for name in names)))
    return Table(
        title=title,
        columns=("skill", "task", *names),
        rows=tuple(rows),
        strong=frozenset(strong),
        marked=frozenset(marked),
        notes=tuple(notes),
    )


def _cell(cell: Cell | None, shown: Callable[[Summary], str]) -> str:
    if cell is None:
        return ABSENT
    if cell.not_run is not None:
        return NOT_RUN
    parts = [shown(cell.summary) if cell.summary.episodes else ABSENT]
    if cell.contaminated:
        parts.append(CONTAMINATED)
    if len(cell.records) < cell.expected:
        parts.append(f"{len(cell.records)} of {cell.expected} so far")
    return BESIDE.join(parts)


def skill_table(sheet: Sheet) -> Table:
    """Mean success and reward per skill, held-in and held-out apart."""
    names = [player.name for player in sheet.players]
    rows = []
    for held_out, kind in _KINDS:
        for skill in SKILLS:
            means = [sheet.mean(name, held_out=held_out, skill=skill) for name in names]
            if any(means):
                cells = [
                    f"{_mean_rate(mean)}{BESIDE}{mean.average_reward:.3f}" if mean is not None else ABSENT
                    for mean in means
                ]
                tasks = sorted({mean.tasks for mean in means if mean is not None})
                rows.append((skill, kind, "–".join(map(str, tasks[:1] + tasks[1:][-1:])), *cells))
    return Table(
        title=f"Means per skill: success in per cent (95 % interval) · average reward, sweep '{sheet.name}'",
        columns=("skill", "kind", "tasks", *names),
        rows=tuple(rows),
    )


def gain_table(sheet: Sheet, gains: Gains) -> Table | None:
    """Each model against its base, in points of success and in reward; None where nobody has a base."""
    if not gains.bases:
        return None
    names = list(gains.bases)
    rows: list[tuple[str, ...]] = []
    strong = []
    for held_out, kind in _KINDS:
        for row in sheet.rows_of(held_out=held_out):
            found = [gains.task(name, row) for name in names]
            if any(found):
                marks = [BESIDE + CONTAMINATED if gains.is_contaminated(name, row) else "" for name in names]
                cells = [text for one, mark in zip(found, marks, strict=True) for text in _gain_cells(one, mark)]
                rows.append((row.facts.skill, task_name(row), *cells))
        for skill in (*SKILLS, None):
            means = [gains.mean(name, held_out=held_out, skill=skill) for name in names]
            if any(means):
                if skill is None:
                    strong.append(len(rows))
                label = f"{kind} mean" if skill is None else f"{kind} mean, {skill}"
                rows.append(("", label, *(text for one in means for text in _gain_cells(one))))
    heads = [
        head for name, base in gains.bases.items() for head in (f"{name} − {base}: success", "reward", "instances")
    ]
    return Table(
        title=f"Gain on the base (95 % interval), success in points, sweep '{sheet.name}'",
        columns=("skill", "task", *heads),
        rows=tuple(rows),
        strong=frozenset(strong),
    )


def _gain_cells(gain: Estimate | None, mark: str = "") -> tuple[str, str, str]:
    if gain is None:
        return ABSENT, ABSENT, ABSENT
    return gain_text(gain) + mark, f"{gain.reward:+.3f}{_range(gain.reward_interval, '+.2f')}", str(gain.instances)


def gain_text(gain: Estimate) -> str:
    """A gain of success in points, with its interval."""
    interval = gain.success_interval
    points = None if interval is None else (100 * interval[0], 100 * interval[1])
    return f"{100 * gain.success:+.1f}{_range(points, '+.1f')}"


def overview_table(sheets: Sequence[tuple[Sheet, Gains]]) -> Table:
    """The means and mean gains of everybody in all sweeps."""
    rows = []
    for sheet, gains in sheets:
        for player in sheet.players:
            means = [sheet.mean(player.name, held_out=held_out) for held_out, _ in _KINDS]
            gained = [
                gains.mean(player.name, held_out=held_out) if player.base is not None else None
                for held_out, _ in _KINDS
            ]
            cells = [
                text
                for mean, gain in zip(means, gained, strict=True)
                for text in (_mean_rate(mean) if mean else ABSENT, gain_text(gain) if gain else ABSENT)
            ]
            episodes = sum(cell.summary.episodes for _, cell in sheet.cells(player.name))
            rows.append((sheet.name, player.name, player.base or ABSENT, f"{episodes:,}", *cells))
    return Table(
        title="At a glance: mean success in per cent, and gain on the base in points (95 % intervals)",
        columns=("sweep", "model", "base", "episodes", "held-in", "gain", "held-out", "gain"),
        rows=tuple(rows),
        text_columns=3,
    )


def task_name(row: Row) -> str:
    """A row's name, and whether the task is held out."""
    return row.name + (" (held out)" if row.facts.held_out else "")


def rate(value: float, interval: tuple[float, float]) -> str:
    """A share in per cent, with its interval."""
    return f"{100 * value:.1f} ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})"


def _mean_rate(mean: Mean) -> str:
    return rate(mean.success_rate, mean.interval)


def _range(interval: tuple[float, float] | None, form: str) -> str:
    return "" if interval is None else f" ({interval[0]:{form}} to {interval[1]:{form}})"


def _notes(sheet: Sheet) -> list[str]:
    """What a reader must know of the cells, task by task."""
    notes: list[str] = []
    for row in sheet.rows:
        reasons = dict.fromkeys(cell.not_run for cell in row.cells.values() if cell.not_run is not None)
        notes += [f"{row.name} was not run: {reason}" for reason in reasons]
        trained = [name for name, cell in row.cells.items() if cell.contaminated]
        if trained:
            names = ", ".join(trained)
            notes.append(
                f"{row.name} is held out, but {names} was trained on it: not in its held-out mean."
                if row.facts.held_out
                else f"{row.name}: {names} was trained on problems of the test: not in its held-in mean."
            )
        left_out = {record.instance_id for cell in row.cells.values() for record in cell.records if record.trained_on}
        if left_out:
            notes.append(f"{row.name}: {len(left_out)} instances that were trained on are left out.")
        errors = [
            f"{cell.summary.environment_errors} of {name}"
            for name, cell in row.cells.items()
            if cell.summary.environment_errors
        ]
        if errors:
            notes.append(
                f"{row.name}: errors of the environment ended episodes ({', '.join(errors)}); they count as 0."
            )
        for name, cell in row.cells.items():
            if cell.stale:
                notes.append(
                    f"{row.name}: {cell.stale} recorded episodes of {name} are of another protocol or split, and are "
                    "left out."
                )
        instances = {
            frozenset(record.index for record in cell.records if not record.trained_on)
            for cell in row.cells.values()
            if cell.played
        }
        if len(instances) > 1:
            notes.append(f"{row.name}: not everybody played the same instances; gains are over those that both played.")
    return notes + _mean_notes(sheet)


def _mean_notes(sheet: Sheet) -> list[str]:
    notes = []
    for held_out, kind in _KINDS:
        over = {
            player.name: {row.name for row in sheet.counting(player.name, held_out=held_out)}
            for player in sheet.players
        }
        everything = set().union(*over.values())
        for name, rows in over.items():
            if rows and rows != everything:
                missing = ", ".join(row.name for row in sheet.rows if row.name in everything - rows)
                notes.append(
                    f"The {kind} mean of {name} is over {len(rows)} of {len(everything)} tasks: without {missing}."
                )
    return notes
