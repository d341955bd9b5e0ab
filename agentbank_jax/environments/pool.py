"""Environments that are held for episodes: each in a process of its own, which may crash, hang or leak.

An engine is kept for the next episode of its kind, since a Java machine or a browser takes seconds to start.
"""

import abc
import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from agentbank_jax.environments import worker
from agentbank_jax.environments.held import Act, Begin, Failed, Held, Seen
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError
from agentbank_jax.temporary_folders import make_temporary

# What an engine leaks is given back now and then.
_EPISODES_PER_PROCESS = 200
_MAX_RESIDENT_BYTES = 2 << 30
_SECONDS_TO_END = 2.0
_LOG_TAIL_BYTES = 400


class Place(abc.ABC):
    """Holds an environment for one episode; it answers each message once, by `EnvironmentPool.answers`."""

    spec: EnvironmentSpec

    @abc.abstractmethod
    def send(self, message: Begin | Act) -> None:
        """Asks; the answer comes later."""


class EnvironmentPool(abc.ABC):
    """Gives places to episodes."""

    def __enter__(self) -> "EnvironmentPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def has_room(self, spec: EnvironmentSpec) -> bool:
        """Whether one more environment of a kind may be held now."""

    @abc.abstractmethod
    def take(self, spec: EnvironmentSpec) -> Place:
        """Returns a place for an episode."""

    @abc.abstractmethod
    def give_back(self, place: Place, *, broken: bool = False) -> None:
        """Ends an episode's use of a place; a broken one is not used again."""

    @abc.abstractmethod
    def answers(self, seconds: float | None) -> list[tuple[Place, Seen | Failed]]:
        """Returns the answers that are there, and waits up to `seconds` for one where there is none (None: as long as
        any place owes one)."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends everything."""


class _LocalPlace(Place):
    def __init__(self, spec: EnvironmentSpec) -> None:
        self.spec = spec
        self.held = Held()
        self.answer: Seen | Failed | None = None

    def send(self, message: Begin | Act) -> None:
        self.answer = self.held.answer(message)


class LocalPool(EnvironmentPool):
    """Environments in this process: for one that is watched, and for tests. They may hang and crash it."""

    def __init__(self) -> None:
        self._taken: dict[_LocalPlace, None] = {}

    def has_room(self, spec: EnvironmentSpec) -> bool:
        return True

    def take(self, spec: EnvironmentSpec) -> Place:
        place = _LocalPlace(spec)
        self._taken[place] = None
        return place

    def give_back(self, place: Place, *, broken: bool = False) -> None:
        assert isinstance(place, _LocalPlace)
        del self._taken[place]
        place.held.close()

    def answers(self, seconds: float | None) -> list[tuple[Place, Seen | Failed]]:
        found: list[tuple[Place, Seen | Failed]] = []
        for place in self._taken:
            answer, place.answer = place.answer, None
            if answer is not None:
                found.append((place, answer))
        return found

    def close(self) -> None:
        for place in list(self._taken):
            self.give_back(place)


