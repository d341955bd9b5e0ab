"""scripts/report.py as its users meet it."""

import csv
import subprocess
import sys
import time
from pathlib import Path

from tests.evaluation.made_sweep import make_result, write_result
from tests.small_bank import ROOT, run_program

Y, N = True, False


def make_runs(folder: Path) -> None:
    for name, outcomes in (("one", [Y, Y, N, Y]), ("two", [N, Y, N, N])):
        result = make_result({name: {"t": outcomes, "far": outcomes}}, held_out=("far",))
        write_result(result, folder / "runs" / name / "evaluation")


def test_runs_are_compared_and_all_four_forms_are_written(tmp_path: Path) -> None:
    make_runs(tmp_path)
    command = ["scripts/report.py", "runs/one", "runs/two", "--base=two", "--title=Both", "--output=out/here"]
    result = run_program(command, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "75.0 (30–95)" in result.stdout and "report: out/here/report.html" in result.stdout
    assert "+50.0 (+0.0 to +100.0)" in result.stdout
    assert {path.suffix for path in (tmp_path / "out" / "here").iterdir()} == {".md", ".html", ".csv", ".tex"}
    with (tmp_path / "out" / "here" / "report.csv").open(newline="") as file:
        assert [(row["run"], row["task"], row["base"]) for row in csv.DictReader(file)] == [
            ("one", "t", "two"), ("two", "t", ""), ("one", "far", "two"), ("two", "far", ""),
        ]  # fmt: skip
    assert (tmp_path / "out/here/report.md").read_text().startswith("# Both\n")


def test_mistakes_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    make_runs(tmp_path)
    (tmp_path / "file").write_text("")
    for arguments, message in (
        ([], "no folder is named"),
        (["runs/on"], "Did you mean 'runs/one'?"),
        (["runs/one", "--bas=x"], "Did you mean '--base'?"),
        (["runs/one", "--base=on"], "--base=on: nobody of that name played. Did you mean 'one'?"),
        (["runs/one", "--episodes=-1"], "--episodes=-1; expected 0 or more"),
        (["runs/one", "--output=file/below"], "cannot be written"),
    ):
        result = run_program(["scripts/report.py", *arguments], data_dir=tmp_path, cwd=tmp_path)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and message in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "file"}


def test_neither_jax_nor_tensorflow_is_imported(tmp_path: Path) -> None:
    make_runs(tmp_path)
    code = (
        "import sys; from agentbank_jax.commands.report import main; main(['runs/one']); "
        "print([name for name in ('jax', 'tensorflow', 'seqio', 'torch') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0 and result.stdout.endswith("[]\n"), result.stderr


def test_help_answers_within_a_second(tmp_path: Path) -> None:
    def seconds() -> float:
        began = time.monotonic()
        result = run_program(["scripts/report.py", "--help"], data_dir=tmp_path, cwd=tmp_path)
        assert result.returncode == 0 and "--base" in result.stdout
        return time.monotonic() - began

    # The least of three: the machine may be busy with others.
    assert min(seconds() for _ in range(3)) < 1
