"""A bank in a folder of its own, and its cache of ten shards, for tests of how it is made."""

from pathlib import Path

from agentbank_jax.data.shard_workers import ShardMaker
from agentbank_jax.data.token_cache import TokenCache, build_cache
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary
from tests.data.run_build_cache import MADE
from tests.trajectories.fake import make_texts, make_trajectory

ROWS = 95
SHARDS = 10


def make_bank(folder: Path) -> None:
    """Writes a bank of `MADE` whose trajectories fit, or come in two parts, and its vocabulary."""
    trajectories = [make_trajectory(n, exchanges=1 + n % 6, system=False, task=MADE.name) for n in range(ROWS)]
    write_parquet(folder / MADE.name / "train-00000-of-00001.parquet", trajectories)
    train_vocabulary(make_texts(), 430, folder / "v.model")


def build(folder: Path, cache: str = "cache", make: ShardMaker | None = None) -> TokenCache:
    return build_cache(
        "made",
        Llama2Template(Tokenizer.load(folder / "v.model")),
        max_length=200,
        data_dir=folder,
        cache_dir=folder / cache,
        over_long="split_at_turn",
        make=make,
    )


def content(folder: Path) -> dict[str, bytes]:
    (made,) = folder.iterdir()
    return {str(path.relative_to(folder)): path.read_bytes() for path in made.iterdir()}
