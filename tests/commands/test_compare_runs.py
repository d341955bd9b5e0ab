"""scripts/compare_runs.py as its users meet it."""

import time
from pathlib import Path

from tests.small_bank import run_program
from tests.training.made_run_folders import make_run


def test_a_comparison_is_shown_in_full_and_written_as_a_page(tmp_path: Path) -> None:
    names = [f"a_run_with_a_long_name_{number}" for number in range(9)]
    for number, name in enumerate(names):
        make_run(tmp_path / "runs" / name, [2.0, 1.5], settings=f"TrainConfig.seed = {number}\n")
    command = ["scripts/compare_runs.py", *(f"runs/{name}" for name in names), "--html=out/page.html"]
    result = run_program(command, data_dir=tmp_path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(result.stdout.count(name) == 3 for name in names) and "\N{HORIZONTAL ELLIPSIS}" not in result.stdout
    assert "TrainConfig.seed" in result.stdout and "html: out/page.html" in result.stdout
    assert (tmp_path / "out" / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_mistakes_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "one", [1.0])
    (tmp_path / "folder").mkdir()
    for arguments, message in (
        ([], "no run is named"),
        (["runs/on"], "Did you mean 'runs/one'?"),
        (["runs/one", "--htm=x"], "Did you mean '--html'?"),
        (["runs/one", "--html=folder"], "--html=folder: cannot be written"),
    ):
        result = run_program(["scripts/compare_runs.py", *arguments], data_dir=tmp_path, cwd=tmp_path)
        assert result.returncode == 2 and result.stderr.count("\n") == 1 and message in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "folder"}


def test_help_answers_within_a_second(tmp_path: Path) -> None:
    def seconds() -> float:
        began = time.monotonic()
        result = run_program(["scripts/compare_runs.py", "--help"], data_dir=tmp_path, cwd=tmp_path)
        assert result.returncode == 0 and "comparison.html" in result.stdout
        return time.monotonic() - began

    # The least of three: the machine may be busy with others.
    assert min(seconds() for _ in range(3)) < 1
