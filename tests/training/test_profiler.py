"""Which steps are profiled, and that a profile that fails stops nothing."""

from pathlib import Path

import jax
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.training.goodput import Goodput
from agentbank_jax.training.meter import Meter
from agentbank_jax.training.profiler import Profiler
from agentbank_jax.training.train_config import TrainConfig


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of JAX's profiler, and the steps done."""
    noted: list[str] = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: noted.append(f"start {Path(folder).name}"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: noted.append("stop"))
    return noted


def profiler(said: list[str], **config) -> Profiler:
    meter = Meter(1.0, 1.0, 10, (1, 1))
    return Profiler(TrainConfig(**config), Path("run"), meter=meter, goodput=Goodput(), say=said.append)


def go(profiler: Profiler, steps, calls: list[str]) -> None:
    with profiler:
        for number in steps:
            with profiler.step(number, ()):
                calls.append(str(number))


def test_the_named_steps_are_profiled_and_the_folder_is_told(calls: list[str]) -> None:
    said: list[str] = []
    go(profiler(said, profile_start=3, profile_steps=2), range(1, 7), calls)
    assert calls == ["1", "2", "start profile", "3", "4", "stop", "5", "6"]
    assert said == ["profile of steps 3 to 4: run/profile"]


def test_the_steps_that_are_told_are_those_that_were_done(calls: list[str]) -> None:
    said: list[str] = []
    go(profiler(said, profile_start=3, profile_steps=5), range(4, 6), calls)
    go(profiler(said, profile_start=9), range(1, 3), calls)
    assert said == ["profile of steps 4 to 5: run/profile", "no profile: no step of this start is one of 9 to 13"]


def test_nothing_is_profiled_where_no_step_is_named(calls: list[str]) -> None:
    go(profiler([]), range(1, 7), calls)
    assert calls == ["1", "2", "3", "4", "5", "6"]


def test_a_run_that_ends_inside_of_the_profile_or_breaks_ends_it(calls: list[str]) -> None:
    go(profiler([], profile_start=2, profile_steps=9), range(1, 4), calls)
    assert calls[-1] == "stop"
    with pytest.raises(AgentBankError), profiler([], profile_start=1) as broken, broken.step(1, ()):
        raise AgentBankError("broken")
    assert calls[-2:] == ["start profile", "stop"]


def test_a_run_that_goes_on_inside_of_the_window_profiles_the_rest_and_after_it_nothing(calls: list[str]) -> None:
    go(profiler([], profile_start=3, profile_steps=3), range(5, 8), calls)
    assert calls == ["start profile", "5", "stop", "6", "7"]
    calls.clear()
    go(profiler([], profile_start=3, profile_steps=3), range(6, 8), calls)
    assert calls == ["6", "7"]


def test_steps_that_a_rollback_brings_back_are_not_profiled_again(calls: list[str]) -> None:
    go(profiler([], profile_start=2, profile_steps=2), [1, 2, 3, 4, 1, 2, 3], calls)
    assert calls.count("stop") == calls.count("start profile") == 1


@pytest.mark.parametrize("fails", ["start_trace", "stop_trace"])
def test_a_profile_that_fails_is_told_and_stops_nothing(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*_) -> None:
        raise RuntimeError("profiler busy\nand more")

    monkeypatch.setattr(jax.profiler, fails, fail)
    said: list[str] = []
    go(profiler(said, profile_start=2, profile_steps=1), range(1, 5), calls)
    assert said == ["no profile in run/profile: profiler busy"] and calls[-1] == "4"


def test_an_impossible_window_is_refused() -> None:
    for wrong in ({"profile_start": -1}, {"profile_steps": 0}):
        with pytest.raises(AgentBankError, match=r"TrainConfig\.profile_"):
            TrainConfig(**wrong)
