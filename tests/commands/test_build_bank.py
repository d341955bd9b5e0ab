"""`python scripts/build_bank.py`: recipes of gin files, what a user may get wrong, and the card."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from agentbank_jax.bank.staging import MANIFEST
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from tests.bank.test_build import content
from tests.small_bank import ROOT, Finished, ProgramRunner

ROWS = ["2+3 = <<2+3=5>>5\n#### 5", "It is <<7=7>>7\n#### 7"]


SCRIPT = "scripts/build_bank.py"

Command = Callable[..., Finished]


@pytest.fixture
def command(run_here: ProgramRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.delenv("AGENTBANK_BENCHMARKS", raising=False)
    return lambda *flags: run_here([SCRIPT, *flags], data_dir=tmp_path / "data", cwd=tmp_path)


def write_rows(path: Path) -> None:
    lines = [json.dumps({"question": f"How many {answer[0]}?", "answer": answer}) for answer in ROWS]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def counted(folder: Path) -> dict[str, int]:
    return {path.parent.name: json.loads(path.read_text())["rows"] for path in folder.glob(f"*/{MANIFEST}")}


def test_help_answers_within_a_second() -> None:
    started = time.monotonic()
    ended = subprocess.run([sys.executable, str(ROOT / SCRIPT), "--help"], capture_output=True, text=True, check=True)
    assert "--trajectories" in ended.stdout
    assert time.monotonic() - started < 1.0


def test_a_number_of_trajectories_is_split_evenly_over_the_tasks(tmp_path: Path, command: Command) -> None:
    assert command("--trajectories=12", "--workers=1").returncode == 0
    assert counted(tmp_path / "data") == {
        "starter_reasoning": 3, "starter_math": 3, "starter_programming": 2, "starter_web": 2, "starter_embodied": 2
    }  # fmt: skip


def test_the_kept_recipe_makes_the_same_bank_again(tmp_path: Path, command: Command) -> None:
    first = command("--task=starter_math", "--task=starter_web", "--trajectories=8", "--seed=3")
    assert first.returncode == 0, first.stderr
    kept = tmp_path / "data/recipes/starter_math+starter_web.gin"
    again = command(f"--gin_file={kept}", "--output=again", "--workers=1")
    assert again.returncode == 0, again.stderr
    for task in ("starter_math", "starter_web"):
        assert content(tmp_path / "data" / task) == content(tmp_path / "again" / task)
    assert "as it was" in command(f"--gin_file={kept}").stdout


def test_a_task_may_have_another_name_than_its_environment(tmp_path: Path, command: Command) -> None:
    (tmp_path / "mine.gin").write_text(
        "mine/RecipeConfig.environment = 'starter_math'\nmine/RecipeConfig.annotator = 'derived'\n"
        "mine/RecipeConfig.trajectories = 3\nmine/RecipeConfig.filters = ['length', 'language']\n"
        "FilterConfig.most_turns = 9\n"
    )
    ended = command("--gin_file=mine.gin", "--output=bank")
    assert ended.returncode == 0, ended.stderr
    assert [each.task for each in read_trajectories(f"{tmp_path}/bank/mine/*.parquet", "mine")] == ["mine"] * 3
    facts = json.loads((tmp_path / "bank/mine" / MANIFEST).read_text())["parameters"]
    assert [each["filter"] for each in facts["filters"]] == ["length", "language"]


def test_an_environment_of_the_users_own_is_built_in_worker_processes_too(tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text(
        "import dataclasses\nfrom agentbank_jax.environments import registry\n"
        "registry.register(dataclasses.replace(registry.get('starter_math'), name='my_math'))\n"
    )
    (tmp_path / "mine.gin").write_text(
        "import my_tasks\nmy_math/RecipeConfig.annotator = 'derived'\nmy_math/RecipeConfig.trajectories = 3\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = [sys.executable, str(ROOT / SCRIPT), "--gin_file=mine.gin", "--allow_imports", "--output=bank"]
    ended = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert counted(tmp_path / "bank") == {"my_math": 3}


def test_the_command_prints_a_table_of_drops_and_describes_the_bank(tmp_path: Path, command: Command) -> None:
    write_rows(tmp_path / "rows.jsonl")
    ended = command("--task=gsm8k", "--input=rows.jsonl", "--workers=1")
    assert ended.returncode == 0, ended.stderr
    assert "no_expression" in ended.stdout
    assert [each.id for each in read_trajectories(f"{tmp_path}/data/gsm8k/*.parquet", "gsm8k")] == ["gsm8k/train/1"]
    _, front, text = (tmp_path / "data/README.md").read_text().split("---\n", 2)
    described = yaml.safe_load(front)
    assert described["license"] == ["mit"]
    assert [each["config_name"] for each in described["configs"]] == ["gsm8k"]
    assert "| gsm8k | math | continuous | 1 | 2.0 | reformatting |" in text
    assert "- **gsm8k**: no_expression 1, of 2 problems." in text


def test_data_are_found_in_the_folder_of_benchmarks(tmp_path: Path, command: Command) -> None:
    write_rows(tmp_path / "benchmarks/gsm8k/train.jsonl")
    ended = command("--task=gsm8k", "--gin.BenchmarkConfig.data_dir=benchmarks")
    assert ended.returncode == 0, ended.stderr
    assert counted(tmp_path / "data") == {"gsm8k": 1}


def test_files_of_others_in_the_banks_folder_are_never_replaced(tmp_path: Path, command: Command) -> None:
    for name in ("README.md", "recipes/starter_math.gin"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("somebody's")
        ended = command("--task=starter_math", "--trajectories=2", "--workers=1")
        assert ended.returncode == 2 and f"{name}: build_bank.py did not write it" in ended.stderr
        assert path.read_text() == "somebody's" and counted(tmp_path / "data") == {}
        path.unlink()
    foreign = tmp_path / "data/index/manifest.json"
    foreign.parent.mkdir()
    foreign.write_text('{"passages": 3}')
    assert command("--task=starter_math", "--trajectories=2", "--workers=1").returncode == 0
    assert foreign.is_file() and "1 tasks" in (tmp_path / "data/README.md").read_text()


def test_a_part_of_a_recipe_is_kept_under_another_name(tmp_path: Path, command: Command) -> None:
    (tmp_path / "two.gin").write_text("include 'bank/starter.gin'\n")
    assert command("--gin_file=two.gin", "--trajectories=5", "--workers=1").returncode == 0
    whole = (tmp_path / "data/recipes/two.gin").read_text()
    assert command("--gin_file=two.gin", "--task=starter_web", "--trajectories=5", "--workers=1").returncode == 0
    assert (tmp_path / "data/recipes/two.gin").read_text() == whole
    assert (tmp_path / "data/recipes/two+starter_web.gin").is_file()


def test_the_recipe_of_many_tasks_has_a_name_that_file_systems_take(tmp_path: Path, command: Command) -> None:
    names = [f"mine_{number}_{'x' * 30}" for number in range(12)]
    (tmp_path / "many.gin").write_text(
        "".join(
            f"{name}/RecipeConfig.environment = 'starter_math'\n{name}/RecipeConfig.annotator = 'derived'\n"
            f"{name}/RecipeConfig.trajectories = 1\n"
            for name in names
        )
    )
    ended = command("--gin_file=many.gin", "--workers=1", *(f"--task={name}" for name in names))
    assert ended.returncode == 0, ended.stderr
    (kept,) = (tmp_path / "data/recipes").iterdir()
    assert kept.name.startswith("many+12_tasks+")


def test_a_plan_is_printed_and_nothing_made(tmp_path: Path, command: Command) -> None:
    ended = command("--trajectories=10", "--dry_run")
    assert ended.returncode == 0, ended.stderr
    assert "starter_web (web, discrete): 2 of problems without end of starter_web, by SearchAnnotator" in ended.stdout
    assert not (tmp_path / "data").exists()


def test_the_bank_is_prepared_for_tfds_with_all_its_tasks(tmp_path: Path, command: Command) -> None:
    tfds = pytest.importorskip("tensorflow_datasets")
    assert command("--task=starter_web", "--trajectories=3", "--workers=1").returncode == 0
    ended = command("--task=starter_math", "--trajectories=4", "--workers=1", "--tfds")
    assert ended.returncode == 0, ended.stderr
    assert f"for TFDS, as array_record, in {tmp_path / 'data/tfds'}: 2 tasks prepared, 0 as they were" in ended.stdout
    for task in ("starter_math", "starter_web"):
        rows = tfds.data_source(f"built_bank/{task}", data_dir=tmp_path / "data/tfds", split="train")
        read = read_trajectories(f"{tmp_path}/data/{task}/*.parquet", task)
        assert [row["id"].decode() for row in rows] == [each.id for each in read]
    again = command("--task=starter_math", "--trajectories=4", "--workers=1", "--tfds")
    assert "0 tasks prepared, 2 as they were" in again.stdout


def test_tfds_is_needed_for_its_flag_alone(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorflow_datasets", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "agentbank_jax.data.tfds_bank", raising=False)
    ended = command("--task=starter_math", "--trajectories=3", "--tfds")
    assert ended.returncode == 2
    assert ended.stderr == "error: --tfds needs TensorFlow Datasets: pip install tensorflow-datasets.\n"
    assert not (tmp_path / "data").exists(), "it is said before the build"
    assert command("--task=starter_math", "--trajectories=3", "--workers=1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task=starter_maths"], "no task is called 'starter_maths'. Did you mean 'starter_math'?"),
        (["--task=gsm8k"], "gsm8k: no folder of benchmarks is named; get it from github.com/openai/grade-school-math"),
        (["--task=gsm8k", "--input=nowhere.jsonl"],
         "nowhere.jsonl is no file; expected train problems from github.com/openai/grade-school-math "
         "(grade_school_math/data/train.jsonl)"),
        (["--task=gsm8k", "--input={test_file}"], "{test_file} is named as test problems are; expected train problems"),
        (["--input=x"], "--input=x: is the training file of one task's published data; expected one --task beside it"),
        (["--task=starter_math", "--input=x"], "--input=x: starter_math reads no published data"),
        (["--trajectories=3"], "expected at least 5"),
        (["--trajectories=many"], "invalid int value: 'many'"),
        (["--trajectory=3"], "unknown argument '--trajectory=3'. Did you mean '--trajectories'?"),
        (["--task=gsm8k", "--input={rows}", "--output={file}/bank"], "cannot be written (Not a directory)"),
        (["--task=gsm8k", "--input={broken}"], "{broken}:2:answer: ends in '2+3 = <<2+3=5>>5\\nsix'; expected '#### "),
        (["--task=gsm8k", "--input={rows}", "--workers=0"], "--workers=0: expected at least 1"),
        (["--gin.starter_math/RecipeConfig.anotator=x"], "has no parameter 'anotator'. Did you mean 'annotator'?"),
        (["--gin.starter_math/RecipeConfig.annotator=derive"], "unknown annotator 'derive'. Did you mean 'derived'?"),
        (["--gin.starter_web/RecipeConfig.searcher=astar"], "unknown searcher 'astar'. Did you mean 'a_star'?"),
        (["--gin.starter_math/RecipeConfig.annotator=heuristic_search"], "starter_math cannot be listed, and so not"),
        (["--gin.tfds/RecipeConfig.environment=starter_web"], "the bank keeps other files in a folder of that name"),
        (["--trajectories=1000000000000"], "expected at most 100,000,000"),
        (["--gin.RecipeConfig.trajectories=3"], "does not reach every task"),
        (["--gin.RecipeConfig.filters=['lenght']"], "no filter is called 'lenght'. Did you mean 'length'?"),
        (["--gin.RecipeConfig.filters=['evaluation_overlap']"], "expected FilterConfig.evaluation=['FILE', …]"),
        (["--gin.starter_web/RecipeConfig.rationales=model"], "recipe 'starter_web' asks a language model, and none"),
        (["--gin.starter_web/RecipeConfig.heuristic=houshold", "--gin.starter_web/RecipeConfig.searcher=a_star"],
         "no search heuristic is called 'houshold'. Did you mean 'household'?"),
        (["--gin.mine/RecipeConfig.environment=starter_bash"], "starter_bash is held out of training; bind mine/"),
        (["--gin.mine/RecipeConfig.environment=starter_maths"], "no environment is called 'starter_maths'"),
        (["--gin.mine/RecipeConfig.environment=starter_math", "--gin.mine/RecipeConfig.annotator=derived"],
         "starter_math makes problems without end; expected mine/RecipeConfig.trajectories=NUMBER"),
        (["--tfds=records"], "argument --tfds: invalid choice: 'records' (choose from"),
        (["--runner=DirectRunner", "--workers=2"], "--workers=2: for processes of this machine"),
        (["--", "--temp_location=x"], "what follows -- is Beam's; expected a --runner before it"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_status_2(
    tmp_path: Path, command: Command, arguments: list[str], message: str
) -> None:
    good = json.dumps({"question": "How many?", "answer": "2+3 = <<2+3=5>>5\n#### 5"})
    names = {name: tmp_path / name for name in ("rows", "file", "broken")}
    names["rows"].write_text(f"{good}\n")
    names["broken"].write_text(f"{good}\n" + good.replace("#### 5", "six") + "\n")
    names["file"].write_text("")
    names["test_file"] = tmp_path / "test.jsonl"
    names["test_file"].write_text(f"{good}\n")
    ended = command(*(each.format(**names) for each in arguments))
    assert ended.returncode == 2, ended.stdout
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert message.format(**names) in ended.stderr
    assert not list((tmp_path / "data").rglob("*.parquet"))
