"""Packing of examples into rows, planned over their known lengths."""

import bisect
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from agentbank_jax.errors import AgentBankError

WINDOW = 4096

# Lengths that are tried as a row's second one; more gain nothing measurable.
_TRIES = 64


@dataclass(frozen=True, kw_only=True)
class PackingPlan:
    """Which examples share a row.

    Fields:
      order: indices of examples, those of a row side by side, int64.
      bounds: row `r` holds `order[bounds[r]:bounds[r + 1]]`, int64.
    """

    order: Int[np.ndarray, " examples"]
    bounds: Int[np.ndarray, " rows_plus_1"]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def row(self, index: int) -> Int[np.ndarray, " examples_of_row"]:
        """Returns the indices of the examples of a row."""
        return self.order[self.bounds[index] : self.bounds[index + 1]]


def plan_packing(
    lengths: Int[np.ndarray, " examples"], max_length: int, *, seed: int, epoch: int, window: int = WINDOW
) -> PackingPlan:
    """Plans the rows of one epoch, within windows of the shuffled examples.

    Each example is in exactly one row and none is cut. A window is packed twice, by
    best-fit-decreasing, which is the tightest where many examples share a row, and by fullest rows,
    which is where few do; the result with fewer rows is kept. Rows are shuffled at last, since a
    window's first rows hold its longest examples. The plan is a pure function of the arguments.

    Args:
      lengths: places that each example takes in a row, at least 1.
      max_length: places of a row.
      seed, epoch: decide the order.
      window: examples that are packed together; more pack tighter and mix less.

    Raises:
      AgentBankError: on an example that does not fit into a row.
    """
    lengths = np.asarray(lengths, np.int64)
    if len(lengths) and (lengths.min() < 1 or lengths.max() > max_length):
        index = int(np.argmax((lengths < 1) | (lengths > max_length)))
        raise AgentBankError(
            f"example {index} takes {lengths[index]} places; expected 1 to {max_length}, the length of a row."
        )
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(len(lengths))
    rows: list[list[int]] = []
    for begin in range(0, len(shuffled), window):
        examples = shuffled[begin : begin + window]
        best_fit = _best_fit_decreasing(examples, lengths, max_length)
        fullest = _fullest_rows(examples, lengths, max_length)
        rows += best_fit if len(best_fit) <= len(fullest) else fullest
    rows = [rows[index] for index in generator.permutation(len(rows))]
    return PackingPlan(
        order=np.fromiter((example for row in rows for example in row), np.int64, len(lengths)),
        bounds=np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int64),
    )


def _best_fit_decreasing(
    examples: Int[np.ndarray, " window"], lengths: Int[np.ndarray, " examples"], max_length: int
) -> list[list[int]]:
    """Puts each example, longest first, into the fullest row that still holds it."""
    longest_first = examples[np.argsort(-lengths[examples], kind="stable")]
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (free places, row), sorted
    for example, length in zip(longest_first.tolist(), lengths[longest_first].tolist(), strict=True):
        place = bisect.bisect_left(open_rows, (length, -1))
        if place == len(open_rows):
            free, row = max_length, len(rows)
            rows.append([])
        else:
            free, row = open_rows.pop(place)
        rows[row].append(example)
        if free > length:
            bisect.insort(open_rows, (free - length, row))
    return rows


def _fullest_rows(
    examples: Int[np.ndarray, " window"], lengths: Int[np.ndarray, " examples"], max_length: int
) -> list[list[int]]:
    """Fills one row after the other: the longest example left, and what fills the rest best.

    That is looked for among several second examples, each followed by the longest that still fit;
    a minimum-bin-slack heuristic after Gupta and Ho (1999) with a bounded search.
    """
    left: dict[int, list[int]] = {}
    for example in examples.tolist():
        left.setdefault(int(lengths[example]), []).append(example)
    known = sorted(left)
    rows: list[list[int]] = []
    while known:
        longest = known[-1]
        row = [_take(left, known, longest)]
        row += [_take(left, known, length) for length in _best_filling(left, known, max_length - longest)]
        rows.append(row)
    return rows


def _best_filling(left: dict[int, list[int]], known: list[int], free: int) -> list[int]:
    """Returns lengths of examples that are left, whose sum comes near `free` from below."""
    best: list[int] = []
    least = free
    first = bisect.bisect_right(known, free) - 1
    for second in range(first, max(-1, first - _TRIES), -1):
        filling = [known[second]]
        slack = free - known[second]
        place = bisect.bisect_right(known, slack) - 1
        while place >= 0:
            length = known[place]
            if filling.count(length) < len(left[length]):
                filling.append(length)
                slack -= length
                place = min(place, bisect.bisect_right(known, slack) - 1)
            else:
                place -= 1
        if slack < least:
            best, least = filling, slack
        if not least:
            break
    return best


def _take(left: dict[int, list[int]], known: list[int], length: int) -> int:
    """Takes an example of a length out of those that are left."""
    example = left[length].pop()
    if not left[length]:
        del left[length]
        known.pop(bisect.bisect_left(known, length))
    return example
