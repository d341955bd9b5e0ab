"""The command pairs the episodes of sweeps, writes them whole or not at all, and names mistakes in one line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agentbank_jax.commands.build_pairs import main
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.environments import registry
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.schema import Trajectory, Turn
from tests.evaluation.made_sweep import make_result, write_result

ROOT = Path(__file__).resolve().parents[2]
TASK = "starter_math"
Y, N = True, False


def run(*arguments: object) -> int:
    return report_errors(lambda: main([str(argument) for argument in arguments]))


def write_sweep(
    folder: Path,
    outcomes: Mapping[str, Sequence[bool]],
    *,
    seeds: tuple[int, ...] = (0, 1),
    split: str = "train",
    name: str = "explore",
    record: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """A sweep of one task: for each model, seed by seed, whether it solved each problem."""
    result = make_result(
        {model: {TASK: each} for model, each in outcomes.items()}, name=name, seeds=seeds,
        record={"protocol": registry.get(TASK).protocol, "split": split, **(record or {})}, **facts
    )  # fmt: skip
    (task,) = result.tasks
    for column, records in task.records.items():
        task.records[column] = tuple(
            replace(
                one,
                conversations=(
                    {"from": "human", "value": f"Problem {one.index}."},
                    {"from": "gpt", "value": f"Final Answer: {'right' if one.success else f'wrong {one.seed}'}"},
                ),
            )
            for one in records
        )
    return write_result(replace(result, split=split), folder)


def write_bank(folder: Path, problems: Sequence[int]) -> Path:
    (folder / TASK).mkdir(parents=True)
    trajectories = [
        Trajectory(
            id=f"{TASK}/train/{number}",
            task=TASK,
            turns=(Turn.user(f"Problem {number}."), Turn.assistant("Thought: I know it.\nFinal Answer: right")),
            metadata={"reward": 1.0},
        )
        for number in problems
    ]
    write_parquet(folder / TASK / "train-00000-of-00001.parquet", trajectories)
    return folder


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_successes_and_failures_of_all_seeds_become_pairs_by_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "run", {"m": [Y, Y, N, N, Y, N]})
    assert run(tmp_path / "run", f"--output={tmp_path}/pairs.jsonl") == 0
    shown = capsys.readouterr().out.split("\n")
    assert next(line.split() for line in shown if TASK in line) == [TASK, "3", "1", "33.3", "%", "1", "1", "0"]
    reasons = {tuple(line.split()) for line in shown if TASK in line}
    # What the model said in both seeds at the second problem is the same.
    assert {(TASK, "no_failure", "1"), (TASK, "duplicate", "1"), (TASK, "no_success", "2")} < reasons
    assert shown[-2] == f"{tmp_path}/pairs.jsonl: 1 pairs"
    (row,) = rows_of(tmp_path / "pairs.jsonl")
    instruction = registry.get(TASK).instruction
    assert row["id"] == f"{TASK}/train/0/0" and row["chosen_source"] == "m/react/0" and row["seed"] == 1
    assert row["prompt"] == [
        {"role": "system", "content": instruction},
        {"role": "user", "content": "Problem 0."},
    ]
    assert row["chosen"] == [{"role": "assistant", "content": "Final Answer: right"}]


def test_an_expert_comes_from_a_bank_alone_and_the_oracle_has_no_thoughts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [N, N, Y, N]})
    bank = write_bank(tmp_path / "bank", [0, 1, 7])
    assert run(sweep, f"--bank={bank}", f"--output={tmp_path}/bank.jsonl") == 0
    assert [row["chosen_source"] for row in rows_of(tmp_path / "bank.jsonl")] == ["m/react/1", "expert"]
    assert run(sweep, f"--bank={bank}", "--sources=expert", f"--output={tmp_path}/expert.jsonl") == 0
    assert [row["chosen_source"] for row in rows_of(tmp_path / "expert.jsonl")] == ["expert", "expert"]
    oracle = write_sweep(tmp_path / "other", {"m": [N, N], "oracle": [Y, Y], "random": [N, N]}, seeds=(0,))
    assert run(oracle, f"--output={tmp_path}/oracle.jsonl") == 2
    assert "(2 no_success, 2 no_thoughts, 2 other_player)" in capsys.readouterr().err
    assert run(oracle, f"--bank={bank}", f"--output={tmp_path}/oracle.jsonl") == 0
    assert [row["chosen"][0]["content"] for row in rows_of(tmp_path / "oracle.jsonl")] == [
        "Thought: I know it.\nFinal Answer: right"
    ] * 2


def test_who_is_the_model_can_be_said(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"a": [N], "b": [Y], "random": [N], "oracle": [Y]}, seeds=(0,))
    bank = write_bank(tmp_path / "bank", [0])
    for flags, sources in (
        ([], ("b/react/0", "a/react/0")),
        (["--model=a"], ("expert", "a/react/0")),
        (["--model=random"], ("expert", "random/react/0")),
        (["--model=random", "--model=b"], ("b/react/0", "random/react/0")),
    ):
        assert run(sweep, f"--bank={bank}", f"--output={tmp_path}/x.jsonl", "--overwrite", *flags) == 0
        (row,) = rows_of(tmp_path / "x.jsonl")
        assert (row["chosen_source"], row["rejected_source"]) == sources


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "jsonl.gz"])
def test_the_order_and_the_repetition_of_folders_change_no_byte(tmp_path: Path, ending: str) -> None:
    one = write_sweep(tmp_path / "one", {"m": [Y, N, N, N]})
    two = write_sweep(tmp_path / "two", {"m": [N, N, Y, Y]}, seeds=(2, 3))
    outputs = []
    for number, folders in enumerate(([one, two], [two, one], [tmp_path / "two", one, two])):
        outputs.append(tmp_path / f"{number}.{ending}")
        assert run(*folders, f"--output={outputs[-1]}", "--pairs_per_problem=3") == 0
    assert len({path.read_bytes() for path in outputs}) == 1


def test_parquet_has_the_rows_and_types_of_json_lines(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [Y, N, N, Y]})
    for ending in ("jsonl", "parquet"):
        assert run(sweep, f"--output={tmp_path}/pairs.{ending}") == 0
    table = pq.read_table(tmp_path / "pairs.parquet")
    assert table.to_pylist() == rows_of(tmp_path / "pairs.jsonl")
    messages = {str(table.schema.field(name).type) for name in ("prompt", "chosen", "rejected")}
    assert messages == {"list<element: struct<role: string, content: string>>"}
    assert {name for name in table.column_names if str(table.schema.field(name).type) == "double"} == {
        "chosen_reward", "rejected_reward", "margin",
    }  # fmt: skip


def test_test_problems_and_held_out_tasks_are_refused_unless_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = write_sweep(tmp_path / "test", {"m": [Y, N]}, split="test", seeds=(0, 1))
    held_out = write_sweep(tmp_path / "held", {"m": [Y, N]}, held_out=(TASK,))
    train = write_sweep(tmp_path / "train", {"m": [Y, N]})
    for folder, said in ((test, "the split 'test'"), (held_out, f"{TASK} is held out")):
        assert run(train, folder, f"--output={tmp_path}/pairs.jsonl") == 2
        error = capsys.readouterr().err
        assert said in error and "--allow_test" in error and error.count("\n") == 1
        assert not (tmp_path / "pairs.jsonl").exists()
        assert run(folder, f"--output={tmp_path}/{folder.parent.name}.jsonl", "--allow_test") == 0


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "no folder is named"),
        (["run"], "--output is missing"),
        (["rum", "--output=x.jsonl"], "Did you mean 'run'?"),
        (["bank", "--output=x.jsonl"], "holds no sweep; expected the output of evaluate.py"),
        (["empty", "--output=x.jsonl"], "holds no episodes yet"),
        (["run", "--output=x.txt"], "--output=x.txt: unknown kind of file; expected .parquet"),
        (["run", "--output=gs://b/x.jsonl"], "--output=gs://b/x.jsonl: only local files"),
        (["run", "--output=old.jsonl"], "--output=old.jsonl: exists; choose another, or add --overwrite"),
        (["run", "--output=old.jsonl/below/x.jsonl"], "cannot be written"),
        (["run", "--output=x.jsonl", "--margin=0"], "--margin=0.0: expected"),
        (["run", "--output=x.jsonl", "--margin=wide"], "invalid float value: 'wide'"),
        (["run", "--output=x.jsonl", "--pairs_per_problem=0"], "--pairs_per_problem=0: expected at least 1"),
        (["run", "--output=x.jsonl", "--sources=model,experts"], "Did you mean 'expert'?"),
        (["run", "--output=x.jsonl", "--sources=expert"], "--sources=expert: there is no expert"),
        (["run", "--output=x.jsonl", "--sources=model", "--bank=bank"], "--bank=bank: --sources=model takes no expert"),
        (["run", "--output=x.jsonl", "--bank=bnk"], "--bank=bnk: no such folder. Did you mean 'bank'?"),
        (["run", "--output=x.jsonl", "--bank=run"], "holds no trajectories"),
        (["run", "--output=x.jsonl", "--model=n"], "nobody called 'n' played. Known: m."),
        (["run", "--output=x.jsonl", "--marginn=1"], "Did you mean '--margin'?"),
        (["lost", "--output=x.jsonl"], "no pair among 2 attempts (2 no_success): play more seeds, or add --bank"),
        (["baselines", "--output=x.jsonl"], "--model=NAME takes one of them for the model"),
        (["broken", "--output=x.jsonl"], "none of 1 episodes is a model's that can be used (1 other_protocol)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path / "run", {"m": [Y, N]})
    write_sweep(tmp_path / "lost", {"m": [N, N]})
    write_sweep(tmp_path / "empty", {"m": []})
    write_sweep(tmp_path / "baselines", {"random": [Y, N], "oracle": [Y, Y]})
    write_sweep(tmp_path / "broken", {"m": [Y]}, seeds=(0,), record={"protocol": "calculator/0"})
    write_bank(tmp_path / "bank", [0])
    (tmp_path / "old.jsonl").write_text("old\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert run(*flags) == 2
    said = capsys.readouterr().err
    assert error in said and said.startswith("error: ") and said.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.jsonl").read_text() == "old\n"


def test_a_kill_leaves_nothing_half_written_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [Y, Y, N, N]})
    code = (
        "import os, sys; from agentbank_jax.commands.build_pairs import main\n"
        "from agentbank_jax.trajectories.rows.writers import TextWriter\n"
        "write = TextWriter.write_line\n"
        "def dies(self, line):\n"
        "    if not self._empty: os.kill(os.getpid(), 9)\n"
        "    write(self, line)\n"
        "TextWriter.write_line = dies\n"
        "main(sys.argv[1:])"
    )
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", code, str(sweep), f"--output={tmp_path}/out/pairs.jsonl"]
    died = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (left,) = (tmp_path / "out").iterdir()
    assert left.name.startswith(".pairs.jsonl.")
    assert run(sweep, f"--output={tmp_path}/out/pairs.jsonl") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pairs.jsonl"]
    assert len(rows_of(tmp_path / "out/pairs.jsonl")) == 2


def test_help_waits_for_no_heavy_import_and_the_work_needs_neither_jax_nor_tensorflow(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "run", {"m": [Y, N]})
    bank = write_bank(tmp_path / "bank", [0])
    for arguments, heavy in (
        (["--help"], ("jax", "tensorflow", "seqio", "numpy", "pyarrow", "rich")),
        ([str(sweep), f"--bank={bank}", f"--output={tmp_path}/x.parquet"], ("jax", "tensorflow", "seqio", "torch")),
    ):
        code = (
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from agentbank_jax.commands.build_pairs import main\n"
            f"try: main({arguments!r})\n"
            "except SystemExit: pass\n"
            f"print([name for name in {heavy!r} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout.strip().endswith("[]")
