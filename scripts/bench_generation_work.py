"""The work that `bench_generation.py` gives to both sides: ids of prompts and observations."""

import numpy as np


def prompts(settings: dict) -> list[list[int]]:
    """Prompts of a decoding measurement, all as long."""
    rng = np.random.default_rng(0)
    return rng.integers(3, settings["model"]["vocab_size"], (settings["rows"], settings["prompt"])).tolist()


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
