import json
import math
from pathlib import Path

import pytest

from agentbank_jax.evaluation.results import ResultFile, summarize
from tests.evaluation.made_sweep import make_record


def test_without_episodes_nothing_is_claimed() -> None:
    summary = summarize([], task="t", skill="math", model="m")
    assert summary.episodes == 0 and summary.interval == (0.0, 1.0) and summary.figures == {}


def test_figures_are_sums_over_episodes_by_hand() -> None:
    records = [
        make_record("t", 0, True, steps=2, invalid_actions=0, tokens=10, prompt_tokens=50,
                    figures={"f1": 1.0, "note": "x"}),
        make_record("t", 1, False, steps=6, invalid_actions=3, tokens=40, prompt_tokens=70, reward=0.25,
                    figures={"f1": 0.5, "exact": True}),
        make_record("t", 2, False, terminate_reason="environment_error", reward=0.0, steps=0, invalid_actions=0,
                    tokens=1, prompt_tokens=0, figures={"f1": float("nan")}),
        make_record("t", 3, True, trained_on=True),
    ]  # fmt: skip
    summary = summarize(records, task="t", skill="math", model="m")
    assert (summary.episodes, summary.instances, summary.left_out, summary.environment_errors) == (3, 3, 1, 1)
    assert summary.success_rate == 1 / 3 and summary.average_reward == 1.25 / 3
    assert summary.steps == 8 / 3 and summary.invalid_rate == 3 / 8
    assert summary.tokens == 17 and summary.prompt_tokens == 40
    assert summary.figures == {"f1": 0.75, "exact": 1.0}
    assert summary.reasons == {"success": 1, "max_steps": 1, "environment_error": 1}


def test_a_figure_that_is_no_finite_number_is_in_no_mean() -> None:
    records = [make_record("t", at, True, figures={"n": value}) for at, value in enumerate((10**400, math.inf, 3))]
    assert summarize(records, task="t", skill="math", model="m").figures == {"n": 3.0}


@pytest.mark.parametrize(
    ("field", "value"),
    [("reward", "x"), ("success", "yes"), ("seed", "0"), ("index", True), ("figures", None), ("conversations", 5),
     ("conversations", [{"from": "gpt"}]), ("earlier", [["x"]]), ("instance_id", 3), ("steps", 1.5)],
)  # fmt: skip
def test_a_line_that_no_sweep_wrote_is_passed_over(field: str, value: object, tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "t.jsonl", key="k")
    file.append(make_record("t", 0, True, key="k"))
    whole = json.loads(file.path.read_text())
    with file.path.open("a") as lines:
        lines.write(json.dumps({**whole, "index": 1, field: value}) + "\n")
    assert list(file.read()) == [(0, 0)]


def test_half_a_surrogate_pair_is_written_as_a_question_mark(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "t.jsonl", key="k")
    file.append(make_record("t", 0, True, key="k", final_observation="half \udcff"))
    assert [record.final_observation for record in file.load().values()] == ["half ?"]


def test_seeds_of_one_instance_widen_the_interval() -> None:
    def interval(seeds: int, alike: bool) -> tuple[float, float]:
        records = [
            make_record("t", index, (index if alike else index + seed) % 2 == 0, seed=seed)
            for seed in range(seeds)
            for index in range(20)
        ]
        return summarize(records, task="t", skill="math", model="m").interval

    assert interval(4, alike=True) == interval(1, alike=True)
    wide, narrow = interval(4, alike=True), interval(4, alike=False)
    assert narrow[1] - narrow[0] < 0.6 * (wide[1] - wide[0])
