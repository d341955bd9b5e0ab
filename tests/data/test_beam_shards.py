"""Beam makes the same cache as this machine's processes, and what a user gets wrong is one line.

Needs Apache Beam (the extra `beam`); without it only that its absence is said.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentbank_jax.data.command import cache_tasks
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import row_from_trajectory
from tests.beam_pipelines import count_files, hide_beam, needs_beam
from tests.data.sharded import ROWS, SHARDS, build, content
from tests.trajectories.fake import make_trajectory


def cache(folder: Path, name: str, *further: str) -> int:
    flags = ["--mixture=made", f"--data_dir={folder}", f"--tokenizer={folder / 'v.model'}", "--max_length=200"]
    return cache_tasks([*flags, "--over_long=split_at_turn", f"--cache_dir={folder / name}", *further])


def shards(folder: Path) -> set[str]:
    return {os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name.startswith("shard-")}


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of shards of each pipeline that runs."""
    return count_files(monkeypatch)


@needs_beam
def test_beam_makes_the_same_cache(sharded_bank: Path, pipelines: list[int]) -> None:
    assert cache(sharded_bank, "beam", "--runner=DirectRunner", "--", "--direct_num_workers=2") == 0
    local = build(sharded_bank, "local")
    assert content(sharded_bank / "beam") == content(sharded_bank / "local")
    assert pipelines == [SHARDS] and len(local.tasks[0].manifest["shards"]) == SHARDS
    # It is there already.
    assert build(sharded_bank, "beam").fingerprint == local.fingerprint


@needs_beam
def test_workers_elsewhere_get_the_bank_and_leave_the_shards_in_the_temporary_location(
    sharded_bank: Path, pipelines: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentbank_jax.data import beam_shards

    staging = sharded_bank / "staging"
    flags = ("--runner=DirectRunner", "--", f"--temp_location={staging}")
    read: list[str] = []
    copy_of = beam_shards._copy_of

    def recorded(file: str) -> Path:
        read.append(file)
        return copy_of(file)

    monkeypatch.setattr(beam_shards, "_copy_of", recorded)
    # A first run ends before its shards are taken: they are not made again.
    with monkeypatch.context() as patch:
        patch.setattr(beam_shards, "read_file", lambda target: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache(sharded_bank, "beam", *flags)
    assert len(shards(staging)) == SHARDS and len(read) == SHARDS
    assert all(file.startswith(str(staging)) for file in read)
    for shard in sorted(shards(staging))[:3]:
        os.unlink(shard)
    assert cache(sharded_bank, "beam", *flags) == 0
    assert pipelines == [SHARDS, 3]
    assert not shards(staging), "nothing is left there"
    build(sharded_bank, "local")
    assert content(sharded_bank / "beam") == content(sharded_bank / "local")


@needs_beam
@pytest.mark.parametrize("staged", [False, True])
def test_a_bad_row_is_named_and_leaves_nothing(sharded_bank: Path, staged: bool) -> None:
    (sharded_bank / "made" / "train-00000-of-00001.parquet").unlink()
    rows = [row_from_trajectory(make_trajectory(n, system=False)) for n in range(ROWS)]
    rows[57]["conversations"][0]["value"] = 3
    file = sharded_bank / "made" / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--", f"--temp_location={sharded_bank / 'staging'}") if staged else ()
    with pytest.raises(AgentBankError, match=rf"^{file}, row 57, field conversations\[0\].value: 3; expected"):
        cache(sharded_bank, "beam", "--runner=DirectRunner", *options)
    assert not list((sharded_bank / "beam").iterdir())
    assert not shards(sharded_bank / "staging")


@needs_beam
def test_a_shard_that_no_worker_could_leave_is_named(sharded_bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentbank_jax import beam_pipeline

    monkeypatch.setattr(beam_pipeline.BeamPipeline, "_run", lambda *arguments: None)
    with pytest.raises(AgentBankError, match=r"shard-00000-of-00010.npz: the pipeline ended without this shard; expec"):
        cache(sharded_bank, "beam", "--runner=DirectRunner")


@needs_beam
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=DirectRuner"], r"--runner=DirectRuner: Beam knows no such runner. Did you mean '.*DirectRunner'"),
        (["--runner=no.such.Runner"], r"^--runner=no.such.Runner: Beam refuses it or its options \(No module"),
        (["--runner=DataflowRunner"], r"^--runner=DataflowRunner: Beam refuses it or its options \("),
        (["--runner=DirectRunner", "--", "--temp_location={file}/x"], r"^--temp_location=/.*/x: cannot be written \("),
        (["--runner=DirectRunner", "--workers=2"], r"--workers=2: for processes of this machine"),
    ],
)
def test_mistakes_in_flags_are_one_line(sharded_bank: Path, flags: Sequence[str], message: str) -> None:
    with pytest.raises(AgentBankError, match=message) as caught:
        cache(sharded_bank, "beam", *(flag.format(file=sharded_bank / "v.model") for flag in flags))
    assert "\n" not in str(caught.value)


def test_options_of_a_pipeline_need_a_runner(sharded_bank: Path) -> None:
    with pytest.raises(AgentBankError, match=r"-- --temp_location=x: what follows -- is Beam's; expected a --runner"):
        cache(sharded_bank, "beam", "--", "--temp_location=x")


def test_a_missing_beam_says_how_to_get_it(sharded_bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_beam(monkeypatch, "agentbank_jax.data.beam_shards")
    with pytest.raises(AgentBankError, match=r"^--runner needs Apache Beam: pip install 'agentbank_jax\[beam\]'.$"):
        cache(sharded_bank, "beam", "--runner=DirectRunner")


def test_beam_is_imported_for_a_runner_alone(sharded_bank: Path) -> None:
    was_there = "apache_beam" in sys.modules
    assert cache(sharded_bank, "local") == 0
    assert was_there or "apache_beam" not in sys.modules
