"""Weights & Biases, by a module that stands in for it and notes what it is told."""

import sys
from pathlib import Path

import pytest

from agentbank_jax.errors import AgentBankError, Stopped
from agentbank_jax.training.metrics import MetricsWriter, read_metrics
from agentbank_jax.training.wandb_run import check_wandb
from tests.training.stand_in_wandb import StandIn


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return put(monkeypatch, StandIn())


def put(monkeypatch: pytest.MonkeyPatch, module: StandIn) -> StandIn:
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def write(folder: Path, start_step: int = 0, **options) -> None:
    options = {"wandb_project": "agents", "settings": {"TrainConfig": {"steps": 3}}, **options}
    folder.mkdir(exist_ok=True)
    with MetricsWriter(folder, start_step=start_step, **options) as writer:
        writer.write(start_step + 1, {"loss": 2.0, "eval/loss": 3.0})


def test_a_run_goes_to_its_project_with_its_settings_and_steps(wandb: StandIn, tmp_path: Path) -> None:
    write(tmp_path / "seven")
    ((options,),) = wandb.of("init")
    assert options["project"] == "agents" and options["name"] == "seven" and options["dir"] == str(tmp_path / "seven")
    assert options["config"] == {"TrainConfig": {"steps": 3}}
    # Steps that are done again would be dropped by its own counter, which never goes back.
    assert wandb.of("define_metric") == [["step", {}], ["*", {"step_metric": "step"}]]
    assert wandb.of("log") == [[{"step": 1, "train/loss": 2.0, "eval/loss": 3.0}]]
    assert wandb.of("finish") == [[0]]


def test_every_start_continues_the_same_run(wandb: StandIn, tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "one", start_step=1)
    write(tmp_path / "two")
    ids = [options["id"] for (options,) in wandb.of("init")]
    assert ids[0] == ids[1] != ids[2]
    assert all(options["resume"] == "allow" for (options,) in wandb.of("init"))


def test_nobody_is_told_where_no_project_is_asked_for(wandb: StandIn, tmp_path: Path) -> None:
    write(tmp_path, wandb_project="")
    assert wandb.calls == [] and not (tmp_path / "wandb_run_id").exists()


@pytest.mark.parametrize(("error", "expected"), [(RuntimeError, []), (Stopped, [[]])])
def test_how_a_run_ended_is_told(wandb: StandIn, tmp_path: Path, error: type, expected: list) -> None:
    with pytest.raises(error), MetricsWriter(tmp_path, wandb_project="agents"):
        raise error("SIGTERM", 75)
    assert wandb.of("finish") == [[1]] and wandb.of("mark_preempting") == expected


def test_a_client_that_is_not_installed_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AgentBankError, match=r"wandb_project='agents'.* pip install 'agentbank_jax\[wandb\]'"):
        check_wandb("agents")
    check_wandb("")


def test_a_refused_run_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put(monkeypatch, StandIn(fails="init"))
    with pytest.raises(AgentBankError, match=r"\(init failed\): log in with `wandb login`.*WANDB_MODE=offline"):
        write(tmp_path)


def test_what_fails_later_is_told_once_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = put(monkeypatch, StandIn(fails="log"))
    with MetricsWriter(tmp_path, wandb_project="agents") as writer:
        for step in (1, 2, 3):
            writer.write(step, {"loss": 2.0})
    assert capsys.readouterr().err == "Weights & Biases fails, and gets nothing more: log failed\n"
    assert len(module.of("log")) == 1 and len(read_metrics(tmp_path)) == 3
