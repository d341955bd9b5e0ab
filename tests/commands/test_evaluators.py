"""A run that measures itself: what it holds out, what it plays meanwhile, and what it says."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from agentbank_jax.commands import arena
from agentbank_jax.commands.arena import Arena
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.models import forward, lora
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.training.trained_models import load_for_inference
from tests.evaluation.conftest import specs as specs
from tests.small_bank import SMALL_TRAINING, ProgramRunner, run_program

MEASURED = [
    "train.py",
    "--gin_file=samoyed_tiny.gin",
    *SMALL_TRAINING,
    "--gin.TrainConfig.steps=4",
    "--gin.TrainConfig.keep_checkpoints=1",
    "--gin.TrainConfig.best_metric=eval/loss",
    "--gin.EvalConfig.share=0.3",
    "--gin.EvalConfig.every=3",
    "--gin.EvalConfig.sweep_every=2",
]


@pytest.fixture(scope="module")
def folder(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run of four steps has measured itself: held-out data at 3 and 4, the arena at 2 and 4."""
    cwd = tmp_path_factory.mktemp("work")
    result = run_program(MEASURED, data_dir=data_dir, cwd=cwd)
    assert result.returncode == 0, result.stderr
    (cwd / "first_output.txt").write_text(result.stdout)
    return cwd


def _records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "runs/samoyed_tiny/metrics.jsonl").open()]


def test_the_figures_stand_among_the_runs_metrics(folder: Path) -> None:
    held_out = {record["step"]: record for record in _records(folder) if "eval/loss" in record}
    assert list(held_out) == [3, 4]
    for record in held_out.values():
        tasks = {name.split("/")[1] for name in record if name.startswith("eval/") and name.count("/") == 2}
        assert tasks and all(task.startswith("starter_") for task in tasks)
        assert 0 < record["eval/loss"] < 10 and 0 <= record["eval/accuracy"] <= 1
    played = {record["step"]: record for record in _records(folder) if "arena/starter_held_in/success" in record}
    assert list(played) == [2, 4] and "arena/starter_held_in/starter_math/reward" in played[2]


def test_nothing_that_is_held_out_is_in_the_manifest(folder: Path) -> None:
    tasks = json.loads((folder / "runs/samoyed_tiny/manifest.json").read_text())["tasks"]
    trained = sum(len(ids) for ids in tasks.values())
    output = (folder / "first_output.txt").read_text()
    assert f"starter: {trained} trajectories" in output and f"held out: {25 - trained} trajectories" in output
    assert 0 < trained < 25


def test_the_last_steps_episodes_are_those_of_the_report(folder: Path) -> None:
    run = folder / "runs/samoyed_tiny"
    assert sorted(path.name for path in (run / "arena").iterdir()) == ["2"]
    # They were found, and not played again, which takes longer than no time.
    assert "starter_held_in: samoyed_tiny: 2 episodes in 0.0 s" in (folder / "first_output.txt").read_text()


def test_the_best_by_held_out_loss_is_kept(folder: Path) -> None:
    losses = {record["step"]: record["eval/loss"] for record in _records(folder) if "eval/loss" in record}
    best = min(losses, key=losses.__getitem__)
    assert load_for_inference(f"{folder / 'runs/samoyed_tiny'}@best")[2]["step"] == best


def test_a_run_does_not_go_on_with_another_share_and_says_which_it_had(
    run_here: ProgramRunner, folder: Path, data_dir: Path
) -> None:
    result = run_here([*MEASURED, "--gin.EvalConfig.share=0.4"], data_dir=data_dir, cwd=folder)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "held_out_share: 0.3 in the checkpoint, 0.4 now" in result.stderr


def test_a_plan_says_what_is_measured(run_here: ProgramRunner, data_dir: Path, tmp_path: Path) -> None:
    # Of a model whose step is not compiled here.
    measured = ["--gin.EvalConfig.share=0.015", "--gin.EvalConfig.every=300", "--gin.EvalConfig.sweep_every=600"]
    files = [
        "--gin_file=samoyed_7b.gin",
        "--gin_file=eval/starter_held_in.gin",
        "--gin.EvalConfig.sweeps=['starter_held_in']",
    ]
    result = run_here(["train.py", *files, *measured, "--dry_run"], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for line in ("1.50% of each task", "on what is held out, every 300 steps", "starter_held_in, every 600 steps"):
        assert line in result.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--gin.EvalConfig.share=0"], "EvalConfig.every=3: nothing is held out of 'starter'"),
        (["--gin.EvalConfig.share=1.0"], "EvalConfig.share=1.0: expected 0 to below 1"),
        (["--gin.EvalConfig.sweeps=['starter_held_inn']"], "EvalConfig.sweeps names 'starter_held_inn'"),
        (["--gin.RunConfig.sweeps=[]"], "No sweep is configured"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_run_begins(
    run_here: ProgramRunner, data_dir: Path, tmp_path: Path, changes: list[str], message: str
) -> None:
    result = run_here([*MEASURED, *changes], data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "runs/samoyed_tiny/checkpoints").exists()


CONFIG = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_layers=1, num_heads=1)
ADAPTED = replace(CONFIG, lora=LoraConfig(projections="q_proj", rank=1))


def _arena(model_dir: Path, config: LlamaConfig) -> Arena:
    return Arena(
        [SweepConfig(tasks=("counting",))],
        config,
        None,  # type: ignore[arg-type]
        model_dir,
        manifest=TrainingManifest(),
        every=5,
        last_step=20,
        last_folder=model_dir / "evaluation",
    )


@pytest.mark.usefixtures("specs")
def test_several_processes_are_told_to_watch_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(AgentBankError, match=r"4 processes train the model, .*evaluate\.py .* --watch="):
        _arena(tmp_path / "run", CONFIG)


@pytest.mark.usefixtures("specs")
def test_adapters_act_merged_into_what_they_belong_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acted = []
    monkeypatch.setattr(arena, "play", lambda sweeps, model, folder, **_: acted.append((model, folder)) or {"a": 1.0})
    params = jax.tree.map(lambda leaf: leaf + 0.5, forward.init(ADAPTED, 1))
    assert dict(_arena(tmp_path / "run", ADAPTED).evaluate(5, params)) == {"a": 1.0}
    ((model, folder),) = acted
    assert folder == tmp_path / "run/arena/5" and model.config == CONFIG
    adapters, base = lora.split(params)
    jax.tree.map(np.testing.assert_array_equal, model.params, lora.merge(ADAPTED.lora, base, adapters))
