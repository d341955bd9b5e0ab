"""`python scripts/replay_bank.py`: what does not end as the bank says is counted, and the status says so."""

import dataclasses
import json
from pathlib import Path

import pytest

from agentbank_jax.bank.staging import MANIFEST, hash_file
from agentbank_jax.trajectories.formats.agentbank import read_trajectories, write_parquet
from agentbank_jax.trajectories.schema import Turn
from tests.small_bank import ProgramRunner

SCRIPT = "scripts/replay_bank.py"


@pytest.fixture
def bank(run_here: ProgramRunner, tmp_path: Path) -> Path:
    build = ["scripts/build_bank.py", "--task=starter_math", "--task=starter_web", "--trajectories=24", "--workers=1"]
    assert run_here(build, data_dir=tmp_path / "data", cwd=tmp_path).returncode == 0
    return tmp_path / "data"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_built_bank_replays_whole(bank: Path, run_here: ProgramRunner, tmp_path: Path, workers: int) -> None:
    ended = run_here([SCRIPT, f"--workers={workers}"], data_dir=bank, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.split("\n") if "starter_" in line]
    assert [[word for word in line if word.isdecimal()] for line in lines] == [["12", "12"]] * 2


def test_what_ends_otherwise_is_counted_by_its_reason(bank: Path, run_here: ProgramRunner, tmp_path: Path) -> None:
    (shard,) = (bank / "starter_math").glob("*.parquet")
    first, second, *others = read_trajectories(shard, "starter_math")
    told = dataclasses.replace(first, turns=(*first.turns[:2], Turn.user("Observation: 0"), *first.turns[3:]))
    poorer = dataclasses.replace(second, metadata={**second.metadata, "reward": 0.5})
    write_parquet(shard, [told, poorer, *others])
    restate(bank / "starter_math", shard)
    ended = run_here([SCRIPT, "--task=starter_math", "--workers=1"], data_dir=bank, cwd=tmp_path)
    assert ended.returncode == 1
    assert "other_observation 1, other_reward 1" in ended.stdout and "starter_web" not in ended.stdout
    assert f"{second.id}: other_reward: 1; recorded 0.5" in ended.stdout


def restate(folder: Path, shard: Path) -> None:
    """Lets the manifest describe a changed shard."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (described,) = manifest["shards"]
    described["sha256"] = hash_file(shard)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_bank_with_less_than_its_manifest_says_does_not_pass(
    bank: Path, run_here: ProgramRunner, tmp_path: Path
) -> None:
    (shard,) = (bank / "starter_math").glob("*.parquet")
    shard.unlink()
    (bank / "starter_web" / MANIFEST).write_text("{")
    other = bank / "index"
    other.mkdir()
    (other / MANIFEST).write_text('{"passages": 3}')
    ended = run_here([SCRIPT, "--workers=1"], data_dir=bank, cwd=tmp_path)
    assert ended.returncode == 1
    assert f"starter_math: {shard.name} is missing, or not as its manifest says" in ended.stdout
    assert "starter_web: its manifest cannot be read" in ended.stdout and "index" not in ended.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--bank=nowhere"], "nowhere: holds no task that build_bank.py has made; name another folder with --bank"),
        (["--task=starter_mat"], "holds no task 'starter_mat'. Did you mean 'starter_math'?"),
        (["--every=0"], "--every=0; expected at least 1"),
        (["--workers=0"], "--workers=0: expected at least 1"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(
    bank: Path, run_here: ProgramRunner, tmp_path: Path, flags: list[str], message: str
) -> None:
    ended = run_here([SCRIPT, *flags], data_dir=bank, cwd=tmp_path)
    assert ended.returncode == 2 and message in ended.stderr and ended.stderr.count("\n") == 1
