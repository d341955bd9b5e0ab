"""The faults of `fault_test.py`: each starts a run's command, strikes, and says whether it did."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

from scripts.fault_run import FaultError, Run, kill

GRACE_S = 30
USER_ERROR = 2


class NotPossible(Exception):
    """This machine cannot do that to a run."""


def _strike_when(run: Run, processes: list[subprocess.Popen], due: Callable[[], bool]) -> bool:
    """Waits until it is due; False where the run has ended before."""
    deadline = time.monotonic() + 300
    while not due():
        if any(process.poll() is not None for process in processes):
            return False
        if time.monotonic() > deadline:
            kill(processes)
            raise FaultError(f"{run.name} does not get on\n{run.log()}")
        time.sleep(0.002)
    return True


def _at_step(run: Run, chance: random.Random) -> Callable[[], bool]:
    """Due at a step that is chosen among those to come."""
    done = run.records()[-1]["step"] if run.records() else 0
    step = chance.randint(done + 1, max(done + 1, run.steps - 1))
    return lambda: bool(run.records()) and run.records()[-1]["step"] >= step


def _killed(run: Run, chance: random.Random) -> bool:
    processes = run.start()
    if chance.random() < 0.3:
        moment = time.monotonic() + chance.uniform(0, 10)
        struck = _strike_when(run, processes, lambda: time.monotonic() > moment)
    else:
        struck = _strike_when(run, processes, _at_step(run, chance))
    kill(processes)
    return struck


def _killed_in_checkpoint(run: Run, chance: random.Random) -> bool:
    folder, before = run.model_dir / "checkpoints", {path.name for path in run.checkpoints()}
    wait = chance.uniform(0, 0.05)

    def writes() -> bool:
        return any("tmp" in path.name and path.name not in before for path in folder.glob("*"))

    processes = run.start()
    struck = _strike_when(run, processes, writes)
    time.sleep(wait)
    kill(processes)
    return struck


def _signalled(run: Run, chance: random.Random) -> bool:
    processes = run.start()
    if not _strike_when(run, processes, _at_step(run, chance)):
        return False
    asked = time.monotonic()
    processes[0].send_signal(signal.SIGTERM)
    run.end(processes, (os.EX_TEMPFAIL, 0))
    if time.monotonic() - asked > GRACE_S:
        raise FaultError(f"{run.name} took more than {GRACE_S} s to save and stop")
    return True


def _peer_killed(run: Run, chance: random.Random) -> bool:
    processes = run.start()
    if not _strike_when(run, processes, _at_step(run, chance)):
        return False
    victim = chance.randrange(len(processes))
    processes[victim].send_signal(signal.SIGKILL)
    for process in processes:
        try:
            process.wait(180)
        except subprocess.TimeoutExpired:
            kill(processes)
            raise FaultError(f"{run.name}: a process waits for one that was killed\n{run.log()}") from None
    return True


def _disk_full(run: Run, chance: random.Random) -> bool:
    """Fills the run's disk to the last few kilobytes until its command has ended, then makes room again."""
    if not run.disk:
        raise NotPossible("it takes root to mount a tmpfs")
    filler = run.disk / "filler"
    usage = os.statvfs(run.disk)
    filler.write_bytes(bytes(max(0, usage.f_bavail * usage.f_frsize - chance.randrange(200_000))))
    try:
        status = run.end(run.start(), (0, USER_ERROR))
    finally:
        filler.unlink()
    return status == USER_ERROR


def _interrupted(run: Run, due: Callable[[], bool]) -> bool:
    """Brings a run to where something is due, and stops it there; False where it has ended before."""
    if due():
        return True
    processes = run.start()
    struck = _strike_when(run, processes, due)
    kill(processes)
    return struck


def _damaged(run: Run, chance: random.Random) -> bool:
    """Changes bytes of the largest file of the last checkpoint, or of one of its other files."""
    if not _interrupted(run, lambda: len(run.checkpoints()) >= 2):
        return False
    files = sorted(
        (path for path in run.checkpoints()[-1].rglob("*") if path.is_file() and path.stat().st_size > 64),
        key=lambda path: path.stat().st_size,
    )
    file = files[-1] if chance.random() < 0.7 else chance.choice(files)
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content) - 16)
    content[place : place + 16] = chance.randbytes(16)
    file.write_bytes(content)
    return True


def _cache_truncated(run: Run, chance: random.Random) -> bool:
    if not _interrupted(run, lambda: bool(run.records())):
        return False
    files = sorted(path for path in run.cache.glob("[!.]*/*") if path.is_file() and ".damaged" not in str(path))
    file = chance.choice(files)
    with file.open("r+b") as stream:
        stream.truncate(chance.randrange(file.stat().st_size))
    return True


KINDS: dict[str, Callable[[Run, random.Random], bool]] = {
    "kill": _killed,
    "checkpoint": _killed_in_checkpoint,
    "signal": _signalled,
    "peer": _peer_killed,
    "disk": _disk_full,
    "damage": _damaged,
    "truncation": _cache_truncated,
}
