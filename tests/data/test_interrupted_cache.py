"""A cache is the same however it came about: by how many processes, how often killed, and with whom beside it."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from agentbank_jax.data.shard_workers import LocalWorkers, ShardJob
from agentbank_jax.data.token_cache import build_cache
from agentbank_jax.data.token_shards import ShardRecipe
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import row_from_trajectory
from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.data import run_build_cache
from tests.data.sharded import ROWS, SHARDS, build, content
from tests.small_bank import ROOT, environment
from tests.trajectories.fake import make_trajectory


class Recorded:
    """Makes shards in this process, and remembers which."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]:
        self.names += [source.name for source, _ in jobs]
        yield from LocalWorkers(1)(jobs, recipe)


def start(folder: Path, workers: int, kill_after: int = 0) -> "subprocess.Popen[str]":
    program = [sys.executable, run_build_cache.__file__, str(folder), str(workers), str(kill_after)]
    return subprocess.Popen(program, cwd=ROOT, env=environment(folder), stderr=subprocess.PIPE, text=True)


def killed(folder: Path, workers: int, after: int) -> set[str]:
    """Runs a build that is killed; returns the shards that it leaves."""
    process = start(folder, workers, after)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert not [path for path in (folder / "cache").iterdir() if not path.name.startswith(".")], "nothing unfinished"
    return {path.name for path in (folder / "cache").glob(".*/shard-*.npz")}


def test_the_number_of_processes_changes_no_byte(sharded_bank: Path) -> None:
    caches = [build(sharded_bank, name, LocalWorkers(count)) for name, count in (("one", 1), ("three", 3))]
    assert len(caches[0].tasks[0].manifest["shards"]) == SHARDS
    assert caches[0].tasks[0].manifest["counts"]["split"] > 0, "otherwise this shows less"
    assert content(sharded_bank / "one") == content(sharded_bank / "three")
    assert caches[0].fingerprint == caches[1].fingerprint


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_with_the_missing_shards(sharded_bank: Path, workers: int) -> None:
    build(sharded_bank, "uninterrupted")
    left = killed(sharded_bank, workers, 2)
    more = killed(sharded_bank, workers, 3)
    # Processes may be ahead of the one that counts.
    assert left <= more and (len(left), len(more)) >= (2, 5)
    assert workers > 1 or (len(left), len(more)) == (2, 5)
    # One that is damaged counts as missing.
    (damaged,) = (sharded_bank / "cache").glob(f".*/{min(left)}")
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    made = Recorded()
    build(sharded_bank, make=made)
    names = {f"shard-{number:05d}-of-{SHARDS:05d}.npz" for number in range(SHARDS)}
    assert set(made.names) == names - more | {min(left)} and len(made.names) == len(set(made.names))
    assert content(sharded_bank / "cache") == content(sharded_bank / "uninterrupted")


def test_a_build_that_is_killed_before_its_last_step_makes_no_shard_again(sharded_bank: Path) -> None:
    build(sharded_bank, "uninterrupted")
    assert len(killed(sharded_bank, 1, SHARDS)) == SHARDS
    made = Recorded()
    build(sharded_bank, make=made)
    assert made.names == []
    assert content(sharded_bank / "cache") == content(sharded_bank / "uninterrupted")


def test_several_processes_at_once_make_one_cache(sharded_bank: Path) -> None:
    processes = [start(sharded_bank, 1) for _ in range(3)]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    build(sharded_bank, "alone")
    assert content(sharded_bank / "cache") == content(sharded_bank / "alone")


def test_a_bad_row_leaves_nothing_whoever_reads_it(sharded_bank: Path) -> None:
    (sharded_bank / "made" / "train-00000-of-00001.parquet").unlink()
    rows = [row_from_trajectory(make_trajectory(n, system=False)) for n in range(ROWS)]
    rows[57]["conversations"][0]["value"] = 3
    (sharded_bank / "made" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for workers in (1, 2):
        with pytest.raises(AgentBankError, match=r"train.jsonl, row 57, field conversations\[0\].value: 3; expected"):
            build(sharded_bank, make=LocalWorkers(workers))
        assert not list((sharded_bank / "cache").iterdir())


def test_what_another_cause_cuts_short_is_kept(sharded_bank: Path) -> None:
    def two_shards(jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]:
        yield from LocalWorkers(1)(jobs[:2], recipe)
        raise AgentBankError("a worker process was killed")

    with pytest.raises(AgentBankError, match=r"killed"):
        build(sharded_bank, make=two_shards)
    made = Recorded()
    build(sharded_bank, make=made)
    assert len(made.names) == SHARDS - 2


def test_an_unknown_policy_is_refused_before_anything_is_written(sharded_bank: Path) -> None:
    with pytest.raises(AgentBankError, match=r"'drp' is unknown. Did you mean 'drop'"):
        build_cache(
            "made",
            Llama2Template(Tokenizer.load(sharded_bank / "v.model")),
            max_length=200,
            data_dir=sharded_bank,
            cache_dir=sharded_bank / "cache",
            over_long="drp",  # type: ignore[arg-type]
        )
    assert not (sharded_bank / "cache").exists()


def test_no_worker_is_an_error() -> None:
    with pytest.raises(AgentBankError, match=r"--workers=0: expected at least 1"):
        LocalWorkers(0)
