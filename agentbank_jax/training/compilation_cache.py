"""Compiled programs kept on disk, so that a second start does not compile again."""

import errno
import logging
import os
from pathlib import Path

import jax

logger = logging.getLogger(__name__)

VARIABLE = "AGENTBANK_COMPILATION_CACHE"


def enable_compilation_cache(directory: str | os.PathLike | None = None) -> Path | None:
    """Keeps compiled programs in `directory`; where it cannot be written, warns and goes on without.

    Args:
      directory: None means $AGENTBANK_COMPILATION_CACHE, or `~/.cache/agentbank_jax/compiled`.

    Returns:
      The folder, or None where it cannot be written.
    """
    path = Path(directory or os.environ.get(VARIABLE) or "~/.cache/agentbank_jax/compiled").expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        logger.warning(
            "Compiled programs are not kept, since %s cannot be written (%s); name another folder with %s.",
            path,
            error.strerror,
            VARIABLE,
        )
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path
