"""An inspection in the terminal, and the tables that its page has too."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from agentbank_jax.data.inspection import PERCENTILES, Example, Histogram, Inspection, TaskStatistics
from agentbank_jax.presentation.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# Around trained tokens, so that they are told without colours.
TRAINED_OPEN, TRAINED_CLOSE = "\u27e6", "\u27e7"
_TRAINED_STYLE = "bold green underline"
_BAR = 50


def render(inspection: Inspection) -> "Iterator[RenderableType]":
    """Yields what the terminal shows: facts, tables, lengths, packing, contamination, examples."""
    from rich.text import Text

    for name, value in inspection.facts.items():
        yield Text(f"{name}: {value}")
    yield from (table.to_rich() for table in tables(inspection))
    yield _render_histogram(inspection.histogram)
    yield Text("\n" + "\n".join([*packing_lines(inspection), *contamination_lines(inspection)]))
    yield from map(render_example, inspection.examples)


def tables(inspection: Inspection) -> list[Table]:
    """Returns the tables of trajectories, of what was too long if anything was, of tokens and of lengths."""
    rows = [*inspection.tasks, inspection.total]
    cut = any(row.dropped or row.cut for row in inspection.tasks)
    makers = (_trajectories, _too_long, _tokens, _lengths) if cut else (_trajectories, _tokens, _lengths)
    return [make(inspection, rows) for make in makers]


def _table(inspection: Inspection, what: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *notes: str,
           text_columns: int = 1) -> Table:  # fmt: skip
    return Table(
        title=f"mixture '{inspection.mixture}': {what}",
        columns=tuple(columns),
        rows=tuple(map(tuple, rows)),
        text_columns=text_columns,
        # The last row is that of all together.
        strong=frozenset({len(rows) - 1}),
        notes=notes,
    )


def _trajectories(inspection: Inspection, rows: Sequence[TaskStatistics]) -> Table:
    notes = ["rate: passes in one epoch; share: of an epoch's tokens; turns: of the assistant, mean"]
    if any(row.expected is not None or not row.verified for row in inspection.tasks):
        notes.append(
            "expected: what the released files are said to hold; ≠: another number was read; unverified: not read at "
            "the source"
        )
    return _table(
        inspection,
        "trajectories",
        ("task", "skill", "rate", "share", "read", "expected", "kept", "turns"),
        [
            (
                row.name,
                row.skill,
                "" if row.rate is None else f"{row.rate:g}",
                f"{row.share:.1%}",
                f"{row.read:,}",
                _expected(row),
                f"{row.trajectories:,}",
                f"{row.turns / row.trajectories:.1f}",
            )
            for row in rows
        ],
        *notes,
        text_columns=2,
    )


def _too_long(inspection: Inspection, rows: Sequence[TaskStatistics]) -> Table:
    return _table(
        inspection,
        "longer than a row",
        ("task", "read", "dropped", "cut", "lost turns"),
        [(row.name, f"{row.read:,}", f"{row.dropped:,}", f"{row.cut:,}", f"{row.lost_turns:,}") for row in rows],
        "cut: truncated or split; lost turns: replies of those that are not trained",
    )


def _tokens(inspection: Inspection, rows: Sequence[TaskStatistics]) -> Table:
    return _table(
        inspection,
        "tokens",
        ("task", "tokens", "trained", "trained %", "a turn", "trained a turn"),
        [
            (
                row.name,
                f"{row.tokens:,}",
                f"{row.trained:,}",
                f"{100 * row.trained / row.tokens:.1f}",
                f"{row.tokens_per_turn:.1f}",
                f"{row.trained_per_turn:.1f}",
            )
            for row in rows
        ],
        "a turn: for each reply, with what it answers; trained a turn: of the reply",
    )


def _lengths(inspection: Inspection, rows: Sequence[TaskStatistics]) -> Table:
    return _table(
        inspection,
        "tokens of a trajectory",
        ("task", "mean", *(f"p{percentile}" for percentile in PERCENTILES), "longest"),
        [
            (row.name, f"{row.mean:.0f}", *(f"{value:,}" for value in row.percentiles), f"{row.longest:,}")
            for row in rows
        ],
    )


def packing_lines(inspection: Inspection) -> list[str]:
    """Returns a line for each length."""
    return [
        f"packing: {packing.rows:,} rows of {packing.length:,} tokens in an epoch, {packing.fill:.1%} filled"
        for packing in inspection.packing
    ]


def contamination_lines(inspection: Inspection) -> list[str]:
    """Returns which evaluations are spoilt, a line each, or that none is known to be."""
    if not inspection.spoilt:
        return ["contamination: no task of this mixture is known to hold problems of an evaluation"]
    return [
        f"CONTAMINATION: the evaluation '{each.evaluation}' is spoilt for models trained on this mixture: "
        f"{each.trajectories:,} trajectories of task '{each.task}' are of its problems"
        for each in inspection.spoilt
    ]


def render_example(example: Example) -> "Text":
    """Returns an example; trained tokens stand in brackets, and are green where there are colours."""
    from rich.text import Text

    text = Text(f"\n{example_title(example)}\n", style="bold")
    for part, is_trained in example.spans:
        if is_trained:
            text.append(f"{TRAINED_OPEN}{part}{TRAINED_CLOSE}", style=_TRAINED_STYLE)
        else:
            text.append(part, style="not bold")
    return text


def example_title(example: Example) -> str:
    """One line that says which trajectory it is."""
    return f"{example.task}, {example.id}: {example.tokens:,} tokens, {example.trained:,} trained"


def _expected(row: TaskStatistics) -> str:
    if row.expected is None:
        return "-" if row.verified else "unknown"
    different = "" if row.read == row.expected else "≠ "
    return f"{different}{row.expected:,}{'' if row.verified else ' (unverified)'}"


def _render_histogram(histogram: Histogram) -> "Text":
    from rich.text import Text

    text = Text("lengths: trajectories by their tokens", style="italic")
    width, most = len(f"{histogram.edges[-1] - 1:,}"), max(histogram.counts)
    for begin, end, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
        # What is there is seen, be it ever so little.
        bar = "█" * max(round(_BAR * count / most), min(count, 1))
        line = f"\n  {begin:{width},} to {end - 1:{width},} {bar}{' ' if bar else ''}{count:,}"
        text.append(line, style="not italic")
    return text
