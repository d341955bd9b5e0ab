"""Gains by hand."""

import numpy as np
import pytest

from agentbank_jax.evaluation.gains import Gains
from agentbank_jax.evaluation.joining import Source, join
from agentbank_jax.evaluation.sheet import Sheet
from agentbank_jax.evaluation.sweep_result import SweepResult
from tests.evaluation.made_sweep import make_result

Y, N = True, False


def sheet_of(result: SweepResult) -> Sheet:
    (sheet,) = join([Source(run="run", result=result)])
    return sheet


def test_a_gain_is_the_mean_difference_of_the_instances_that_both_played() -> None:
    # Instance 2 is not yet played by the base: the pairs are 0, 1 and 3.
    sheet = sheet_of(make_result({"m": {"t": [Y, Y, Y, N]}, "untrained": {"t": [N, Y, None, N]}}))
    gain = Gains(sheet).task("m", sheet.rows[0])
    assert gain is not None and gain.instances == 3
    assert gain.success == pytest.approx(1 / 3) and gain.reward == pytest.approx(1 / 3)
    # Of three instances with differences 1, 0, 0, a resample's mean is k / 3 with k binomial (3, 1/3): 0 in 8 of 27, 1
    # in 1 of 27 (3.7 %), so that these are the percentiles.
    assert gain.success_interval == pytest.approx((0.0, 1.0))


def test_seeds_of_an_instance_are_averaged_and_stay_together() -> None:
    # By seed 0, then seed 1; instance 0: model 1 and 1, base 0 and 1, difference 1/2; instance 1: 0 - 0.
    sheet = sheet_of(make_result({"m": {"t": [Y, N, Y, N]}, "untrained": {"t": [N, N, Y, N]}}, seeds=(0, 1)))
    gain = Gains(sheet).task("m", sheet.rows[0])
    assert gain is not None and gain.instances == 2 and gain.success == pytest.approx(0.25)
    # Both instances drawn alike happens in a quarter of the resamples each.
    assert gain.success_interval == pytest.approx((0.0, 0.5))


def test_a_mean_gives_each_task_the_same_weight() -> None:
    sheet = sheet_of(
        make_result(
            {"m": {"a": [Y, Y], "b": [Y, N, N, N]}, "untrained": {"a": [N, N], "b": [Y, N, N, N]}},
            skills={"a": "math", "b": "web"},
        )
    )
    gains = Gains(sheet)
    mean = gains.mean("m", held_out=False)
    assert mean is not None and (mean.success, mean.tasks, mean.instances) == (0.5, 2, 6)
    # Every instance of a gained 1 and none of b gained anything: resampling has nothing to vary.
    assert mean.success_interval is None
    web = gains.mean("m", held_out=False, skill="web")
    assert web is not None and web.success == 0
    assert gains.mean("m", held_out=True) is None


def test_the_interval_of_a_mean_over_tasks_is_narrower_by_the_root_of_their_number() -> None:
    chance = np.random.default_rng(0)
    tasks = [f"t{number}" for number in range(9)]
    outcomes = {
        model: {task: (chance.random(60) < rate).tolist() for task in tasks}
        for model, rate in (("m", 0.6), ("untrained", 0.4))
    }
    sheet = sheet_of(make_result(outcomes))
    gains = Gains(sheet)

    def width(gain) -> float:
        return gain.success_interval[1] - gain.success_interval[0]

    single = np.mean([width(gains.task("m", row)) for row in sheet.rows])
    assert width(gains.mean("m", held_out=False)) == pytest.approx(single / 3, rel=0.1)


def test_what_either_was_trained_on_is_in_no_mean_gain() -> None:
    outcomes = {"m": {"a": [Y, N], "b": [Y, Y]}, "n": {"a": [N, N], "b": [Y, N]}, "base": {"a": [N, N], "b": [N, N]}}
    result = make_result(outcomes, base="base", held_out=("a", "b"), contaminated={"a": ["m"], "b": ["base"]})
    sheet = sheet_of(result)
    gains = Gains(sheet)
    assert gains.mean("m", held_out=True) is None
    mean = gains.mean("n", held_out=True)
    assert mean is not None and (mean.tasks, mean.success) == (1, 0.0)
    assert gains.task("m", sheet.rows[0]).success == 0.5


def test_baselines_are_compared_with_nobody() -> None:
    outcomes = {name: {"t": [Y, N]} for name in ("m", "untrained", "random", "oracle")}
    assert Gains(sheet_of(make_result(outcomes))).bases == {"m": "untrained"}
    assert Gains(sheet_of(make_result(outcomes, base=None))).bases == {}
