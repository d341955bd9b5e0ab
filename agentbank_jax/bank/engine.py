"""The one engine of a process, kept from problem to problem: some take seconds to start."""

import contextlib

from agentbank_jax.environments.base import TextEnvironment
from agentbank_jax.environments.registry import EnvironmentSpec


class _Engine:
    def __init__(self) -> None:
        self._spec: EnvironmentSpec | None = None
        self._environment: TextEnvironment | None = None

    def of(self, spec: EnvironmentSpec) -> TextEnvironment:
        if self._environment is None or self._spec is None or not _same_engine(self._spec, spec):
            self.close()
            self._environment, self._spec = spec.make(), spec
        return self._environment

    def close(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            with contextlib.suppress(Exception):  # it may be broken already
                environment.close()


def _same_engine(one: EnvironmentSpec, other: EnvironmentSpec) -> bool:
    # Several environments are games of one engine; and one that was sent to a worker process is a copy.
    return one.protocol == other.protocol and (one.make == other.make or one.name == other.name)


_ENGINE = _Engine()


def held_engine(spec: EnvironmentSpec) -> TextEnvironment:
    """This process's engine of a kind of environment, to be `reset` with a problem.

    It is made where there is none yet, and stays; one of another kind is closed, and this one takes its place. Whoever
    meets an exception of it calls `close_engine`, so that the next problem gets a whole one.
    """
    return _ENGINE.of(spec)


def close_engine() -> None:
    """Ends this process's engine, if there is one."""
    _ENGINE.close()