class _ProcessPlace(Place):
    """A worker process.

    Fields:
      started: whether it has said that it listens.
      episodes: that it has begun.
      deadline: when it counts as hanging; None where it owes no answer.
    """

    def __init__(self, spec: EnvironmentSpec, logs: Path) -> None:
        self.spec = spec
        self.started = False
        self.episodes = 0
        self.deadline: float | None = None
        self.connection, theirs = multiprocessing.Pipe()
        with tempfile.NamedTemporaryFile(dir=logs, delete=False) as file:
            self._log = Path(file.name)
        self.process: BaseProcess = worker.start(theirs, self._log)
        theirs.close()

    def send(self, message: Begin | Act) -> None:
        begins = isinstance(message, Begin)
        self.episodes += begins
        self.deadline = time.monotonic() + (self.spec.reset_seconds if begins else self.spec.step_seconds)
        try:
            self.connection.send(message)
        except OSError:
            pass  # a process that is gone is noticed when its answer is read
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise AgentBankError(
                f"environment '{self.spec.name}' cannot be sent to a process of its own ({error}); expected `make` to "
                "be a class or function of a module and instances to be plain data, or SweepConfig.processes = False."
            ) from None

    def receive(self) -> Seen | Failed | None:
        """The answer that is there; None where the process has only said that it listens."""
        try:
            answer = self.connection.recv()
            if answer == worker.READY:
                self.started = True
                return None
            self.deadline = None
            assert isinstance(answer, Seen | Failed)
            return answer
        except (EOFError, OSError):
            self.deadline = None
            self.process.join(_SECONDS_TO_END)
            if not self.started:
                raise AgentBankError(
                    f"a process for the environment '{self.spec.name}' ended before it began (exit code "
                    f"{self.process.exitcode}). A script that lets environments have processes needs "
                    "`if __name__ == '__main__':` around what it does, since they read it too; or set "
                    "SweepConfig.processes = False."
                ) from None
            return Failed(error=f"its process ended (exit code {self.process.exitcode}){self._said()}")
        except Exception as error:  # what was sent cannot be read here
            self.deadline = None
            return Failed(error=f"what the environment told cannot be read: {type(error).__name__}: {error}")

    def _said(self) -> str:
        try:
            tail = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return f": {tail.splitlines()[-1]}" if tail else ""

    @property
    def worn(self) -> bool:
        """Whether another process should take its place."""
        return self.episodes >= _EPISODES_PER_PROCESS or _resident_bytes(self.process.pid) > _MAX_RESIDENT_BYTES

    def end(self, *, kindly: bool) -> None:
        """Ends the process and what it has started; kindly, it closes its environment first."""
        self.connection.close()
        if kindly:
            self.process.join(_SECONDS_TO_END)
        # Browsers end with their driver where it is asked to; what then still runs is killed.
        self._signal(signal.SIGTERM)
        self.process.join(_SECONDS_TO_END)
        self._signal(signal.SIGKILL)
        self.process.kill()
        self.process.join(_SECONDS_TO_END)
        self._log.unlink(missing_ok=True)

    def _signal(self, number: int) -> None:
        """Sends a signal to the process and all that it has started."""
        assert self.process.pid is not None
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, number)


class ProcessPool(EnvironmentPool):
    """Each environment in a process of its own.

    Args:
      most: how many processes at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._logs = make_temporary("agentbank-environments")
        self._taken: dict[_ProcessPlace, None] = {}
        self._idle: list[_ProcessPlace] = []

    def has_room(self, spec: EnvironmentSpec) -> bool:
        alike = sum(place.spec.name == spec.name for place in self._taken)
        return len(self._taken) < self._most and (spec.at_once is None or alike < spec.at_once)

    def take(self, spec: EnvironmentSpec) -> Place:
        place = next((place for place in self._idle if place.spec.name == spec.name), None)
        if place is None and len(self._taken) + len(self._idle) >= self._most:
            # The oldest process of another kind changes over.
            place = self._idle[0]
        if place is None:
            place = _ProcessPlace(spec, self._logs)
        else:
            self._idle.remove(place)
        place.spec = spec
        self._taken[place] = None
        return place

    def give_back(self, place: Place, *, broken: bool = False) -> None:
        assert isinstance(place, _ProcessPlace)
        del self._taken[place]
        # One that still owes an answer would give it to the next episode.
        if broken or place.deadline is not None or place.worn:
            place.end(kindly=not broken and place.deadline is None)
        else:
            self._idle.append(place)

    def answers(self, seconds: float | None) -> list[tuple[Place, Seen | Failed]]:
        owing = {place.connection: place for place in self._taken if place.deadline is not None}
        if not owing:
            return []
        until = min(place.deadline for place in owing.values() if place.deadline is not None)
        left = max(0.0, until - time.monotonic())
        ready = wait(list(owing), left if seconds is None else min(seconds, left))
        found: list[tuple[Place, Seen | Failed]] = []
        for one in ready:
            assert isinstance(one, Connection)
            if (answer := owing[one].receive()) is not None:
                found.append((owing[one], answer))
        return [*found, *self._hanging()]

    def _hanging(self) -> Iterator[tuple[Place, Failed]]:
        now = time.monotonic()
        for place in self._taken:
            if place.deadline is not None and place.deadline <= now and not place.connection.poll():
                yield place, Failed(error="it gave no answer in time (see reset_seconds and step_seconds of its kind)")

    def close(self) -> None:
        for place in (*self._taken, *self._idle):
            place.connection.close()
        for place in (*self._taken, *self._idle):
            place.end(kindly=place.deadline is None)
        self._taken.clear()
        self._idle.clear()
        shutil.rmtree(self._logs, ignore_errors=True)


def _resident_bytes(pid: int | None) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):  # no such system, or no such process any more
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
