"""A profile of some steps of a run, which TensorBoard, XProf and Perfetto show."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from agentbank_jax.errors import first_line
from agentbank_jax.training.goodput import Goodput
from agentbank_jax.training.meter import Meter
from agentbank_jax.training.train_config import TrainConfig

FOLDER = "profile"


class Profiler:
    """Profiles the steps that `TrainConfig.profile_start` and `profile_steps` name; a context manager.

    None is left running, whatever ends the run. One that fails is told, and the training goes on.
    """

    def __init__(
        self, config: TrainConfig, model_dir: Path, *, meter: Meter, goodput: Goodput, say: Callable[[str], None]
    ):
        """A profiler of this process.

        Args:
          config: names the steps.
          model_dir: gets the folder `profile`.
          meter: is kept free of the seconds that a profile costs.
          goodput: counts them.
          say: takes a line that tells where the profile is.
        """
        first = config.profile_start
        self._steps = range(first, first + config.profile_steps) if first else range(0)
        self._folder, self._meter, self._goodput, self._say = model_dir / FOLDER, meter, goodput, say
        self._profiled: list[int] = []
        self._running = self._done = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_) -> None:
        if self._running:
            self._stop()
        elif self._steps and not self._done:
            self._say(f"no profile: no step of this start is one of {self._steps[0]} to {self._steps[-1]}")

    @contextlib.contextmanager
    def step(self, number: int, state: Any) -> Iterator[None]:
        """What runs in it is a step; begins or ends the profile where that is due before it.

        Args:
          number: of the step, the first of a run being 1.
          state: what the step before makes; where a profile begins or ends it is waited for.
        """
        due = number in self._steps and not self._done
        if due != self._running:
            with self._apart():
                jax.block_until_ready(state)
                (self._start if due else self._stop)()
        if self._running:
            self._profiled.append(number)
        with jax.profiler.StepTraceAnnotation("train", step_num=number) if self._running else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        started = time.perf_counter()
        with self._goodput.spent_on("profile"):
            yield
        self._meter.exclude(time.perf_counter() - started)

    def _start(self) -> None:
        try:
            jax.profiler.start_trace(self._folder)
            self._running = True
        except Exception as error:  # of many kinds: another profile runs, the folder cannot be made, …
            self._failed(error)

    def _stop(self) -> None:
        self._running, self._done = False, True
        try:
            jax.profiler.stop_trace()
            self._say(f"profile of steps {self._profiled[0]} to {self._profiled[-1]}: {self._folder}")
        except Exception as error:  # as above, and a full disk
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._done = True
        self._say(f"no profile in {self._folder}: {first_line(error)}")
