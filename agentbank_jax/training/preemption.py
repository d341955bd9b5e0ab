"""SIGTERM and SIGINT as a wish to stop, which the loop grants after a step, when it has saved."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from agentbank_jax.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STATUSES = {signal.SIGTERM: os.EX_TEMPFAIL, signal.SIGINT: 128 + signal.SIGINT}
"""Exit statuses: launchers start a run again that was pre-empted, and not one that its user has stopped."""


def end_when_preempted() -> None:
    """From now on SIGTERM ends the program with the status on which launchers start it again.

    It is for all that a program does beside its steps, which has nothing to save: what lies in files is whole.
    """
    signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> None:
    os.write(2, b"stopped: SIGTERM; the same command goes on where it was.\n")
    os._exit(STATUSES[signal.SIGTERM])


class Preemption:
    """Takes the signals while it is entered; a context manager.

    The first signal is noted in `signal`. A second SIGINT ends the program at once. Elsewhere than in the main
    thread, where Python takes no signals, nothing is ever noted.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """What runs in it is interrupted by a signal, as by Ctrl-C; a signal noted before interrupts it at its start.

        Raises:
          KeyboardInterrupt: there was one.
        """
        self._at_once = True
        try:
            if self.signal:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def stopped(self, step: int, checkpoint: os.PathLike) -> Stopped:
        """The end of a run that has saved after a step; `signal` is what asked for it, here or on another process."""
        asked = self.signal or signal.SIGTERM
        return Stopped(
            f"{asked.name} after step {step}, which is saved in {checkpoint}; the same command goes on from there.",
            STATUSES[asked],
        )

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number)
        if self._at_once:
            raise KeyboardInterrupt
