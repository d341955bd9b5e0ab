"""The difficulty-bias report's command: its sources, its success-only teachers, and its mistakes."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.commands.difficulty_report import main
from agentbank_jax.errors import AgentBankError
from tests.bank.made import build_in, recipe_of
from tests.evaluation.made_sweep import make_result, write_result

MATH, WEB = "starter_math", "starter_web"
Y, N = True, False


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve problems of two tasks; those of the first are free text."""
    folder = tmp_path_factory.mktemp("bank")
    build_in(folder, [recipe_of(task, trajectories=12) for task in (MATH, WEB)])
    return folder


def write_sweep(
    folder: Path, outcomes: Mapping[str, Sequence[bool]], *, split: str = "train", seeds: tuple[int, ...] = (0,),
    record: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """A sweep over `starter_math`: for each model, seed by seed, whether it solved each problem."""
    result = make_result(
        {model: {MATH: each} for model, each in outcomes.items()},
        seeds=seeds,
        record={"split": split, **(record or {})},
    )
    return write_result(replace(result, split=split), folder)


def report(output: Path, *flags: object) -> list[dict[str, Any]]:
    assert main([*map(str, flags), f"--output={output}"]) == 0
    return json.loads((output / "difficulty.json").read_text())["tasks"]


def facts(output: Path) -> list[str]:
    return [line for line in (output / "difficulty.md").read_text().split("\n") if line.startswith("- ")]


def sizes(bias: Mapping[str, Any]) -> dict[str, int]:
    return {name: sum(counts) for name, counts in bias["counts"].items()}


def test_a_bank_is_compared_with_its_source_and_annotates_nothing(
    tmp_path: Path, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentbank_jax.bank.difficulty_source.attempt", None)
    math, web = report(tmp_path, f"--bank={bank}")
    assert (math["task"], web["task"]) == (MATH, WEB)
    assert sizes(math) == {"source": 12, "kept": 12} and math["measure"] == "calculations"
    assert f"- success-only teacher of {MATH}: none for this task" in facts(tmp_path)
    (only,) = report(tmp_path, f"--bank={bank}", f"--task={WEB}")
    assert only == web


def test_a_sweeps_successes_are_compared_with_what_was_played_alone(tmp_path: Path, bank: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [Y, N, N, Y, N], "oracle": [Y] * 5}, record={"trained_on": True})
    whole, part, web = report(tmp_path / "report", f"--bank={bank}", f"--success_only={sweep}")
    assert sizes(whole) == {"source": 12, "kept": 12}
    told = json.loads((tmp_path / "report/difficulty.json").read_text())["facts"]
    assert told[MATH] == "12 problems, of which the bank keeps 12; train split"
    assert part["part"] == "the 5 tried" and sizes(part) == {"source": 5, "kept": 5, "success only": 2}
    assert web["task"] == WEB and "success only" not in sizes(web)
    assert facts(tmp_path / "report")[1] == (
        f"- success-only teacher of {MATH}: m: solved 2 of the 5 that it tried of 12; source and kept are restricted "
        "to these beside it; it was trained on 5 of these"
    )


def test_one_try_of_several_is_enough_and_a_dead_environment_is_no_try(tmp_path: Path, bank: Path) -> None:
    tries = write_sweep(tmp_path / "tries", {"m": [Y, N, N, *(N, Y, N)]}, seeds=(0, 1))
    _, part = report(tmp_path / "report", f"--bank={bank}", f"--task={MATH}", f"--success_only={tries}")
    assert sizes(part) == {"source": 3, "kept": 3, "success only": 2}
    assert "solved where one of 2 tries succeeds" in facts(tmp_path / "report")[1]
    dead = write_sweep(tmp_path / "dead", {"m": [Y, N]}, record={"terminate_reason": "environment_error"})
    with pytest.raises(AgentBankError, match="m tried 0 problems"):
        report(tmp_path / "report", f"--bank={bank}", f"--task={MATH}", f"--success_only={dead}")


def test_without_a_bank_what_was_played_is_what_is_annotated(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [Y, N, Y]})
    (bias,) = report(tmp_path / "report", f"--task={MATH}", f"--success_only={sweep}")
    assert sizes(bias) == {"source": 3, "kept": 3, "success only": 2} and not bias["part"]
    test = write_sweep(tmp_path / "test", {"m": [N, Y]}, split="test")
    (bias,) = report(tmp_path / "report", f"--task={MATH}", "--split=test", f"--success_only={test}")
    assert sizes(bias) == {"source": 2, "kept": 2, "success only": 1}


def test_who_played_can_be_said_and_must_be_where_several_did(tmp_path: Path, bank: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [Y, N, N], "n": [Y, Y, N], "random": [N, N, N]})
    flags = [f"--bank={bank}", f"--task={MATH}", f"--success_only={sweep}"]
    with pytest.raises(AgentBankError, match="m, n played; choose one with --model=NAME"):
        report(tmp_path / "report", *flags)
    assert sizes(report(tmp_path / "report", *flags, "--model=n")[1])["success only"] == 2
    assert sizes(report(tmp_path / "report", *flags, "--model=random")[1])["success only"] == 0


def test_a_weak_search_is_a_real_one_over_the_first_problems(tmp_path: Path, bank: Path) -> None:
    flags = [f"--bank={bank}", "--weak_searcher=breadth_first"]
    math, whole, part = report(tmp_path, *flags, "--weak_budget=150", "--instances=8")
    assert "success only" not in sizes(math) and sizes(whole) == {"source": 12, "kept": 12}
    few = sizes(part)["success only"]
    assert sizes(part)["source"] == 8 and 0 < few < 8
    assert "breadth-first search, 150 steps a problem: solved" in facts(tmp_path)[3]
    (all_,) = report(tmp_path, *flags, f"--task={WEB}")
    assert sizes(all_) == {"source": 12, "kept": 12, "success only": 12}
    (bias,) = report(tmp_path, f"--task={WEB}", "--instances=8", "--weak_searcher=breadth_first", "--weak_budget=150")
    assert sizes(bias)["success only"] == few


