"""What machines do to a run, done to `train.py` by the script that does it a hundred times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def survived(tmp_path: Path, *flags: str) -> dict:
    result = subprocess.run(
        [sys.executable, "scripts/fault_test.py", f"--json={tmp_path / 'faults.json'}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads((tmp_path / "faults.json").read_text())


def test_a_run_survives_a_few_faults_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    found = survived(tmp_path, "--faults=4", "--kinds=kill,checkpoint,signal,damage,truncation", "--seed=5")
    assert found["survived"] == 4 and sum(found["kinds"].values()) == 4


@pytest.mark.slow
def test_a_run_survives_twenty_faults_of_every_kind(tmp_path: Path) -> None:
    assert survived(tmp_path, "--faults=20")["survived"] == 20


def test_a_kind_that_is_not_known_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "scripts/fault_test.py", "--kinds=kil"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "--kinds=kil" in result.stderr
