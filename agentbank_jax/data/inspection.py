"""What a model will be trained on: figures of a mixture, and examples as the model sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.token_cache import TaskTokens, TokenCache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.presentation.printable import printable
from agentbank_jax.trajectories.templates.registry import ChatTemplate
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

PERCENTILES = (50, 90, 99)
_BARS = 20


@dataclass(frozen=True, kw_only=True)
class TaskStatistics:
    """Figures of one task, or of a whole mixture.

    Fields:
      name, skill, rate: as declared; a mixture has no rate.
      read: trajectories in the files.
      expected: how many the released files hold; None where that is not known or open.
      verified: whether `expected` was read at the source.
      trajectories: how many are kept, parts of split ones included.
      dropped, cut: trajectories that were too long: left out, or truncated or split.
      lost_turns: trained assistant turns that were cut off.
      turns: assistant turns.
      tokens, trained: tokens in all, and those that are trained.
      share: of the tokens that an epoch of the mixture draws, at its rates.
      tokens_per_turn, trained_per_turn: tokens for each assistant turn, all and trained.
      mean, percentiles, longest: tokens of a trajectory; percentiles at `PERCENTILES`.
    """

    name: str
    skill: str
    rate: float | None
    read: int
    expected: int | None
    verified: bool
    trajectories: int
    dropped: int
    cut: int
    lost_turns: int
    turns: int
    tokens: int
    trained: int
    share: float
    tokens_per_turn: float
    trained_per_turn: float
    mean: float
    percentiles: tuple[int, ...]
    longest: int


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many trajectories have how many tokens: `counts[i]` from `edges[i]` to below `edges[i + 1]`."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How the first epoch packs, at the mixture's rates.

    Fields:
      length: places of a row.
      rows: rows of the epoch.
      fill: the share of places that hold a token.
    """

    length: int
    rows: int
    fill: float


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """An evaluation by which a model that was trained on the mixture can no longer be judged.

    Fields:
      evaluation: its name.
      task: the task that holds its problems.
      trajectories: how many of them are trained on.
    """

    evaluation: str
    task: str
    trajectories: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """A trajectory as the model sees it.

    Fields:
      task, id: which one.
      tokens, trained: how many.
      spans: its text, special tokens included, in runs that are all trained or all not.
    """

    task: str
    id: str
    tokens: int
    trained: int
    spans: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that is shown of a mixture.

    Fields:
      mixture: its name.
      facts: how it was tokenised, name → value.
      tasks: figures of each task.
      total: those of all together.
      histogram: lengths of the trajectories that are kept.
      packing: for each length asked for.
      spoilt: evaluations that training on the mixture contaminates.
      examples: of each task as many as were asked for.
    """

    mixture: str
    facts: dict[str, str]
    tasks: tuple[TaskStatistics, ...]
    total: TaskStatistics
    histogram: Histogram
    packing: tuple[Packing, ...]
    spoilt: tuple[Spoilt, ...]
    examples: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON's types."""
        return asdict(self)


def inspect_cache(
    cache: TokenCache, template: ChatTemplate, *, lengths: Sequence[int], examples: int = 1, seed: int = 0
) -> Inspection:
    """Looks at a mixture.

    Args:
      cache: its tokenised trajectories.
      template: what they were tokenised with.
      lengths: rows of so many places are packed.
      examples: shown of each task, chosen at random.
      seed: chooses them, and the order that is packed.

    Raises:
      AgentBankError: on a length below that of the longest trajectory.
    """
    drawn = sum(rate * len(task.tokens) for task, rate in zip(cache.tasks, cache.rates, strict=True))
    tasks = tuple(
        _statistics([task], task.task.name, task.task.skill, rate, rate * len(task.tokens) / drawn)
        for task, rate in zip(cache.tasks, cache.rates, strict=True)
    )
    return Inspection(
        mixture=cache.mixture,
        facts={
            "template": template.fingerprint,
            "tokenizer": f"{template.tokenizer.name} ({template.tokenizer.vocab_size:,} tokens)",
            "longest trajectory kept": f"{cache.max_length + 1:,} tokens",
        },
        tasks=tasks,
        total=_statistics(cache.tasks, "all", "", None, 1.0),
        histogram=length_histogram(cache.lengths),
        packing=tuple(packing_of(cache, length, seed=seed) for length in lengths),
        spoilt=tuple(
            Spoilt(evaluation=name, task=task.task.name, trajectories=_trained_on(task))
            for task in cache.tasks
            for name in task.task.spoils
        ),
        examples=tuple(choose_examples(cache, template.tokenizer, examples, seed=seed)),
    )


