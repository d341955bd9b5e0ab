"""How much memory a run takes."""

import os
from pathlib import Path

import jax


def memory_in_use() -> dict[str, float]:
    """Figures of the fullest of this process's devices, or of the process where its devices do not tell.

    Returns:
      `device_memory_peak_bytes`, the most at any moment so far, and `device_memory_peak_fraction`, that part of what
      may be used, where it is known; or `process_memory_bytes`, resident now; or nothing.
    """
    told = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    if told:
        fullest = max(told, key=_peak)
        limit = fullest.get("bytes_limit")
        fraction = {"device_memory_peak_fraction": _peak(fullest) / limit} if limit else {}
        return {"device_memory_peak_bytes": float(_peak(fullest)), **fraction}
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return {}
    return {"process_memory_bytes": float(pages * os.sysconf("SC_PAGE_SIZE"))}


def _peak(stats: dict[str, int]) -> int:
    return stats.get("peak_bytes_in_use", stats.get("bytes_in_use", 0))
