"""The entry points as one of several processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel.processes import free_port
from tests.small_bank import ROOT, ProgramRunner


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
    arguments = ["evaluate.py", "--gin_file=eval/held_in.gin", "--checkpoint=runs/none"]
    result = run_here([*arguments, *flags], data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and "evaluate.py is process 1 of 2, and works in one" in result.stderr
    result = run_here([*arguments, "--num_processes=1"], data_dir=tmp_path, cwd=tmp_path)
    assert "runs/none" in result.stderr
