"""How much memory processes have and have had, for the benchmarks (Linux)."""

import contextlib
from pathlib import Path


def peak_resident_bytes(process: int | str = "self") -> int:
    """The most memory that a process has had since it began its program; 0 where it has just ended.

    Unlike the figures of `getrusage` and `os.wait4`, this one does not begin with the memory of the process that
    started it.
    """
    return _bytes_of(f"/proc/{process}/status").get("VmHWM", 0)


def memory_of(process: int) -> dict[str, int]:
    """Resident (`Rss`) and proportional (`Pss`, shared pages counted once) bytes of a process; zeros where it ended."""
    found = _bytes_of(f"/proc/{process}/smaps_rollup")
    return {kind: found.get(kind, 0) for kind in ("Rss", "Pss")}


def process_tree(process: int) -> set[int]:
    """A process and all that it started, and they."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while it is looked at; its name may hold spaces and brackets.
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = {process}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _bytes_of(path: str) -> dict[str, int]:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    fields = (line.partition(":") for line in lines if line.endswith(" kB"))
    return {name: int(size.split()[0]) << 10 for name, _, size in fields}
