"""Building a bank: the same bytes for any number of workers, killed or not, and nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agentbank_jax.bank.chunks import Chunk, LocalChunks, make_chunk
from agentbank_jax.bank.filters.duplicates import ExactDuplicateFilter
from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.bank.staging import DROPS, MANIFEST
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from agentbank_jax.trajectories.schema import Turn
from tests.bank.fake import CountingRecipe
from tests.bank.made import build_in

ROOT = Path(__file__).resolve().parents[2]


def content(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    root = tmp_path_factory.mktemp("reference")
    build_in(root, [CountingRecipe()])
    return content(root / "counting")


def test_shards_hold_the_wanted_number_in_order(tmp_path: Path) -> None:
    (result,) = build_in(tmp_path, [CountingRecipe()])
    folder = tmp_path / "counting"
    names = sorted(path.name for path in folder.iterdir())
    assert names == [DROPS, MANIFEST, *(f"train-{number:05d}-of-00005.parquet" for number in range(5))]
    numbers = [int(each.id.rpartition("/")[2]) for each in read_trajectories(f"{folder}/train-*.parquet", "counting")]
    assert len(numbers) == result.rows == result.built_rows == 90
    assert numbers == sorted(numbers)


def test_every_drop_is_counted_and_listed(tmp_path: Path) -> None:
    (result,) = build_in(tmp_path, [CountingRecipe()])
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
    build_in(tmp_path, [CountingRecipe()], workers=workers)
    assert content(tmp_path / "counting") == reference


def test_another_seed_gives_other_bytes(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    build_in(tmp_path, [CountingRecipe(seed=1)])
    assert content(tmp_path / "counting") != reference


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_makes_no_chunk_twice_and_ends_in_the_same_bytes(
    tmp_path: Path, reference: Mapping[str, bytes], workers: int
) -> None:
    program = (
        "import pathlib; from tests.bank.made import build_in; from tests.bank.fake import CountingRecipe\n"
        "if __name__ == '__main__':\n"
        f"    place = pathlib.Path({str(tmp_path)!r})\n"
        f"    build_in(place, [CountingRecipe(seconds_per_candidate=0.01)], workers={workers})"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True)
    staging = tmp_path / ".counting.building"
    deadline = time.monotonic() + 60
    while not list(staging.glob(".part-00001*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "counting").exists()
    shards = len(list(staging.glob(".part-*.json")))
    chunks = {path.name for path in (staging / "chunks").glob("chunk-*.jsonl")}
    assert 2 <= shards < 5 and chunks
    made = MakingRecipe(made=[])
    (result,) = build_in(tmp_path, [made])
    assert result.built_rows == 90 - 20 * shards
    assert not {f"chunk-{start:09d}-{stop:09d}.jsonl" for start, stop in made.made} & chunks
    assert min(start for start, _ in made.made) > 0
    assert content(tmp_path / "counting") == reference
    assert not staging.exists()


@dataclass(frozen=True, kw_only=True)
class MakingRecipe(CountingRecipe):
    """Notes what it is asked for."""

    made: list[tuple[int, int]]

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        self.made.append((start, stop))
        return super().make(start, stop)


def test_what_is_made_is_not_lost_where_a_later_candidate_fails(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Failing(CountingRecipe):
        def make(self, start: int, stop: int) -> Sequence[Outcome]:
            if start >= 60:
                raise AgentBankError("the server is gone")
            return super().make(start, stop)

    with pytest.raises(AgentBankError, match="the server is gone"):
        build_in(tmp_path, [Failing()])
    made = MakingRecipe(made=[])
    build_in(tmp_path, [made])
    assert min(start for start, _ in made.made) >= 56
    assert content(tmp_path / "counting") == reference


def test_filters_that_compare_see_the_whole_task(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Repeating(CountingRecipe):
        def _outcome(self, number: int) -> Outcome:
            outcome = super()._outcome(number)
            if isinstance(outcome.item, Drop):
                return outcome
            turns = (Turn.user(f"{number % 50}?"), outcome.item.turns[-1])
            said = Turn.assistant(f"Thought: I count.\nFinal Answer: {number % 50}")
            return replace(outcome, item=replace(outcome.item, turns=(turns[0], said)))

    recipe = Repeating(bank_filters=(ExactDuplicateFilter(),))
    (result,) = build_in(tmp_path / "one", [recipe])
    build_in(tmp_path / "two", [recipe], workers=1)
    kept = list(read_trajectories(f"{result.folder}/*.parquet", "counting"))
    assert len({each.turns for each in kept}) == len(kept) == result.rows == 90 - result.drops["exact_duplicate"]
    assert result.drops["exact_duplicate"] > 20
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_the_manifest_says_how_hard_the_source_is_and_what_was_kept(tmp_path: Path) -> None:
    (result,) = build_in(tmp_path, [CountingRecipe()])
    kept = Counter(each.metadata["difficulty"] for each in read_trajectories(f"{result.folder}/*.parquet", "counting"))
    assert dict(result.manifest["difficulty"]["kept"]) == kept
    source = dict(result.manifest["difficulty"]["source"])
    assert sum(source.values()) == result.rows + result.drops["seventh"]
    assert all(source[level] >= kept[level] for level in kept)


def test_a_shard_whose_bytes_are_wrong_is_made_again(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    build_in(tmp_path, [CountingRecipe()])
    shard = tmp_path / "counting" / "train-00002-of-00005.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    build_in(tmp_path, [CountingRecipe()])
    assert content(tmp_path / "counting") == reference


def test_a_finished_bank_is_left_as_it_is(tmp_path: Path) -> None:
    build_in(tmp_path, [CountingRecipe()])
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "counting").iterdir()}
    (result,) = build_in(tmp_path, [CountingRecipe(fails=True)])
    assert result.reused
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "counting").iterdir()} == times


def test_other_parameters_replace_a_bank_that_this_project_made(tmp_path: Path) -> None:
    build_in(tmp_path, [CountingRecipe()])
    (result,) = build_in(tmp_path, [CountingRecipe(wanted=30)])
    assert result.rows == 30
    assert len(list((tmp_path / "counting").glob("*.parquet"))) == 2


def test_data_that_this_project_did_not_make_is_never_replaced(tmp_path: Path) -> None:
    released = tmp_path / "counting" / "train-00000-of-00001.parquet"
    released.parent.mkdir()
    released.write_bytes(b"somebody's")
    with pytest.raises(AgentBankError, match="did not make"):
        build_in(tmp_path, [CountingRecipe()])
    assert released.read_bytes() == b"somebody's"


def test_a_finite_source_gives_one_shard_with_all_that_is_kept(tmp_path: Path) -> None:
    (result,) = build_in(tmp_path, [CountingRecipe(wanted=None, candidates=40, shard_rows=None)])
    assert [path.name for path in (tmp_path / "counting").glob("*.parquet")] == ["train-00000-of-00001.parquet"]
    assert result.rows + sum(result.drops.values()) == 40


def test_a_family_that_runs_out_says_so_and_leaves_no_bank(tmp_path: Path) -> None:
    class Exhausted(CountingRecipe):
        def make(self, start, stop):  # type: ignore[no-untyped-def]
            return [self._outcome(6)] * (stop - start)

    with pytest.raises(AgentBankError, match=r"only 0 of 90 .*seventh.*another annotator"):
        build_in(tmp_path, [Exhausted()])
    assert not (tmp_path / "counting").exists()


def test_a_chunk_that_ends_after_the_bank_leaves_nothing(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Late(CountingRecipe):
        def make(self, start: int, stop: int) -> Sequence[Outcome]:
            (tmp_path / "chunks").rmdir()  # as the end of a build does
            return super().make(start, stop)

    (tmp_path / "chunks").mkdir()
    make_chunk(Late(), Chunk(0, 8), tmp_path / "chunks")
    assert list(tmp_path.iterdir()) == []


def test_a_bank_without_its_drops_is_not_whole(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    build_in(tmp_path, [CountingRecipe()])
    (tmp_path / "counting" / DROPS).unlink()
    (result,) = build_in(tmp_path, [CountingRecipe()])
    assert not result.reused and content(tmp_path / "counting") == reference


def test_two_builds_in_one_folder_exclude_each_other(tmp_path: Path) -> None:
    raised: list[str] = []

    def during(task: str, rows: int, wanted: int) -> None:
        with pytest.raises(AgentBankError) as error:
            build_in(tmp_path, [CountingRecipe()])
        raised.append(str(error.value))

    build_in(tmp_path, [CountingRecipe()], progress=during)
    assert raised
    assert "another build_bank.py" in raised[0]


def test_fewer_than_one_worker_is_refused() -> None:
    with pytest.raises(AgentBankError, match=r"--workers=0: expected at least 1"):
        LocalChunks(0)
