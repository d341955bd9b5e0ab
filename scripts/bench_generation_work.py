"""The work that `bench_generation.py` gives to both sides: ids of prompts and observations."""

import statistics
from collections.abc import Callable, Sequence

import numpy as np


def prompts(settings: dict) -> list[list[int]]:
    """Prompts of a decoding measurement, all as long."""
    rng = np.random.default_rng(0)
    return rng.integers(3, settings["model"]["vocab_size"], (settings["rows"], settings["prompt"])).tolist()


def decode_figures(settings: dict, seconds: Callable[[int], float]) -> dict[str, float]:
    """Figures of a side that takes `seconds(count)` to read all prompts and write `count` tokens to each.

    What one token takes is what reading takes.
    """
    counts, rows = (1, settings["new_tokens"]), settings["rows"]
    for count in counts:
        seconds(count)
    one, all_ = (statistics.median(seconds(count) for _ in range(settings["repeats"])) for count in counts)
    return {
        "decoded tokens/s": rows * (counts[1] - 1) / (all_ - one),
        "prefilled tokens/s": rows * settings["prompt"] / one,
        "replies/s": rows / all_,
    }


def episode_figures(settings: dict, totals: Sequence[float], latencies: Sequence[float]) -> dict[str, float]:
    """Figures of the seconds that all episodes took, in each repeat, and of those of each turn."""
    return {
        "episodes/s": settings["episodes"] / statistics.median(totals),
        "p50 s a turn": float(np.percentile(latencies, 50)),
        "p95 s a turn": float(np.percentile(latencies, 95)),
    }


def episodes(settings: dict) -> list[tuple[list[int], list[list[int]]]]:
    """Each episode's prompt, which begins as all do, and its observations; lengths vary by a quarter."""
    rng, size = np.random.default_rng(0), settings["model"]["vocab_size"]
    shared = rng.integers(3, size, settings["shared"]).tolist()
    found = []
    for _ in range(settings["episodes"]):
        own = max(1, settings["prompt"] - settings["shared"])
        prompt = [*shared, *rng.integers(3, size, rng.integers(own - own // 4, own + 1)).tolist()]
        longest = settings["observation"]
        lengths = rng.integers(longest - longest // 4, longest + 1, settings["turns"] - 1)
        found.append((prompt, [rng.integers(3, size, length).tolist() for length in lengths]))
    return found


def distinct_tokens(conversations: list[list[int]]) -> int:
    """How many tokens must be read at least: beginnings that several share count once."""
    beginnings, known = 0, []
    for ids in conversations:
        shared = max((_shared(ids, other) for other in known), default=0)
        beginnings += len(ids) - shared
        known.append(ids)
    return beginnings


def _shared(ids: list[int], other: list[int]) -> int:
    return next(
        (n for n, pair in enumerate(zip(ids, other, strict=False)) if pair[0] != pair[1]), min(len(ids), len(other))
    )
