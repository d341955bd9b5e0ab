"""Token caches made of nothing but lengths, for tests of what is delivered and in which order."""

from collections.abc import Sequence

import numpy as np

from agentbank_jax.data.declarations import TaskDeclaration
from agentbank_jax.data.token_cache import TaskTokens, TokenCache


def made_cache(lengths: Sequence[np.ndarray], rates: Sequence[float], max_length: int) -> TokenCache:
    """A cache of one task for each array of lengths: random ids of 3 to 60, two of five tokens trained."""
    rng = np.random.default_rng(0)
    tasks = []
    for number, of_task in enumerate(lengths):
        offsets = np.concatenate([[0], np.cumsum(of_task)]).astype(np.int64)
        tasks.append(
            TaskTokens(
                task=TaskDeclaration(
                    name=f"made_{number}",
                    skill="web",
                    action_space="discrete",
                    remedy="it is made",
                    instruction="Act until the goal is met.",
                ),
                tokens=rng.integers(3, 61, offsets[-1], dtype=np.uint16),
                trained=rng.random(offsets[-1]) < 0.4,
                offsets=offsets,
                turns=np.ones(len(of_task), np.int32),
                ids=tuple(map(str, range(len(of_task)))),
                manifest={"key": f"made_{number}", "counts": {}},
            )
        )
    return TokenCache(
        mixture="made",
        tasks=tuple(tasks),
        rates=tuple(rates),
        max_length=max_length,
        template_fingerprint="made",
        tokenizer_fingerprint="made",
    )