def _trained_on(task: TaskTokens) -> int:
    """Returns how many trajectories of the files are trained on, split ones once."""
    return int(task.manifest["counts"]["read"] - task.manifest["counts"]["dropped"])


def packing_of(cache: TokenCache, length: int, *, seed: int = 0) -> Packing:
    """Packs the first epoch as training does.

    Raises:
      AgentBankError: on a length below that of the longest trajectory.
    """
    batches = PackedBatches(cache, batch_size=1, length=length, seed=seed)
    # Not the steps of an epoch: those suffice for every epoch, however well it packs.
    drawn = (cache.lengths - 1)[batches.examples_of_epoch(0)].sum()
    return Packing(length=length, rows=round(float(drawn) / (batches.fill * length)), fill=batches.fill)


def length_histogram(lengths: Int[np.ndarray, " trajectories"]) -> Histogram:
    """Counts lengths in at most 20 steps of 1, 2 or 5 times a power of ten."""
    step = 1
    while lengths.max() // step - lengths.min() // step >= _BARS:
        # 1, 2, 5, 10, 20, …
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    first = int(lengths.min()) // step
    counts = np.bincount(lengths // step - first)
    edges = step * np.arange(first, first + len(counts) + 1)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def choose_examples(cache: TokenCache, tokenizer: Tokenizer, count: int, *, seed: int = 0) -> list[Example]:
    """Returns `count` trajectories of each task, or all where there are fewer, chosen at random.

    Raises:
      AgentBankError: on a count below 0.
    """
    if count < 0:
        raise AgentBankError(f"{count} examples of each task: expected 0 or more.")
    generator = np.random.default_rng(seed)
    found = []
    for start, task in zip(cache.starts.tolist(), cache.tasks, strict=False):
        for local in sorted(generator.choice(len(task), min(count, len(task)), replace=False).tolist()):
            tokens, trained = cache.example(start + local)
            found.append(
                Example(
                    task=task.task.name,
                    id=task.ids[local],
                    tokens=len(tokens),
                    trained=int(trained.sum()),
                    spans=tuple(mark_trained(tokenizer, tokens.tolist(), trained.tolist())),
                )
            )
    return found


def mark_trained(tokenizer: Tokenizer, tokens: Iterable[int], trained: Iterable[bool]) -> list[tuple[str, bool]]:
    """Returns the text of each run of tokens that are all trained, or all not."""
    runs: list[tuple[list[int], bool]] = []
    for token, is_trained in zip(tokens, trained, strict=True):
        if not runs or runs[-1][1] != is_trained:
            runs.append(([], is_trained))
        runs[-1][0].append(token)
    return [(printable(tokenizer.spell(ids)), is_trained) for ids, is_trained in runs]


def _statistics(tasks: Sequence[TaskTokens], name: str, skill: str, rate: float | None, share: float) -> TaskStatistics:
    lengths = np.concatenate([task.lengths for task in tasks])
    counted = [task.manifest["counts"] for task in tasks]
    turns = sum(int(task.turns.sum()) for task in tasks)
    # In place: the counts of each trajectory would widen the mask to eight bytes a token.
    tokens, trained = int(lengths.sum()), sum(int(np.count_nonzero(task.trained)) for task in tasks)
    expected = [task.task.expected_rows for task in tasks]
    return TaskStatistics(
        name=name,
        skill=skill,
        rate=rate,
        read=sum(counts["read"] for counts in counted),
        expected=None if None in expected else sum(rows or 0 for rows in expected),
        verified=all(task.task.verified for task in tasks),
        trajectories=len(lengths),
        dropped=sum(counts["dropped"] for counts in counted),
        cut=sum(counts["truncated"] + counts["split"] for counts in counted),
        lost_turns=sum(counts["lost_turns"] for counts in counted),
        turns=turns,
        tokens=tokens,
        trained=trained,
        share=share,
        tokens_per_turn=tokens / turns,
        trained_per_turn=trained / turns,
        mean=float(lengths.mean()),
        percentiles=tuple(int(value) for value in np.percentile(lengths, PERCENTILES)),
        longest=int(lengths.max()),
    )
