"""Beam makes the same bank as this machine's processes, whatever ends it, and what goes wrong is one line.

Needs Apache Beam (the extra `beam`); without it only that its absence is said.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.bank.build import build
from agentbank_jax.bank.outcome import Outcome
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.errors import AgentBankError
from tests.bank.fake import CountingRecipe
from tests.bank.made import build_in
from tests.bank.test_build import content
from tests.beam_pipelines import count_files, hide_beam, needs_beam
from tests.small_bank import ROOT, Finished, ProgramRunner

Command = Callable[..., Finished]

PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def build_by_beam(folder: Path, recipe: Recipe, *options: str) -> None:
    from agentbank_jax.bank.beam_chunks import BeamChunks

    build([recipe], folder, maker=BeamChunks("DirectRunner", options))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    root = tmp_path_factory.mktemp("reference")
    build_in(root, [CountingRecipe()])
    return content(root / "counting")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    run = ProgramRunner(monkeypatch, capfd)
    return lambda *flags: run(["scripts/build_bank.py", *flags], data_dir=tmp_path / "data", cwd=tmp_path)


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of chunks of each pipeline that runs."""
    return count_files(monkeypatch)


@dataclass(frozen=True, kw_only=True)
class RefusingRecipe(CountingRecipe):
    """Cannot make the chunk that holds candidate 40; notes each chunk that it is asked for."""

    notes: str = ""

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        with open(self.notes, "a") as file:
            file.write(f"{start}\n")
        if start <= 40 < stop:
            raise AgentBankError("http://localhost:1/v1: no server answers; start it.")
        return super().make(start, stop)


@dataclass(frozen=True, kw_only=True)
class ElsewhereRecipe(CountingRecipe):
    """Finds other data in each process."""

    def parameters(self) -> Mapping[str, Any]:
        return {**super().parameters(), "data": os.getpid()}


class Engine:
    """What only the thread that made it may use."""

    thread: int | None = None


@dataclass(frozen=True, kw_only=True)
class EngineRecipe(CountingRecipe):
    task: str = "engine"

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        Engine.thread = Engine.thread or threading.get_ident()
        assert Engine.thread == threading.get_ident()
        return super().make(start, stop)


@needs_beam
@pytest.mark.parametrize("options", [("--direct_num_workers=1",), PROCESSES])
def test_beam_makes_the_same_bank(
    tmp_path: Path, reference: Mapping[str, bytes], pipelines: list[int], options: Sequence[str]
) -> None:
    build_by_beam(tmp_path, CountingRecipe(), *options)
    assert content(tmp_path / "counting") == reference
    # 90 are wanted in chunks of 8; the later pipelines make up for what is dropped.
    assert pipelines[0] == 12 and len(pipelines) > 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["counting"]


@needs_beam
def test_the_command_makes_the_same_bank_of_a_starter_family(tmp_path: Path, command: Command) -> None:
    flags = ["--task=starter_web", "--trajectories=10", "--gin.starter_web/RecipeConfig.chunk=3"]
    assert command(*flags, "--output=local", "--workers=1").returncode == 0
    ended = command(*flags, "--output=beam", "--runner=DirectRunner", "--", *PROCESSES)
    assert ended.returncode == 0, ended.stderr
    assert content(tmp_path / "beam/starter_web") == content(tmp_path / "local/starter_web")


