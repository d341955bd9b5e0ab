"""A run is evaluated beside the job that writes it: each whole checkpoint once, whatever happens meanwhile."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from agentbank_jax.commands import watch
from agentbank_jax.commands.watch import watch_run
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.acting_model import ActingModel
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.training.best_checkpoint import resolve_checkpoint
from agentbank_jax.training.comparison import compare
from agentbank_jax.training.metrics import read_metrics
from tests.evaluation.conftest import specs as specs
from tests.evaluation.made_run import make_run, save_steps
from tests.small_bank import ROOT, SMALL_MODEL, SMALL_SWEEPS, build_small_bank, environment

SWEEP = SweepConfig(name="quick", tasks=("counting",), episodes_per_task=2, max_new_tokens=3, slots=2, max_length=256)

pytestmark = pytest.mark.usefixtures("specs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with steps 10, 20 and 30, of 30."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "parrot")
    save_steps(folder, 10, 20, 30, total_steps=30)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "parrot")


def _never(seconds: float) -> None:
    raise AssertionError("it waits")


def _watch(run: Path, output: Path | None = None, sleep: Callable[[float], None] = _never, **options) -> str:
    printed = io.StringIO()
    sweeps = options.pop("sweeps", [SWEEP])
    watch_run(run, sweeps, output or run / "evaluation-quick", Console(file=printed, width=200), sleep=sleep, **options)
    return printed.getvalue()


def _steps(run: Path) -> list[int]:
    return [int(record["step"]) for record in read_metrics(run / "evaluation-quick")]


def _win(monkeypatch: pytest.MonkeyPatch, success: dict[int, float]) -> None:
    """Lets each step have the success that a test wants."""

    def play(sweeps, model, output, *, manifest):
        return {"arena/quick/counting/success": success[model.step], "arena/quick/success": success[model.step]}

    monkeypatch.setattr(watch, "play", play)


def test_every_checkpoint_is_evaluated_once_in_its_order_and_the_run_ends_it(run: Path, monkeypatch) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    printed = _watch(run)
    assert _steps(run) == [10, 20, 30]
    for record in read_metrics(run / "evaluation-quick"):
        assert set(record) == {
            "step",
            *(f"arena/quick/{name}" for name in ("counting/success", "counting/reward", "success")),
        }
    episodes = [path.relative_to(run) for path in run.rglob("counting.jsonl")]
    assert sorted(map(str, episodes)) == [
        f"evaluation-quick/step-{step}/quick/parrot/react/counting.jsonl" for step in (10, 20, 30)
    ]
    assert list((run / "evaluation-quick/tensorboard").iterdir())
    assert printed.index("step 10:") < printed.index("step 20:") < printed.index("the best of 3 steps")
    # What the training writes is left as it was.
    assert {path: path.read_bytes() for path in before} == before
    monkeypatch.setattr(ActingModel, "load", None)
    assert "step 10:" not in _watch(run) and _steps(run) == [10, 20, 30]


def test_it_waits_for_what_is_not_yet_there_and_takes_nothing_that_is_half_written(tmp_path: Path) -> None:
    run = tmp_path / "parrot"
    waited = []

    def train_on(seconds: float) -> None:
        waited.append(_steps(run))
        if len(waited) == 1:
            assert not list(tmp_path.iterdir())
            make_run(run)
        elif len(waited) == 2:
            save_steps(run, 10, total_steps=20)
            # As a save that is under way, or was cut short.
            shutil.copytree(run / "checkpoints/10", run / "checkpoints/20.orbax-checkpoint-tmp-7")
            (run / "checkpoints/15").mkdir()
            (run / "checkpoints/15/_CHECKPOINT_METADATA").write_text("{")
        else:
            shutil.rmtree(run / "checkpoints/15")
            save_steps(run, 20, total_steps=20)

    printed = _watch(run, sleep=train_on)
    assert waited == [[], [], [10]] and _steps(run) == [10, 20]
    assert "waiting for the run" in printed and "passed over" not in printed


def test_a_checkpoint_that_the_run_deletes_while_it_is_read_is_passed_over_with_a_line(run: Path, monkeypatch) -> None:
    load = ActingModel.load

    def lose(path: Path) -> ActingModel:
        if path.name == "20":
            shutil.rmtree(path / "state")
            try:
                return load(path)
            finally:
                shutil.rmtree(path)
        return load(path)

    monkeypatch.setattr(ActingModel, "load", lose)
    assert "step 20: passed over: the run has deleted it" in _watch(run)
    assert _steps(run) == [10, 30]


def test_a_damaged_checkpoint_is_passed_over_once_and_taken_when_the_run_has_written_it_again(run: Path) -> None:
    shutil.rmtree(run / "checkpoints/20/state")
    (run / "checkpoints/30").rename(run / "30")
    waited = []

    def mend(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            shutil.rmtree(run / "checkpoints/20")
            save_steps(run, 20, total_steps=30)
            (run / "30").rename(run / "checkpoints/30")

    printed = _watch(run, sleep=mend)
    assert printed.count("step 20: passed over") == 1 and "can be read" in printed
    assert _steps(run) == [10, 20, 30]


def test_a_run_that_has_other_files_than_it_was_trained_with_ends_it(run: Path) -> None:
    (run / "manifest.json").unlink()
    with pytest.raises(AgentBankError, match=r"manifest\.json is missing"):
        _watch(run)


def test_the_newest_alone_leaves_out_what_is_older(run: Path) -> None:
    (run / "checkpoints/30").rename(run / "30")
    _watch(run, sleep=lambda seconds: (run / "30").rename(run / "checkpoints/30"), newest=True)
    assert _steps(run) == [20, 30]


def test_what_was_cut_short_goes_on_with_the_episodes_and_steps_that_are_missing(run: Path, monkeypatch) -> None:
    play = watch.play

    def strike(sweeps, model, output, **options):
        values = play(sweeps, model, output, **options)
        if model.step == 20:
            # The process is gone before it has written the record of the step.
            raise SystemExit
        return values

    monkeypatch.setattr(watch, "play", strike)
    with pytest.raises(SystemExit):
        _watch(run)
    monkeypatch.setattr(watch, "play", play)
    results = run / "evaluation-quick/metrics.jsonl"
    results.write_text(results.read_text() + '{"step": 20, "arena/qu')
    first = {step: run / f"evaluation-quick/step-{step}/quick/parrot/react/counting.jsonl" for step in (10, 20)}
    before = {step: (path.stat().st_ino, path.read_text()) for step, path in first.items()}
    printed = _watch(run)
    assert _steps(run) == [10, 20, 30] and "step 10:" not in printed
    assert {step: (path.stat().st_ino, path.read_text()) for step, path in first.items()} == before


def test_the_best_is_written_with_each_step_and_names_the_checkpoint(run: Path, monkeypatch) -> None:
    _win(monkeypatch, {10: 0.5, 20: 0.75, 30: 0.25})
    _watch(run)
    best = json.loads((run / "evaluation-quick/best.json").read_text())
    assert best == {"step": 20, "metric": "arena/quick/success", "value": 0.75}
    assert resolve_checkpoint(f"{run}@best") == run / "checkpoints/20"
    shutil.rmtree(run / "checkpoints/20")
    with pytest.raises(AgentBankError, match=r"step 20 was the best .* not kept any more; raise TrainConfig\.keep_ch"):
        resolve_checkpoint(f"{run}@best")
    _watch(run, run / "evaluation-other")
    with pytest.raises(AgentBankError, match="several evaluations have chosen"):
        resolve_checkpoint(f"{run}@best")


def test_another_metric_may_choose_the_best_and_an_unknown_one_is_refused(run: Path, monkeypatch) -> None:
    _win(monkeypatch, {10: 0.5, 20: 0.75, 30: 0.25})
    _watch(run, best_metric="arena/quick/counting/success", best_mode="min")
    assert json.loads((run / "evaluation-quick/best.json").read_text())["step"] == 30
    with pytest.raises(AgentBankError, match=r"best_metric='eval/loss' is not measured by the sweeps"):
        _watch(run, run / "other", best_metric="eval/loss")
    assert not (run / "other").exists()


def test_the_results_are_compared_with_those_of_other_runs(run: Path, monkeypatch) -> None:
    _win(monkeypatch, {10: 0.5, 20: 0.75, 30: 0.25})
    _watch(run)
    (compared,) = compare([str(run)], lambda text: {}).runs
    steps, values = compared.values("arena/quick/success")
    assert steps.tolist() == [10, 20, 30] and values.tolist() == [0.5, 0.75, 0.25]
    assert compared.values("loss")[0].tolist() == [1, 5]


def test_results_of_other_sweeps_are_not_mixed(run: Path, monkeypatch) -> None:
    _win(monkeypatch, dict.fromkeys((10, 20, 30), 0.5))
    _watch(run)
    with pytest.raises(AgentBankError, match=r"a sweep with other settings \(quick, see watched\.json\)"):
        _watch(run, sweeps=[dataclasses.replace(SWEEP, episodes_per_task=3)])


def test_a_run_that_does_not_say_which_is_the_best_is_told_so(run: Path, tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match="nothing says which of its checkpoints is the best"):
        resolve_checkpoint(f"{run}@best")
    with pytest.raises(AgentBankError, match=r"does not exist\. Did you mean 'parrot'"):
        resolve_checkpoint(f"{tmp_path}/parot@best")
    assert resolve_checkpoint(run) == run


@pytest.mark.slow
def test_killed_again_and_again_beside_a_run_that_deletes_its_checkpoints_it_ends_with_the_last_step(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    build_small_bank(data)

    def start(*arguments: str) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(
            [sys.executable, str(ROOT / arguments[0]), *arguments[1:]], cwd=tmp_path, env=environment(data), **pipes
        )

    training = start(
        "train.py",
        "--gin_file=samoyed_tiny.gin",
        *SMALL_MODEL,
        "--gin.TrainConfig.steps=8000",
        "--gin.TrainConfig.batch_size=1",
        "--gin.TrainConfig.checkpoint_every=200",
        "--gin.TrainConfig.keep_checkpoints=1",
        "--gin.RunConfig.sweeps=[]",
    )
    watch_it = ("evaluate.py", "--gin_file=eval/starter_held_in.gin", "--watch=runs/samoyed_tiny", *SMALL_SWEEPS)
    results, seen = tmp_path / "runs/samoyed_tiny/evaluation-starter_held_in", 0
    for _ in range(3):
        watching = start(*watch_it)
        end = time.monotonic() + 200
        while len(read_metrics(results)) <= seen and watching.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.2)
        watching.kill()
        watching.communicate()
        seen = len(read_metrics(results))
    last = start(*watch_it)
    output = last.communicate(timeout=300)[0]
    assert last.returncode == 0, output
    assert training.wait(300) == 0, training.stdout.read()
    steps = [record["step"] for record in read_metrics(results)]
    assert steps == sorted(set(steps)) and steps[-1] == 8000 and len(steps) >= 3
