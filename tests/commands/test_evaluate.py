"""`evaluate.py` without a checkpoint: who plays, where results go, and what is said where nobody can."""

import json
from pathlib import Path

import pytest

from tests.small_bank import SMALL_SWEEPS, ProgramRunner

SWEEP = ("evaluate.py", "--gin_file=eval/starter_held_in.gin", *SMALL_SWEEPS)
ORACLE = "--gin.SweepConfig.baselines=['oracle']"


def test_baselines_alone_play_and_the_results_lie_in_runs(run_here: ProgramRunner, tmp_path: Path) -> None:
    result = run_here([*SWEEP, ORACLE], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs/evaluation-starter_held_in"
    assert (folder / "starter_held_in/oracle/react/starter_math.jsonl").read_text().count("\n") == 2
    assert "oracle: how it acts" in (folder / "report.md").read_text()

    replay = f"--gin.SweepConfig.models=['recording:{folder}/starter_held_in/oracle/react']"
    again = [*SWEEP, replay, "--gin.SweepConfig.baselines=[]", "--model_dir=other"]
    result = run_here(again, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "recorded-oracle-react" in result.stdout and "100.0" in result.stdout
    assert (tmp_path / "other/starter_held_in/recorded-oracle-react/react/starter_math.jsonl").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "no checkpoint is named, and sweep 'starter_held_in' asks for the baseline 'untrained'"),
        (("--gin.SweepConfig.baselines=[]",), "nobody plays"),
        (("--checkpoint=a", "--watch=a"), "both --checkpoint and --watch are named"),
        ((ORACLE, "--gin.SweepConfig.models=['run']"), "models names run, which is no folder"),
        ((ORACLE, "--gin.SweepConfig.models=['http://127.0.0.1:9/v1']"), "names no model of a server"),
        ((ORACLE, "--gin.SweepConfig.models=['http://127.0.0.1:9/v1#m']"), "http://127.0.0.1:9/v1#m cannot be reached"),
        ((ORACLE, "--gin.SweepConfig.manifests={'m': 'm.json'}"), "manifests names 'm'"),
        ((ORACLE, "--model_dir=gs://bucket/run"), "--model_dir=gs://bucket/run"),
        (
            (ORACLE, "--gin_file=eval/gsm8k.gin"),
            "--gin.SweepConfig.episodes_per_task=2 does not reach every sweep: the gin files bind "
            "gsm8k/SweepConfig.episodes_per_task, which wins; expected --gin.gsm8k/SweepConfig.episodes_per_task=…",
        ),
    ],
)
def test_who_cannot_play_is_one_clear_line(
    flags: tuple[str, ...], message: str, run_here: ProgramRunner, tmp_path: Path
) -> None:
    result = run_here([*SWEEP, *flags], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr


def test_a_training_names_who_cannot_play_after_it_before_it_begins(run_here: ProgramRunner, tmp_path: Path) -> None:
    train = ("train.py", "--gin_file=samoyed_tiny.gin", "--gin.starter_held_in/SweepConfig.models=['absent']")
    result = run_here(train, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and not list(tmp_path.iterdir())
    assert result.stderr.startswith("error: sweep 'starter_held_in': models names absent, which is no folder")


def test_a_dry_run_names_all_who_would_play_and_writes_nothing(run_here: ProgramRunner, tmp_path: Path) -> None:
    models = "--gin.SweepConfig.models=['http://127.0.0.1:9/v1#m']"
    result = run_here([*SWEEP, ORACLE, models, "--dry_run"], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0 and "beside http://127.0.0.1:9/v1#m, oracle" in result.stdout
    assert not list(tmp_path.iterdir())


def test_a_seed_is_that_of_a_sweep_with_seeds_of_its_own_too(run_here: ProgramRunner, tmp_path: Path) -> None:
    seeds = ("--gin.starter_held_in/SweepConfig.seeds=[0, 1]", "--seed=7")
    result = run_here([*SWEEP, ORACLE, *seeds], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = next(tmp_path.rglob("starter_math.jsonl")).read_text().splitlines()
    assert {json.loads(line)["seed"] for line in lines} == {7}
