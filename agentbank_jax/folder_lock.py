"""A lock that keeps two programs from writing into one folder."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from agentbank_jax.errors import AgentBankError


@contextlib.contextmanager
def locked(folder: Path, program: str, flags: str, *, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Makes `folder` where it is missing and holds its lock, which ends with the process, however it ends.

    Args:
      folder: what is written to.
      program: who writes, such as `train.py`; part of the lock's name.
      flags: how the user chooses another folder, for the messages.
      wait: called where another process holds the lock, which is then waited for; None is an error.

    Raises:
      AgentBankError: the folder cannot be written, or another process holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / f".{Path(program).stem}.lock", "w")  # noqa: SIM115 - closed below, with the lock
    except OSError as error:
        raise AgentBankError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with {flags}."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if wait is None:
                raise AgentBankError(
                    f"{folder}: another {program} is writing there; wait until it ends, or choose another folder "
                    f"with {flags}."
                ) from None
            wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
