"""Every second of a run is counted once."""

import time

import pytest

from agentbank_jax.training.goodput import KINDS, Goodput


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """A clock that stands still, and is set forward by a call."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def test_every_second_is_counted_once(clock) -> None:
    goodput = Goodput()
    clock(3)
    with goodput.spent_on("data"):
        clock(1)
    # As the loop does it: what was compiled before the first step is known afterwards.
    clock(5)
    goodput.add("compilation", 5)
    goodput.steps_begin()
    clock(20)
    with goodput.spent_on("checkpoint"):
        clock(2)
    goodput.steps_begin()
    seconds = goodput.seconds()
    assert (seconds["start_up"], seconds["data"], seconds["compilation"], seconds["checkpoint"]) == (3, 1, 5, 2)
    assert seconds["steps"] == 20 and seconds["total"] == 31
    assert sum(seconds[kind] for kind in ("start_up", *KINDS, "steps")) == seconds["total"]
    assert goodput.share() == pytest.approx(20 / 31)


def test_before_the_first_step_all_is_start_up(clock) -> None:
    goodput = Goodput()
    clock(4)
    assert goodput.seconds()["start_up"] == 4 and goodput.seconds()["steps"] == 0 and goodput.share() == 0


def test_steps_that_a_rollback_threw_away_do_not_count(clock) -> None:
    goodput = Goodput()
    goodput.steps_begin()
    clock(10)
    goodput.add("repeated", 4)
    assert goodput.seconds()["steps"] == 6 and goodput.seconds()["total"] == 10


def test_the_seconds_of_earlier_starts_are_added(clock) -> None:
    goodput = Goodput()
    goodput.go_on({"steps": 50.0, "start_up": 10.0, "repeated": 20.0, "total": 80.0})
    clock(2)
    goodput.steps_begin()
    clock(18)
    seconds = goodput.seconds()
    assert (seconds["start_up"], seconds["steps"], seconds["repeated"], seconds["total"]) == (12, 68, 20, 100)
    assert goodput.share() == pytest.approx(0.68)
