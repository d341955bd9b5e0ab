"""Reports are made from files alone: of one run or several, finished or not."""

from dataclasses import replace
from pathlib import Path

import pytest

from agentbank_jax.agents.policy import OraclePolicy
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.contender import Contender, baseline_contenders
from agentbank_jax.evaluation.joining import Source
from agentbank_jax.evaluation.report import Report, write_report
from agentbank_jax.evaluation.report_csv import to_csv
from agentbank_jax.evaluation.report_sources import read_sources
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_file import read_sweep
from tests.evaluation.made_sweep import make_result, write_result

Y, N = True, False


def test_a_report_from_files_equals_that_of_the_sweep_itself(specs, tmp_path: Path) -> None:
    tasks = ("counting", "counting_far", "counting_absent", "counting_broken")
    config = SweepConfig(
        name="s", tasks=tasks, episodes_per_task=6, seeds=(0, 1), baselines=("oracle", "random"), base="random",
        processes=False,
    )  # fmt: skip
    # Random play stands for a model that was trained on an instance of each, and on a held-out task.
    manifest = TrainingManifest.of({"counting": ["counting/test/2"], "counting_far": ["counting/test/1"]})
    oracle, random = baseline_contenders(config)[::-1]
    contenders = (replace(random, name="model", manifest=manifest), oracle, random)
    # Baselines played before anyone knew of the model, and more than now.
    run_sweep(replace(config, episodes_per_task=9, seeds=(0, 1, 2)), (oracle, random), tmp_path / "run" / "evaluation")
    result = run_sweep(config, contenders, tmp_path / "run" / "evaluation")
    fresh = Report(title="A", facts={}, sources=(Source(run="run", result=result),))
    read = replace(fresh, sources=read_sources([str(tmp_path / "run")]))
    assert to_csv(read) == to_csv(fresh)
    files = [write_report(report, tmp_path / name) for report, name in ((fresh, "fresh"), (read, "read"))]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(*files, strict=True))


class Killed(BaseException):
    pass


class DyingPolicy(OraclePolicy):
    """Dies in its seventh turn, as a process that is killed does: in its third episode, after 2 turns and 3."""

    turns = 0

    def collect(self):
        self.turns += 1
        if self.turns == 7:
            raise Killed
        return super().collect()


def test_a_sweep_that_was_killed_is_reported_as_far_as_it_came(specs, tmp_path: Path) -> None:
    config = SweepConfig(name="s", tasks=("counting",), episodes_per_task=4, baselines=("oracle",), processes=False)
    oracle = baseline_contenders(config)[0]
    later = Contender(name="later", identity="later", make=lambda: DyingPolicy(capacity=1))
    with pytest.raises(Killed):
        run_sweep(config, (oracle, later), tmp_path / "out")
    path = tmp_path / "out" / "s" / "later" / "react" / "counting.jsonl"
    path.write_text(path.read_text() + '{"torn')
    sources = read_sources([str(tmp_path / "out")])
    ((sheet, _),) = Report(title="A", facts={}, sources=sources).sheets
    cells = sheet.rows[0].cells
    assert [(len(cells[name].records), cells[name].expected) for name in ("oracle", "later")] == [(4, 4), (2, 4)]


def test_folders_of_runs_outputs_and_sweeps_are_found_and_named(tmp_path: Path) -> None:
    result = make_result({"m": {"t": [Y]}})
    write_result(result, tmp_path / "one" / "evaluation")
    write_result(replace(result, name="other"), tmp_path / "one" / "evaluation-held_out")
    write_result(result, tmp_path / "two" / "evaluation")
    write_result(result, tmp_path / "mine")

    def found(*folders: str) -> list[tuple[str, str]]:
        return [(source.run, source.result.name) for source in read_sources([str(tmp_path / each) for each in folders])]

    assert found("one") == [("one", "s"), ("one", "other")]
    assert found("mine") == [("mine", "s")] == found("mine/s")
    assert [name for name, _ in found("two", "mine", "two/evaluation/s")] == ["two", "mine"]


def test_runs_of_one_name_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    result = make_result({"m": {"t": [Y]}})
    for place in ("a/run", "b/run"):
        write_result(result, tmp_path / place / "evaluation")
    sources = read_sources([str(tmp_path / "a/run"), str(tmp_path / "b/run")])
    assert [source.run for source in sources] == ["a/run/evaluation", "b/run/evaluation"]


def test_what_is_no_sweep_is_named(tmp_path: Path) -> None:
    write_result(make_result({"m": {"t": [Y]}}), tmp_path / "run" / "evaluation")
    (tmp_path / "empty").mkdir()
    for name, message in (
        (str(tmp_path / "rnu"), "no such folder. Did you mean"),
        (str(tmp_path / "empty"), "holds no sweep; expected"),
        ("gs://bucket/run", "only local folders"),
    ):
        with pytest.raises(AgentBankError, match=message.replace(".", r"\.")):
            read_sources([name])
    (tmp_path / "run" / "evaluation" / "s" / "sweep.json").write_text("{}")
    with pytest.raises(AgentBankError, match="expected what a sweep wrote"):
        read_sources([str(tmp_path / "run")])


def test_reading_a_sweep_tells_how_far_it_is(tmp_path: Path) -> None:
    folder = write_result(make_result({"a": {"t": [Y, N], "u": [Y]}, "b": {"t": [N]}}, episodes=2), tmp_path)
    told: list[tuple[float, int]] = []
    result = read_sweep(folder, lambda part, episodes: told.append((part, episodes)))
    assert told == [(0.25, 2), (0.5, 3), (0.75, 4), (1.0, 4)] and len(result.tasks) == 2
