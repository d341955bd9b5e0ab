"""The entry points as one of several processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel.processes import Ended, free_port, run_together
from tests.small_bank import ROOT, SMALL_TRAINING, ProgramRunner


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_the_flags_stand_in_help(program: str) -> None:
    text = subprocess.run([sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True).stdout
    for flag in ("--coordinator_address", "--num_processes", "--process_id", "--initialization_timeout"):
        assert flag in text


def test_reading_the_flags_imports_no_jax() -> None:
    code = (
        "import sys\nimport agentbank_jax.configuration.command_line, agentbank_jax.parallel.distributed\n"
        "assert not {'jax', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_train_waits_for_the_others_before_anything_else(run_here: ProgramRunner, tmp_path: Path) -> None:
    flags = [f"--coordinator_address=localhost:{free_port()}", "--num_processes=2", "--initialization_timeout=1"]
    result = run_here(
        ["train.py", "--gin_file=samoyed_tiny.gin", "--process_id=0", *flags], data_dir=tmp_path, cwd=tmp_path
    )
    assert result.returncode == 2 and not list(tmp_path.iterdir())
    assert result.stderr.startswith("error: process 1 of 2 did not come up within 1 s")


def test_evaluate_refuses_to_play_the_same_episodes_in_several_processes(
    run_here: ProgramRunner, tmp_path: Path
) -> None:
    flags = ["--coordinator_address=localhost:1", "--num_processes=2", "--process_id=1"]
    arguments = ["evaluate.py", "--gin_file=eval/starter_held_in.gin", "--checkpoint=runs/none"]
    result = run_here([*arguments, *flags], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and "evaluate.py is process 1 of 2, and works in one" in result.stderr
    result = run_here([*arguments, "--num_processes=1"], data_dir=tmp_path, cwd=tmp_path)
    assert "runs/none" in result.stderr


def _together(folder: Path, data_dir: Path, *flags: list[str]) -> list[Ended]:
    """Two processes of one training that differ in some flags, in the same folder."""
    port = free_port()
    shared = ["--num_processes=2", f"--coordinator_address=localhost:{port}", "--gin.MeshConfig.data=-1"]
    command = [str(ROOT / "train.py"), "--gin_file=samoyed_tiny.gin", *SMALL_TRAINING, f"--model_dir={folder}/run"]
    return run_together(
        [
            ([*command, *shared, f"--process_id={index}", *own], {"AGENTBANK_DATA_DIR": str(data_dir)})
            for index, own in enumerate(flags)
        ]
    )


@pytest.mark.parametrize(
    ("flag", "difference"),
    [
        ("--gin.OptimizerConfig.learning_rate=0.01", "  OptimizerConfig.learning_rate: 0.02 on 0, 0.01 on 1\n"),
        ("--model_dir=elsewhere", f"on 0, {ROOT}/elsewhere on 1\n"),
    ],
)
def test_processes_with_other_settings_are_refused_and_the_difference_shown(
    data_dir: Path, tmp_path: Path, flag: str, difference: str
) -> None:
    for ended in _together(tmp_path, data_dir, [], [flag]):
        assert ended.returncode == 2, ended.stderr
        assert "error: Process 1 was started with other settings than process 0" in ended.stderr
        assert difference in ended.stderr
    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize("failing", [0, 1])
def test_a_process_that_fails_before_the_training_keeps_nobody_waiting(
    data_dir: Path, tmp_path: Path, failing: int
) -> None:
    flags: list[list[str]] = [[], []]
    flags[failing] = ["--gin.TrainConfig.stepz=3"]
    ended = _together(tmp_path, data_dir, *flags)
    assert [each.returncode for each in ended] == [2, 2], ended
    assert "Did you mean 'steps'" in ended[failing].stderr
    assert f"error: Process {failing} has ended before the training began" in ended[1 - failing].stderr
