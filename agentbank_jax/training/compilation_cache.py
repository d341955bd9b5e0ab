"""Compiled programs kept on disk, so that a second start does not compile again."""

import os
from pathlib import Path

import jax

VARIABLE = "AGENTBANK_COMPILATION_CACHE"


def enable_compilation_cache(directory: str | os.PathLike | None = None) -> Path:
    """Keeps compiled programs in `directory`.

    Args:
      directory: None means $AGENTBANK_COMPILATION_CACHE, or `~/.cache/agentbank_jax/compiled`.

    Returns:
      The folder.
    """
    path = Path(directory or os.environ.get(VARIABLE) or "~/.cache/agentbank_jax/compiled").expanduser()
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path
