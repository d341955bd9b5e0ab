"""From files in three layouts and a gin file to an inspected, trained-on mixture at the configured rates."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agentbank_jax.data.declarations import get_mixture
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.samoyed import SamoyedConfig, configure_samoyed
from agentbank_jax.data.token_cache import build_cache
from agentbank_jax.trajectories.formats.agentbank import write_parquet
from agentbank_jax.trajectories.templates.registry import get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.small_bank import SMALL_MODEL, ProgramRunner
from tests.trajectories.fake import make_trajectory

ROWS = 4
GENERAL_ROWS, CODE_ROWS = 6, 8

GIN = """
include 'data/samoyed.gin'
include 'models/tiny.gin'
include 'meshes/one_device.gin'
VOCABULARY_SIZE = 420
DataConfig.max_length = 400
DataConfig.tokenizer = 'vocabulary/samoyed.model'
SamoyedConfig.agentbank_rate = 2.0
SamoyedConfig.general_rate = 0.5
SamoyedConfig.code_rate = 1.0
SamoyedConfig.general_files = ['chats/*.json']
TrainConfig.steps = 2
TrainConfig.batch_size = 2
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    data = tmp_path / "data"
    for name in get_mixture("agentbank").rates:
        rows = [make_trajectory(number, system=False, task=name) for number in range(ROWS)]
        write_parquet(data / name / "train-00000-of-00001.parquet", rows)
    (data / "chats").mkdir()
    (data / "code").mkdir()
    chats = [
        {
            "system": "Be brief.",
            "conversations": [{"from": "human", "value": f"lamp {n}?"}, {"from": "gpt", "value": "bread"}],
        }
        for n in range(GENERAL_ROWS)
    ]
    (data / "chats/sharegpt.json").write_text(json.dumps(chats))
    with (data / "code/openai.jsonl").open("w") as file:
        for n in range(CODE_ROWS):
            messages = [{"role": "user", "content": f"print {n}"}, {"role": "assistant", "content": f"print({n})"}]
            file.write(json.dumps({"messages": messages}) + "\n")
    (tmp_path / "mine.gin").write_text(GIN)
    yield data
    configure_samoyed(SamoyedConfig())


def test_a_gin_file_mixes_own_files_with_the_bank(run_here: ProgramRunner, data_dir: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = run_here(list(arguments), data_dir=data_dir, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    run("scripts/train_vocabulary.py", "--gin_file=mine.gin", "--vocab_size=420")
    total = 16 * ROWS + GENERAL_ROWS + CODE_ROWS
    assert run("scripts/cache_tasks.py", "--gin_file=mine.gin").startswith(f"{total} trajectories")
    folders = sorted(path.name for path in (data_dir / "token_cache").iterdir())
    shown = run("scripts/inspect_mixture.py", "--gin_file=mine.gin", "--json=report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {row["name"]: (row["skill"], row["rate"], row["trajectories"]) for row in report["tasks"]}
    assert len(rows) == 18 and rows["samoyed_general"] == ("general", 0.5, 6)
    assert rows["samoyed_code"] == ("general", 1.0, 8) and rows["alfworld"] == ("embodied", 2.0, 4)
    # The system turn that a conversation brings, and none where it brings none.
    assert "<<SYS>>\nBe brief.\n<</SYS>>" in shown and "<s> [INST] print" in shown
    run("train.py", "--gin_file=mine.gin", *SMALL_MODEL, "--model_dir=runs/mine")
    # The run itself can be inspected too.
    run("scripts/inspect_mixture.py", "--gin_file=runs/mine/operative_config.gin", "--json=again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == report
    # Training read what the commands made, and they what training made.
    assert sorted(path.name for path in (data_dir / "token_cache").iterdir()) == folders
    manifest = json.loads((tmp_path / "runs/mine/manifest.json").read_text())["tasks"]
    assert len(manifest) == 18 and len(manifest["samoyed_general"]) == GENERAL_ROWS
    assert "SamoyedConfig.general_rate = 0.5" in (tmp_path / "runs/mine/operative_config.gin").read_text()

    template = get_template("llama2", Tokenizer.load(data_dir / "vocabulary/samoyed.model"))
    cache = build_cache(
        "samoyed", template, max_length=400, data_dir=data_dir, cache_dir=data_dir / "token_cache",
        over_long="truncate_at_turn",
    )  # fmt: skip
    batches = PackedBatches(cache, batch_size=2, length=400)
    drawn = np.searchsorted(cache.starts, batches.examples_of_epoch(0), side="right") - 1
    counts = dict(zip(manifest, np.bincount(drawn).tolist(), strict=True))
    assert counts.pop("samoyed_general") == 3 and counts.pop("samoyed_code") == 8
    assert set(counts.values()) == {2 * ROWS}
    packed = sum(
        len(set(row[row > 0].tolist()))
        for step in range(batches.steps_per_epoch)
        for row in batches.batch_at(step)["segment_ids"]
    )
    assert packed == 16 * 2 * ROWS + 3 + 8


def test_flags_go_before_the_gin_file(run_here: ProgramRunner, data_dir: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["--gin_file=mine.gin"], "samoyed.model"),
        (["--gin_file=mine.gin", "--tokenizer=here.model"], f"{tmp_path}/here.model"),
        (["--gin_file=data/starter.gin", "--data_dir=nowhere"], "no trajectories in nowhere/starter_reasoning"),
        (["--gin_file=data/starter.gin", "--mixture=samoyed_code", "--tokenizer=here.model"], "here.model"),
        (["--gin.DataConfig.mixture=samoyde"], "Did you mean 'samoyed'"),
        (["--gin_file=mine.gin", "--gin.SamoyedConfig.code_rate=much"], "SamoyedConfig.code_rate = 'much'"),
    ):
        result = run_here(["scripts/inspect_mixture.py", *arguments], data_dir=data_dir, cwd=tmp_path)
        assert result.returncode == 2 and message in result.stderr, result.stderr
        assert "Traceback" not in result.stderr and result.stderr.count("\n") == 1


def test_missing_parts_are_named_a_line_each_before_training(
    run_here: ProgramRunner, data_dir: Path, tmp_path: Path
) -> None:
    arguments = ["train.py", "--gin_file=mine.gin", "--gin.SamoyedConfig.code_files=['programs', './elsewhere.json']"]
    result = run_here(arguments, data_dir=data_dir, cwd=tmp_path)
    assert result.returncode == 2
    _, *lines = result.stderr.strip().split("\n")
    assert [line.split(":")[0].strip() for line in lines] == ["bank", "tokenizer"]
    assert f"no trajectories in {data_dir}/programs" in lines[0] and "code_rate=0" in lines[0]