@needs_beam
def test_a_killed_build_goes_on_from_its_chunks_and_ends_in_the_same_bytes(
    tmp_path: Path, reference: Mapping[str, bytes], pipelines: list[int]
) -> None:
    program = (
        "import pathlib, sys; from tests.bank.test_beam_chunks import *\n"
        "if __name__ == '__main__':\n"
        "    build_by_beam(pathlib.Path(sys.argv[1]), CountingRecipe(seconds_per_candidate=0.05))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
    chunks = tmp_path / ".counting.building/chunks"
    deadline = time.monotonic() + 60
    while not len(list(chunks.glob("chunk-*.jsonl"))) >= 3:
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    made = len(list(chunks.glob("chunk-*.jsonl")))
    build_by_beam(tmp_path, CountingRecipe())
    assert content(tmp_path / "counting") == reference
    assert 3 <= made < 12 and pipelines[0] == 12 - made


@needs_beam
def test_chunks_come_from_the_temporary_location_and_none_is_made_twice(
    tmp_path: Path, reference: Mapping[str, bytes], pipelines: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentbank_jax.bank import beam_chunks

    option = f"--temp_location={tmp_path / 'staging'}/"
    with monkeypatch.context() as patch:
        patch.setattr(beam_chunks, "read_file", lambda target: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_by_beam(tmp_path, CountingRecipe(), option)
    staged = sorted((tmp_path / "staging/agentbank_jax").glob("*/chunk-*.jsonl"))
    assert len(staged) == 12 and not list((tmp_path / ".counting.building/chunks").iterdir())
    # Another recipe's chunks are kept apart.
    build_by_beam(tmp_path / "other", CountingRecipe(seed=1), option)
    for path in staged[:3]:
        path.unlink()
    del pipelines[:]
    build_by_beam(tmp_path, CountingRecipe(), option)
    assert pipelines[0] == 3
    assert content(tmp_path / "counting") == reference
    assert not [path for path in (tmp_path / "staging").rglob("*") if path.is_file()], "nothing is left there"


@needs_beam
@pytest.mark.parametrize("staged", [False, True])
def test_what_a_recipe_cannot_go_on_without_is_one_line_and_what_was_made_stays(tmp_path: Path, staged: bool) -> None:
    notes, options = tmp_path / "notes", [f"--temp_location={tmp_path / 'staging'}"] if staged else []
    with pytest.raises(AgentBankError) as caught:
        build_by_beam(tmp_path, RefusingRecipe(notes=str(notes)), *options)
    assert str(caught.value) == "http://localhost:1/v1: no server answers; start it."
    asked = sorted(map(int, notes.read_text().split()))
    assert asked == list(range(0, 96, 8)), "each chunk is tried once"
    assert len(list((tmp_path / ".counting.building/chunks").iterdir())) == 11
    assert not [path for path in (tmp_path / "staging").rglob("*") if path.is_file()]
    # The server is there now.
    build_by_beam(tmp_path, CountingRecipe(), *options)
    build_in(tmp_path / "local", [CountingRecipe()])
    assert content(tmp_path / "counting") == content(tmp_path / "local/counting")


@needs_beam
def test_a_refusal_that_nobody_has_read_is_forgotten(tmp_path: Path, reference: Mapping[str, bytes]) -> None:
    from agentbank_jax.bank.beam_chunks import BeamChunks
    from agentbank_jax.bank.chunks import Chunk

    (tmp_path / "chunk-000000000-000000008.jsonl.refused").write_text("no server answers")
    chunks = [Chunk(0, 8), Chunk(8, 16)]
    assert list(BeamChunks("DirectRunner")(CountingRecipe(), chunks, tmp_path)) == chunks
    assert {path.name for path in tmp_path.iterdir()} == {chunk.name for chunk in chunks}


@needs_beam
def test_a_worker_with_other_data_refuses(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match=r"^counting: a worker finds other data than the machine where") as caught:
        build_by_beam(tmp_path, ElsewhereRecipe(), *PROCESSES)
    assert "\n" not in str(caught.value)


@needs_beam
def test_one_thread_of_a_process_makes_all_its_chunks(tmp_path: Path) -> None:
    build_by_beam(tmp_path, EngineRecipe(), "--direct_running_mode=multi_threading", "--direct_num_workers=3")
    assert Engine.thread not in (None, threading.get_ident())


@needs_beam
@pytest.mark.parametrize(("workers", "at_once", "taken"), [(8, 2, 2), (1, 2, 1), (8, None, 8), (0, 1, 1)])
def test_engines_that_take_much_memory_get_few_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, at_once: int | None, taken: int
) -> None:
    from apache_beam.options.pipeline_options import DirectOptions

    from agentbank_jax import beam_pipeline

    found = []

    def refuse(options: Any) -> None:
        found.append(options.view_as(DirectOptions).direct_num_workers)
        raise ValueError("seen")

    monkeypatch.setattr(beam_pipeline.beam, "Pipeline", refuse)
    monkeypatch.setattr(CountingRecipe, "at_once", at_once)
    with pytest.raises(AgentBankError, match=r"Beam refuses it or its options \(seen\)"):
        build_by_beam(tmp_path, CountingRecipe(), f"--direct_num_workers={workers}")
    assert found == [taken]


@needs_beam
def test_a_chunk_that_no_worker_could_leave_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentbank_jax.beam_pipeline import BeamPipeline

    monkeypatch.setattr(BeamPipeline, "_run", lambda *arguments: None)
    with pytest.raises(AgentBankError, match=r"chunk-000000000-000000008.jsonl: the pipeline ended without this chunk"):
        build_by_beam(tmp_path, CountingRecipe())


@needs_beam
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=DirectRuner"], "--runner=DirectRuner: Beam knows no such runner. Did you mean 'Di"),
        (["--runner=no.such.Runner"], "--runner=no.such.Runner: Beam refuses it or its options (No module"),
        (["--runner=DirectRunner", "--", "--temp_location=no://place"], "--temp_location=no://place: cannot be writ"),
    ],
)
def test_mistakes_in_flags_are_one_line(command: Command, flags: Sequence[str], message: str) -> None:
    ended = command("--task=starter_math", "--trajectories=3", *flags)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith(f"error: {message}")


def test_a_missing_beam_says_how_to_get_it(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_beam(monkeypatch, "agentbank_jax.bank.beam_chunks")
    ended = command("--trajectories=10", "--runner=DirectRunner")
    assert ended.returncode == 2
    assert ended.stderr == "error: --runner needs Apache Beam: pip install 'agentbank_jax[beam]'.\n"
    assert not (tmp_path / "data").exists()