def test_plans_cut_short_are_called_what_they_are(tmp_path: Path, bank: Path) -> None:
    (bias,) = report(tmp_path, f"--bank={bank}", f"--task={MATH}", "--weak_steps=3", "--measure=actions")
    assert bias["counts"]["success only"][0] == bias["counts"]["source"][0] == sizes(bias)["success only"] > 0
    assert "no solver: the same plans, as if given up after so many steps" in facts(tmp_path)[1]


def test_the_command_compares_a_familys_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "report"
    assert main(["--task=starter_reasoning", "--instances=40", "--weak_steps=3", f"--output={output}"]) == 0
    assert "starter_reasoning" in capsys.readouterr().out
    found = json.loads((output / "difficulty.json").read_text())["tasks"][0]
    kept, weak = found["distances"]
    assert kept["total_variation"] <= 0.05 and weak["total_variation"] >= 3 * max(kept["total_variation"], 0.05)
    text = (output / "difficulty.md").read_text()
    assert "- success-only teacher of starter_reasoning: plans cut short after 3 steps: solved 20 of 40; " in text
    assert "| starter_reasoning | success only | 40 | 20 |" in text
    page = (output / "difficulty.html").read_text()
    assert page.count("<svg") == 1 and "<table>" in page


def test_the_command_takes_the_ids_of_a_teacher(tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("starter_web/train/0\nstarter_web/train/3\n\n")
    flags = ["--task=starter_web", "--instances=8", f"--success_only={ids}", f"--output={tmp_path / 'report'}"]
    assert main(flags) == 0
    assert json.loads((tmp_path / "report/difficulty.json").read_text())["tasks"][0]["distances"][1]["size"] == 2
    ids.write_text("starter_web/train/8\n")
    with pytest.raises(AgentBankError, match="'starter_web/train/8' is success only, and not in the source"):
        main(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no task is named"),
        (["--task=starter_wep"], "Did you mean 'starter_web'"),
        (["--task=starter_web", "--instances=0"], "--instances=0; expected at least 1"),
        (["--task=starter_web", "--split=dev"], "split 'dev' does not exist"),
        (["--task=starter_web", "--success_only=/nowhere"], "--success_only=/nowhere: cannot be read"),
        (
            ["--task=starter_web", "--success_only=x", "--weak_steps=3"],
            "--success_only and --weak_steps are success-only",
        ),
        (["--task=starter_web", "--model=m"], "--model=m: is of --success_only"),
        (["--task=starter_web", "--weak_budget=9"], "--weak_budget=9: is of --weak_searcher"),
        (
            ["--task=starter_web", "--weak_searcher=breadth"],
            "no searcher is called 'breadth'. Did you mean 'breadth_first'",
        ),
        (["--task=starter_math", "--weak_searcher=random"], "--weak_searcher searches environments with a discrete"),
        (["--bank=/nowhere"], "--bank=/nowhere: holds no finished task"),
        (["--bank=/nowhere", "--split=test"], "--split=test: a bank has a split of its own"),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_written(tmp_path: Path, flags: list, message: str) -> None:
    with pytest.raises(AgentBankError, match=message):
        main([*flags, f"--output={tmp_path / 'report'}", *(() if "--instances=0" in flags else ["--instances=4"])])
    assert not (tmp_path / "report").exists()


def test_a_file_of_ids_is_of_one_task(tmp_path: Path, bank: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{MATH}/train/0\n")
    with pytest.raises(AgentBankError, match="name one --task with it"):
        report(tmp_path / "report", f"--bank={bank}", f"--success_only={ids}")
    with pytest.raises(AgentBankError, match="--model=m: chooses who played in a sweep"):
        report(tmp_path / "report", f"--bank={bank}", f"--task={MATH}", f"--success_only={ids}", "--model=m")


@pytest.mark.parametrize(
    ("sweep", "flags", "message"),
    [
        ({"split": "test"}, [], "nobody played train problems there"),
        ({}, [f"--task={WEB}"], f"nobody played {WEB} there"),
        ({}, ["--model=mm"], "--model=mm: did not play .*Did you mean 'm'"),
        ({}, ["--task=starter_maths"], "has no such task. Did you mean 'starter_math'"),
    ],
)
def test_a_sweep_that_cannot_be_taken_is_refused_and_nothing_is_written(
    tmp_path: Path, bank: Path, sweep: dict, flags: list, message: str
) -> None:
    folder = write_sweep(tmp_path / "run", {"m": [Y, N]}, **sweep)
    with pytest.raises(AgentBankError, match=message):
        report(tmp_path / "report", f"--bank={bank}", f"--success_only={folder}", *flags)
    assert not (tmp_path / "report").exists()


def test_help_waits_for_no_heavy_import_and_the_work_needs_neither_jax_nor_tensorflow(
    tmp_path: Path, bank: Path
) -> None:
    code = (
        "import sys\n"
        "from agentbank_jax.commands.difficulty_report import main\n"
        "heavy = {'numpy', 'pyarrow', 'rich', 'jax', 'tensorflow', 'seqio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "main(sys.argv[1:])\n"
        "assert not {'jax', 'tensorflow', 'seqio'} & set(sys.modules)\n"
    )
    sweep = write_sweep(tmp_path / "run", {"m": [Y, N]})
    flags = [f"--bank={bank}", f"--success_only={sweep}", f"--output={tmp_path / 'report'}"]
    subprocess.run([sys.executable, "-c", code, *flags], check=True, capture_output=True)
