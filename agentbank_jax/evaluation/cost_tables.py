"""The tables of how episodes went: why they ended, what they cost, and what environments measured."""

from agentbank_jax.agents.episode import TERMINATE_REASONS
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.evaluation.tables import ABSENT, task_name
from agentbank_jax.presentation.table import Table

_REASONS = tuple(reason.replace("_", " ") for reason in TERMINATE_REASONS)


def detail_table(sheet: Sheet) -> Table:
    """Success, reward, steps, invalid actions and cost of each player in each task."""
    rows = []
    for row in sheet.rows:
        for player in sheet.players:
            cell = row.cells.get(player.name)
            if cell is not None and cell.not_run is None:
                summary = cell.summary
                rows.append(
                    (
                        row.facts.skill,
                        row.name,
                        player.name,
                        str(summary.episodes),
                        f"{100 * summary.success_rate:.1f}",
                        f"{summary.average_reward:.3f}",
                        f"{summary.steps:.1f}",
                        f"{100 * summary.invalid_rate:.1f}",
                        f"{summary.tokens:,.0f}",
                        f"{summary.prompt_tokens:,.0f}",
                        f"{summary.seconds:.1f}",
                        str(summary.environment_errors),
                    )
                )
    return Table(
        title=f"Each task, means over episodes, sweep '{sheet.name}'",
        columns=("skill", "task", "model", "episodes", "success %", "reward", "steps", "invalid %", "tokens",
                 "prompt tokens", "seconds", "env. errors"),
        rows=tuple(rows),
        text_columns=3,
    )  # fmt: skip


def cost_table(sheet: Sheet) -> Table:
    """What each player's episodes cost, all tasks together."""
    rows = []
    for player in sheet.players:
        summaries = [cell.summary for _, cell in sheet.cells(player.name)]
        episodes = sum(one.episodes for one in summaries)
        if not episodes:
            continue
        tokens = sum(one.tokens * one.episodes for one in summaries)
        read = sum(one.prompt_tokens * one.episodes for one in summaries)
        steps = sum(one.steps * one.episodes for one in summaries)
        invalid = sum(one.invalid_rate * one.steps * one.episodes for one in summaries)
        won = sum(one.success_rate * one.episodes for one in summaries)
        rows.append(
            (
                player.name,
                f"{episodes:,}",
                f"{tokens / episodes:,.0f}",
                f"{read / episodes:,.0f}",
                f"{sum(one.seconds * one.episodes for one in summaries) / episodes:.1f}",
                f"{steps / episodes:.1f}",
                f"{100 * invalid / max(steps, 1):.1f}",
                f"{tokens:,.0f}",
                f"{read:,.0f}",
                f"{tokens / won:,.0f}" if won else ABSENT,
            )
        )
    return Table(
        title=f"Cost, all tasks together, sweep '{sheet.name}'",
        columns=("model", "episodes", "tokens an episode", "prompt tokens", "seconds", "steps", "invalid %",
                 "tokens in all", "prompt tokens in all", "tokens a success"),
        rows=tuple(rows),
        text_columns=1,
        notes=("Tokens are generated, prompt tokens are read: a conversation's beginning at each turn again. Seconds "
               "are wall time in the company of the other episodes of the batch.",),
    )  # fmt: skip


def reasons_table(sheet: Sheet) -> Table:
    """Why the episodes of each player ended, all tasks together."""
    rows = []
    for player in sheet.players:
        summaries = [cell.summary for _, cell in sheet.cells(player.name)]
        counts = [sum(summary.reasons.get(reason, 0) for summary in summaries) for reason in TERMINATE_REASONS]
        rows.append((player.name, *map(str, counts)))
    return Table(
        title=f"Why episodes ended, sweep '{sheet.name}'",
        columns=("model", *_REASONS),
        rows=tuple(rows),
        text_columns=1,
    )


def task_reasons_table(sheet: Sheet) -> Table:
    """Why the episodes of each player ended, task by task."""
    return Table(
        title=f"Why episodes ended, task by task, sweep '{sheet.name}'",
        columns=("task", "model", *_REASONS),
        rows=tuple(
            (task_name(row), player.name, *(str(cell.summary.reasons.get(each, 0)) for each in TERMINATE_REASONS))
            for row in sheet.rows
            for player in sheet.players
            if (cell := row.cells.get(player.name)) is not None and cell.played
        ),
    )


def figures_table(sheet: Sheet) -> Table | None:
    """Means of what the environments measured, such as f1; None where they measured nothing."""
    rows = [
        (row.name, figure, *(_figure(sheet, index, player.name, figure) for player in sheet.players))
        for index, row in enumerate(sheet.rows)
        for figure in dict.fromkeys(name for cell in row.cells.values() for name in cell.summary.figures)
    ]
    if not rows:
        return None
    return Table(
        title=f"What the environments measured, means over episodes, sweep '{sheet.name}'",
        columns=("task", "figure", *(player.name for player in sheet.players)),
        rows=tuple(rows),
    )


def _figure(sheet: Sheet, index: int, player: str, figure: str) -> str:
    cell = sheet.rows[index].cells.get(player)
    value = None if cell is None else cell.summary.figures.get(figure)
    return ABSENT if value is None else f"{value:.3f}"
