"""Builds the cache of a task in a process of its own, which kills itself when it is told to.

`python run_build_cache.py FOLDER WORKERS KILL_AFTER`: FOLDER holds the bank `made` and `v.model`, and gets `cache`;
after KILL_AFTER shards of this process comes SIGKILL; 0 lets it end.
"""

import os
import signal
import sys
from pathlib import Path

from agentbank_jax.data import token_shards
from agentbank_jax.data.declarations import TaskDeclaration, declare_task
from agentbank_jax.data.shard_workers import LocalWorkers
from agentbank_jax.data.token_cache import build_cache
from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

SHARD_ROWS = 10
MADE = TaskDeclaration(name="made", skill="web", action_space="discrete", instruction="Act.", remedy="it is made")


def main(folder: Path, workers: int, kill_after: int) -> None:
    token_shards.SHARD_ROWS = SHARD_ROWS
    declare_task(MADE)
    calls = 0

    def progress(part: float, count: int) -> None:
        # The first call comes before any shard.
        nonlocal calls
        if calls == kill_after > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1

    build_cache(
        "made",
        Llama2Template(Tokenizer.load(folder / "v.model")),
        max_length=200,
        data_dir=folder,
        cache_dir=folder / "cache",
        over_long="split_at_turn",
        make=LocalWorkers(workers),
        progress=progress,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
