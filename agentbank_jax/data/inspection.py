"""What a model will be trained on: figures of a mixture, and examples as the model sees them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agentbank_jax.data.packing import plan_packing
from agentbank_jax.data.token_cache import TaskTokens, TokenCache
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.console import RenderableType

PERCENTILES = (50, 90, 99)

# Around trained tokens where there are no colours.
TRAINED_OPEN, TRAINED_CLOSE = "\u27e6", "\u27e7"
_TRAINED_STYLE = "bold green"


@dataclass(frozen=True, kw_only=True)
class TaskStatistics:
    """Figures of one task, or of a whole mixture.

    Fields:
      name, skill, rate: as declared.
      trajectories: how many are kept.
      expected: how many the released files hold; None where that is open.
      verified: whether `expected` was read at the source.
      dropped, cut: trajectories that were too long: left out, or truncated or split.
      lost_turns: trained assistant turns that were cut off.
      turns: assistant turns.
      tokens, trained: tokens in all, and those that are trained.
      mean, percentiles, longest: tokens of a trajectory.
    """

    name: str
    skill: str
    rate: float | None
    trajectories: int
    expected: int | None
    verified: bool
    dropped: int
    cut: int
    lost_turns: int
    turns: int
    tokens: int
    trained: int
    mean: float
    percentiles: tuple[int, ...]
    longest: int


def task_statistics(cache: TokenCache) -> list[TaskStatistics]:
    """Returns the figures of each task of a mixture, and at last those of all together."""
    rows = [
        _statistics(task.task.name, task.task.skill, rate, task.task.expected_rows, task.task.verified, [task])
        for task, rate in zip(cache.tasks, cache.rates, strict=True)
    ]
    return [*rows, _statistics("all", "", None, None, True, cache.tasks)]


def packing_fill(cache: TokenCache, *, length: int, seed: int = 0) -> tuple[int, float]:
    """Returns the rows of `length` places that one pass over the mixture takes, and the share filled."""
    places = cache.lengths - 1
    rows = len(plan_packing(places, length, seed=seed, epoch=0))
    return rows, float(places.sum() / (rows * length))


def mark_trained(tokenizer: Tokenizer, tokens: Iterable[int], trained: Iterable[bool]) -> str:
    """Returns the text of an example with its trained tokens in brackets."""
    return "".join(
        f"{TRAINED_OPEN}{text}{TRAINED_CLOSE}" if is_trained else text
        for text, is_trained in _spans(tokenizer, tokens, trained)
    )


def render_statistics(cache: TokenCache, *, length: int) -> "RenderableType":
    """Returns a table of the mixture's figures, and the packing below it."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    table = Table(title=f"mixture '{cache.mixture}'", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("task")
    table.add_column("skill")
    for header in (
        "rate",
        "trajectories",
        "expected",
        "dropped",
        "cut",
        "lost turns",
        "turns",
        "tokens",
        "trained",
        "mean",
        *(f"p{percentile}" for percentile in PERCENTILES),
        "longest",
    ):
        table.add_column(header, justify="right")
    rows = task_statistics(cache)
    for row in rows:
        if row is rows[-1]:
            table.add_section()
        expected = "-" if row.expected is None else f"{row.expected:,}{'' if row.verified else ' (unverified)'}"
        table.add_row(
            row.name,
            row.skill,
            "" if row.rate is None else f"{row.rate:g}",
            f"{row.trajectories:,}",
            expected,
            f"{row.dropped:,}",
            f"{row.cut:,}",
            f"{row.lost_turns:,}",
            f"{row.turns / row.trajectories:.1f}",
            f"{row.tokens:,}",
            f"{row.trained / row.tokens:.1%}",
            f"{row.mean:.0f}",
            *(f"{value:,}" for value in row.percentiles),
            f"{row.longest:,}",
        )
    packed, fill = packing_fill(cache, length=length)
    spoilt = [f"{name} ({task.task.name})" for task in cache.tasks for name in task.task.spoils]
    return Group(
        table,
        *([f"training on this mixture spoils the evaluation of {', '.join(spoilt)}"] if spoilt else []),
        "rate: passes in one epoch; turns: assistant turns, mean; mean to longest: tokens of a trajectory",
        f"packing: {packed:,} rows of {length:,} tokens, {fill:.1%} filled",
    )


def render_example(cache: TokenCache, tokenizer: Tokenizer, index: int, *, colour: bool) -> "RenderableType":
    """Returns trajectory `index` of the mixture as the model sees it, trained tokens marked."""
    from rich.text import Text

    number = int(cache.starts.searchsorted(index, side="right")) - 1
    task = cache.tasks[number]
    tokens, trained = cache.example(index)
    identifier = task.ids[index - int(cache.starts[number])]
    text = Text(f"\n{task.task.name}, {identifier}: {len(tokens)} tokens, {int(trained.sum())} trained\n", style="bold")
    if colour:
        for part, is_trained in _spans(tokenizer, tokens.tolist(), trained.tolist()):
            text.append(part, style=_TRAINED_STYLE if is_trained else "not bold")
    else:
        text.append(mark_trained(tokenizer, tokens.tolist(), trained.tolist()), style="not bold")
    return text


def _statistics(
    name: str, skill: str, rate: float | None, expected: int | None, verified: bool, tasks: Iterable[TaskTokens]
) -> TaskStatistics:
    tasks = list(tasks)
    lengths = np.concatenate([task.lengths for task in tasks])
    counted = [task.manifest["counts"] for task in tasks]
    return TaskStatistics(
        name=name,
        skill=skill,
        rate=rate,
        trajectories=len(lengths),
        expected=expected,
        verified=verified,
        dropped=sum(counts["dropped"] for counts in counted),
        # Caches of earlier versions do not count the last two.
        cut=sum(counts["truncated"] + counts.get("split", 0) for counts in counted),
        lost_turns=sum(counts.get("lost_turns", 0) for counts in counted),
        turns=sum(int(task.turns.sum()) for task in tasks),
        tokens=int(lengths.sum()),
        trained=sum(int(task.trained_counts.sum()) for task in tasks),
        mean=float(lengths.mean()),
        percentiles=tuple(int(value) for value in np.percentile(lengths, PERCENTILES)),
        longest=int(lengths.max()),
    )


def _spans(tokenizer: Tokenizer, tokens: Iterable[int], trained: Iterable[bool]) -> list[tuple[str, bool]]:
    """Returns the text of each run of tokens that are all trained, or all not."""
    spans: list[tuple[list[int], bool]] = []
    for token, is_trained in zip(tokens, trained, strict=True):
        if not spans or spans[-1][1] != is_trained:
            spans.append(([], is_trained))
        spans[-1][0].append(token)
    return [(tokenizer.spell(ids), is_trained) for ids, is_trained in spans]
