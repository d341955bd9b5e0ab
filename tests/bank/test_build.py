"""Building a bank: the same bytes for any number of workers, killed or not, and nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentbank_jax.bank.build import build
from agentbank_jax.bank.recipe import STARTER_TASKS, Gsm8kRecipe, StarterRecipe, plan
from agentbank_jax.bank.staging import DROPS, MANIFEST
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from tests.bank.fake import CountingRecipe

ROOT = Path(__file__).resolve().parents[2]


def content(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    root = tmp_path_factory.mktemp("reference")
    build([CountingRecipe()], root, workers=1)
    return content(root / "counting")


def test_shards_hold_the_wanted_number_in_order(tmp_path: Path) -> None:
    (result,) = build([CountingRecipe()], tmp_path, workers=1)
    folder = tmp_path / "counting"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [DROPS, MANIFEST, *(f"train-{number:05d}-of-00005.parquet" for number in range(5))]
    numbers = [int(each.id.rpartition("/")[2]) for each in read_trajectories(f"{folder}/train-*.parquet", "counting")]
    assert len(numbers) == result.rows == result.built_rows == 90
    assert numbers == sorted(numbers)


def test_every_drop_is_counted_and_listed(tmp_path: Path) -> None:
    (result,) = build([CountingRecipe()], tmp_path, workers=1)
    rows = [json.loads(line) for line in (tmp_path / "counting" / DROPS).read_text().split("\n") if line]
    assert {row["reason"] for row in rows} == {"seventh", "duplicate"}
    assert len(rows) == sum(result.drops.values())
    last = max(
        int(each.id.rpartition("/")[2]) for each in read_trajectories(f"{tmp_path}/counting/*.parquet", "counting")
    )
    assert result.rows + len(rows) == last + 1


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_does_not_change_a_byte(
    tmp_path: Path, reference: Mapping[str, bytes], workers: int
) -> None:
    build([CountingRecipe()], tmp_path, workers=workers)
    assert content(tmp_path / "counting") == reference


def test_another_seed_gives_other_bytes(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    build([CountingRecipe(seed=1)], tmp_path, workers=1)
    assert content(tmp_path / "counting") != reference


def test_a_killed_build_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    program = (
        "from agentbank_jax.bank.build import build; from tests.bank.fake import CountingRecipe\n"
        f"build([CountingRecipe(seconds_per_candidate=0.01)], {str(tmp_path)!r}, workers=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True)
    staging = tmp_path / ".counting.building"
    deadline = time.monotonic() + 60
    while not list(staging.glob(".train-00001-*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "counting").exists()
    made = len(list(staging.glob(".train-*.json")))
    assert 2 <= made < 5
    (result,) = build([CountingRecipe()], tmp_path, workers=1)
    assert result.built_rows == 90 - 20 * made
    assert content(tmp_path / "counting") == reference
    assert not staging.exists()


def test_a_shard_whose_bytes_are_wrong_is_made_again(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    build([CountingRecipe()], tmp_path, workers=1)
    shard = tmp_path / "counting" / "train-00002-of-00005.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    build([CountingRecipe()], tmp_path, workers=1)
    assert content(tmp_path / "counting") == reference


def test_a_finished_bank_is_left_as_it_is(tmp_path: Path) -> None:
    build([CountingRecipe()], tmp_path, workers=1)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "counting").iterdir()}
    (result,) = build([CountingRecipe(fails=True)], tmp_path, workers=1)
    assert result.reused
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "counting").iterdir()} == times


def test_other_parameters_replace_a_bank_that_this_project_made(tmp_path: Path) -> None:
    build([CountingRecipe()], tmp_path, workers=1)
    (result,) = build([CountingRecipe(wanted=30)], tmp_path, workers=1)
    assert result.rows == 30
    assert len(list((tmp_path / "counting").glob("*.parquet"))) == 2


def test_data_that_this_project_did_not_make_is_never_replaced(tmp_path: Path) -> None:
    released = tmp_path / "counting" / "train-00000-of-00001.parquet"
    released.parent.mkdir()
    released.write_bytes(b"somebody's")
    with pytest.raises(AgentBankError, match="did not make"):
        build([CountingRecipe()], tmp_path, workers=1)
    assert released.read_bytes() == b"somebody's"


def test_a_finite_source_gives_one_shard_with_all_that_is_kept(tmp_path: Path) -> None:
    (result,) = build([CountingRecipe(wanted=None, candidates=40, shard_rows=None)], tmp_path, workers=1)
    assert [path.name for path in (tmp_path / "counting").glob("*.parquet")] == ["train-00000-of-00001.parquet"]
    assert result.rows + sum(result.drops.values()) == 40


def test_a_family_that_runs_out_says_so_and_leaves_no_bank(tmp_path: Path) -> None:
    class Exhausted(CountingRecipe):
        def make(self, start, stop):  # type: ignore[no-untyped-def]
            return [self._outcome(6)] * (stop - start)

    with pytest.raises(AgentBankError, match=r"only 0 of 90 .*seventh.*--trajectories"):
        build([Exhausted()], tmp_path, workers=1)
    assert not (tmp_path / "counting").exists()


def test_two_builds_in_one_folder_exclude_each_other(tmp_path: Path) -> None:
    raised: list[str] = []

    def during(task: str, rows: int, wanted: int) -> None:
        with pytest.raises(AgentBankError) as error:
            build([CountingRecipe()], tmp_path, workers=1)
        raised.append(str(error.value))

    build([CountingRecipe()], tmp_path, workers=1, progress=during)
    assert raised
    assert "another build_bank.py" in raised[0]


def test_a_request_is_split_evenly_over_the_families() -> None:
    assert [(each.task, each.wanted) for each in plan([], trajectories=12)] == list(
        zip(STARTER_TASKS, (3, 3, 2, 2, 2), strict=True)
    )
    assert [each.wanted for each in plan(["starter_math"])] == [25_000]
    assert [each.wanted for each in plan(["gsm8k"], input_path="x")] == [None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task=starter_maths"], "no task is called 'starter_maths'. Did you mean 'starter_math'?"),
        (["--task=gsm8k"], "--task=gsm8k needs --input=FILE"),
        (["--task=gsm8k", "--input=nowhere.jsonl"], "nowhere.jsonl: cannot be read (No such file or directory)"),
        (["--input=x"], "only --task=gsm8k reads a file"),
        (["--trajectories=3"], "expected at least 5"),
        (["--trajectories=many"], "invalid int value: 'many'"),
        (["--trajectory=3"], "unknown argument '--trajectory=3'. Did you mean '--trajectories'?"),
        (["--task=gsm8k", "--input={rows}", "--output={file}/bank"], "cannot be written (Not a directory)"),
        (["--task=gsm8k", "--input={broken}"], "{broken}:2:answer: ends in '2+3 = <<2+3=5>>5\\nsix'; expected '#### "),
        (["--task=gsm8k", "--input={rows}", "--workers=0"], "--workers=0: expected at least 1"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    good = json.dumps({"question": "How many?", "answer": "2+3 = <<2+3=5>>5\n#### 5"})
    names = {name: tmp_path / name for name in ("rows", "file", "broken")}
    names["rows"].write_text(f"{good}\n")
    names["broken"].write_text(f"{good}\n" + good.replace("#### 5", "six") + "\n")
    names["file"].write_text("")
    command = [each.format(**names) for each in arguments]
    ended = run_command(*command, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert message.format(**names) in ended.stderr
    assert not list((tmp_path / "data").rglob("*.parquet"))


def test_help_answers_within_a_second() -> None:
    started = time.monotonic()
    ended = run_command("--help")
    assert ended.returncode == 0
    assert "--trajectories" in ended.stdout
    assert time.monotonic() - started < 1.0


def test_the_command_prints_a_table_of_drops(tmp_path: Path) -> None:
    rows = ["2+3 = <<2+3=5>>5\n#### 5", "It is <<7=7>>7\n#### 7"]
    lines = [json.dumps({"question": f"How many {answer[0]}?", "answer": answer}) for answer in rows]
    (tmp_path / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    ended = run_command("--task=gsm8k", "--input=rows.jsonl", "--workers=1", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "no_expression" in ended.stdout
    assert [each.id for each in read_trajectories(f"{tmp_path}/data/gsm8k/*.parquet", "gsm8k")] == ["gsm8k/train/1"]


def test_parameters_change_with_input_seed_and_sources(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "Q", "answer": "#### 1"}\n')
    first = Gsm8kRecipe(path=path).parameters()
    assert Gsm8kRecipe(path=path, seed=1).parameters() != first
    assert (
        StarterRecipe(task="starter_web", wanted=5).parameters()
        != StarterRecipe(task="starter_web", wanted=6).parameters()
    )
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "R", "answer": "#### 1"}\n')
    assert Gsm8kRecipe(path=other).parameters() != first


def run_command(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "AGENTBANK_DATA_DIR"}
    command = [sys.executable, str(ROOT / "scripts" / "build_bank.py"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
