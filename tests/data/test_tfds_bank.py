"""A built bank is a dataset of TFDS: its trajectories in their order, whole or not at all, the same bytes again."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from agentbank_jax.data import tfds_bank  # noqa: E402
from agentbank_jax.data.tfds_bank import FileFormat, prepare  # noqa: E402
from agentbank_jax.errors import AgentBankError  # noqa: E402
from agentbank_jax.trajectories.formats.agentbank import read_trajectories, write_parquet  # noqa: E402
from agentbank_jax.trajectories.schema import ROLES  # noqa: E402
from tests.data.test_tfds_builder import expected, read_back  # noqa: E402
from tests.small_bank import ROOT  # noqa: E402
from tests.trajectories.fake import make_trajectory  # noqa: E402

TASKS = ("aa", "bb")


def make_task(bank: Path, task: str, rows: int = 9, *, first: int = 0) -> None:
    """A built task: two shards and their manifest."""
    made = [make_trajectory(number, exchanges=1 + number % 3, system=False, task=task) for number in range(first, 9)]
    shards = []
    for number, part in enumerate((made[: rows // 2], made[rows // 2 : rows])):
        shards.append({"name": f"train-{number:05d}-of-00002.parquet", "rows": len(part), "sha256": str(first)})
        write_parquet(bank / task / str(shards[-1]["name"]), part)
    parameters = {
        "task": task, "skill": "web", "action_space": "discrete", "annotation": "reformatting", "licence": "mit"
    }  # fmt: skip
    manifest = {"parameters": parameters, "rows": rows, "assistant_turns": 3 * rows, "shards": shards}
    (bank / task / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    for task in TASKS:
        make_task(tmp_path, task)
    return tmp_path


def prepared(bank: Path, file_format: FileFormat = "array_record") -> list[str]:
    manifests = {path.parent.name: json.loads(path.read_text()) for path in sorted(bank.glob("*/manifest.json"))}
    return prepare(bank, manifests, file_format=file_format)


def files(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(bank: Path, task: str) -> list[Any]:
    return expected(list(read_trajectories(f"{bank / task}/train-*.parquet", task)))


def run_python(program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_row_is_read_in_its_order_and_without_tensorflow(bank: Path) -> None:
    assert prepared(bank) == list(TASKS)
    program = (
        "import sys\n"
        "import tensorflow_datasets as tfds\n"
        "builder = tfds.builder_from_directory(sys.argv[1])\n"
        "for row in builder.as_data_source(split='train'):\n"
        "    columns = zip(*(row['turns'][name] for name in ('role', 'content', 'trained')))\n"
        "    turns = [(int(role), content, bool(trained)) for role, content, trained in columns]\n"
        "    print((row['id'], row['task'], turns, row['metadata']))\n"
        "print(sorted({'tensorflow', 'agentbank_jax'} & {*sys.modules}))\n"
    )
    for task in TASKS:
        ended = run_python(program, bank / "tfds/built_bank" / task / "1.0.0")
        assert ended.returncode == 0, ended.stderr
        *rows, modules = ended.stdout.splitlines()
        assert rows == [
            repr((name.encode(), of.encode(), turns, facts)) for name, of, turns, facts in rows_of(bank, task)
        ]
        assert len(rows) == 9 and modules == "[]"


def test_tfds_load_reads_files_of_tfrecord(bank: Path) -> None:
    assert prepared(bank, "tfrecord") == list(TASKS)
    dataset, info = tfds.load("built_bank/bb", split="train", data_dir=bank / "tfds", with_info=True)
    assert read_back(dataset) == rows_of(bank, "bb")
    assert info.splits["train"].num_examples == 9 and info.features["turns"]["role"].names == list(ROLES)


def test_it_is_described(bank: Path) -> None:
    prepared(bank)
    info = tfds.builder_from_directory(str(bank / "tfds/built_bank/aa/1.0.0")).info
    assert info.redistribution_info.license == "mit"
    # TFDS names its own catalogue where a dataset names no homepage.
    assert not info.as_proto.location.urls and info.homepage.startswith("https://www.tensorflow.org/")
    assert info.description == (
        "Interaction trajectories for the fine-tuning of language agents, built with agentbank_jax."
    )
    assert info.config_description == (
        "9 trajectories, skill web, discrete actions, found by reformatting; 27 turns of the agent."
    )
    assert info.metadata["manifest"] == json.loads((bank / "aa/manifest.json").read_text())


def test_what_is_prepared_stays_until_its_trajectories_or_the_format_change(bank: Path) -> None:
    prepared(bank)
    first = {path: path.stat().st_mtime_ns for path in (bank / "tfds").rglob("*")}
    assert prepared(bank) == []
    assert {path: path.stat().st_mtime_ns for path in (bank / "tfds").rglob("*")} == first
    make_task(bank, "bb", rows=5, first=3)
    assert prepared(bank) == ["bb"]
    source = tfds.data_source("built_bank/bb", data_dir=bank / "tfds", split="train")
    assert [row["id"].decode() for row in source] == [name for name, *_ in rows_of(bank, "bb")]
    assert prepared(bank, "tfrecord") == list(TASKS)
    assert not list((bank / "tfds").rglob("*array_record*"))


def test_a_killed_preparation_leaves_no_part_and_ends_in_the_same_bytes(bank: Path, tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from agentbank_jax.data import tfds_bank\n"
        "from tests.data.test_tfds_bank import prepared\n"
        "of = tfds_bank.examples\n"
        "def examples(rows):\n"
        "    for number, example in of(rows):\n"
        "        if example['task'] == 'bb' and number == 6:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield number, example\n"
        "tfds_bank.examples = examples\n"
        "prepared(pathlib.Path(sys.argv[1]))\n"
    )
    ended = run_python(program, bank)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    made = files(bank / "tfds/built_bank")
    assert any("aa/" in name for name in made) and not any("bb/" in name for name in made)
    assert list((bank / "tfds/.building").iterdir()), "the killed one had begun"
    assert prepared(bank) == ["bb"]
    assert [path.name for path in (bank / "tfds").iterdir()] == ["built_bank"]
    again = tmp_path / "again"
    for task in TASKS:
        make_task(again, task)
    prepared(again)
    assert files(bank / "tfds") == files(again / "tfds")


@pytest.mark.parametrize("gone", [False, True])
def test_a_task_without_trajectories_is_left_out_and_what_was_there_deleted(bank: Path, gone: bool) -> None:
    prepared(bank)
    if gone:
        (bank / "aa/manifest.json").unlink()
    else:
        make_task(bank, "aa", rows=0)
    assert prepared(bank) == []
    assert [path.name for path in (bank / "tfds/built_bank").iterdir()] == ["bb"]


def test_a_folder_that_cannot_be_written_is_one_line(bank: Path) -> None:
    (bank / "tfds").write_text("")
    with pytest.raises(AgentBankError, match=r"tfds: cannot be written \(Not a directory\)\.$"):
        prepared(bank)


def test_a_format_whose_package_is_missing_says_so(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(tfds_bank.importlib.util, "find_spec", lambda name: names.append(name))  # type: ignore[attr-defined]
    with pytest.raises(AgentBankError, match=r"^--tfds=tfrecord needs tensorflow: pip install tensorflow\.$"):
        prepared(bank, "tfrecord")
    assert names == ["tensorflow"] and not (bank / "tfds").exists()
