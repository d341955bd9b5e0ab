"""The difficulty-bias report as tables and a picture: Markdown, and one HTML page that needs nothing beside it."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from agentbank_jax.bank.difficulty import SUCCESS_ONLY, DifficultyBias
from agentbank_jax.presentation.charts import Bar, bar_chart
from agentbank_jax.presentation.page import facts_list, page
from agentbank_jax.presentation.table import Table
from agentbank_jax.whole_files import write_output

_TITLE = "Is the bank as hard as its sources?"
_MEANING = (
    "Distance: total variation, half the sum of the differences between the shares of all levels: 0 where a selection "
    "is as hard as the source, 1 where they have no level in common, at most the share of the source that is left out; "
    "which way it goes, the means say. By chance: what 95 % of selections of that size, drawn at random, do not "
    "exceed. Constant: all of the source is equally hard, so that there is no distance to tell."
)
_CONSTANT, _NOTHING = "constant", "none selected"


def distance_table(biases: Sequence[DifficultyBias]) -> Table:
    """A row for each task and selection."""
    rows = []
    for bias in biases:
        source = sum(bias.counts["source"])
        for each in bias.distances:
            low, high = each.interval
            told = bias.tells(each)
            rows.append(
                (
                    bias.title,
                    each.selection,
                    f"{source:,}",
                    f"{each.size:,}",
                    f"{each.means[0]:.2f}",
                    f"{each.means[1]:.2f}" if each.size else "-",
                    f"{each.distance:.3f}" if told else _CONSTANT if bias.constant else _NOTHING,
                    f"{low:.3f} to {high:.3f}" if told else "-",
                    f"{each.by_chance:.3f}" if told else "-",
                    _times(bias) if each.selection == SUCCESS_ONLY else "",
                )
            )
    return Table(
        title="Distance from the source",
        columns=(
            "task",
            "selection",
            "source",
            "selected",
            "mean of source",
            "mean",
            "distance",
            "95 %",
            "by chance",
            "times kept",
        ),
        rows=tuple(rows),
        notes=(_MEANING,),
    )


def _times(bias: DifficultyBias) -> str:
    """How many times farther the success-only selection is than what was kept."""
    if bias.ratio is None:
        return "-"
    return f"{bias.ratio:.1f}" if math.isfinite(bias.ratio) else "∞"


def level_table(bias: DifficultyBias) -> Table:
    """A row for each level: its share in each set."""
    names = tuple(bias.counts)
    shares = {name: bias.shares(name) for name in names}
    rows = tuple(
        (level, *(f"{100 * shares[name][place]:.1f} % ({bias.counts[name][place]:,})" for name in names))
        for place, level in enumerate(bias.levels)
    )
    return Table(title=f"{bias.title}: {bias.measure}", columns=("level", *names), rows=rows, text_columns=1)


def level_chart(bias: DifficultyBias) -> str:
    """The shares of each level, a bar for each set, as SVG."""
    names = tuple(bias.counts)
    shares = {name: bias.shares(name) for name in names}
    groups = [
        (level, [Bar(value=shares[name][place], label="%") for name in names])
        for place, level in enumerate(bias.levels)
    ]
    return bar_chart(groups, names, title=f"{bias.title}: share of each level of {bias.measure}")


def write_difficulty_report(biases: Sequence[DifficultyBias], folder: Path, facts: Mapping[str, str]) -> list[Path]:
    """Writes `difficulty.md`, `difficulty.html` and `difficulty.json`.

    Args:
      biases: a task each.
      folder: is made where it is missing.
      facts: what the report is of, by name.

    Raises:
      AgentBankError: where they cannot be written.
    """
    distances = distance_table(biases)
    tables = [distances, *map(level_table, biases)]
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    markdown = "\n\n".join([f"# {_TITLE}", told, *(table.to_markdown() for table in tables)])
    parts = [f"<h1>{escape(_TITLE)}</h1>", facts_list(facts), distances.to_html()]
    for bias in biases:
        parts += [f"<h2>{escape(bias.title)}</h2>", level_chart(bias), level_table(bias).to_html()]
    contents = {
        "difficulty.md": f"{markdown}\n",
        "difficulty.html": page(_TITLE, parts),
        "difficulty.json": json.dumps(
            {"facts": dict(facts), "tasks": [bias.to_json() for bias in biases]}, indent=1, ensure_ascii=False
        )
        + "\n",
    }
    for name, text in contents.items():
        write_output("--output", folder / name, text)
    return [folder / name for name in contents]
