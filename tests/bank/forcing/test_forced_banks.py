"""`build_bank.py --gin_file=bank/forced.gin` with a server that misbehaves, is killed, goes away, or is in no hurry:
the right trajectories come out, nothing is paid twice, and nothing is left half made."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentbank_jax.bank.forcing.call_cache import CallCache
from agentbank_jax.bank.forcing.replies import REACT
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import replay
from agentbank_jax.bank.staging import DROPS
from agentbank_jax.environments import registry
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from tests.bank.forcing.scripted import (
    CHUNK,
    LOST,
    MODEL,
    PATIENCE,
    RETRY_AFTER,
    TASKS,
    UNPAID,
    Part,
    Scripted,
    listening,
    taken,
    wanted,
)
from tests.small_bank import ROOT, Finished, ProgramRunner, environment

Build = Callable[..., Finished]


def flags(server: Scripted, some: list[Part], output: Path, *more: str) -> list[str]:
    """The command; its bank takes all parts, its cache lies beside the bank."""
    asked = [
        "scripts/build_bank.py",
        "--gin_file=bank/forced.gin",
        *(f"--task={task}" for task in TASKS),
        f"--output={output}",
        f"--gin.TeacherConfig.endpoint={server.url}#{MODEL}",
        f"--gin.TeacherConfig.cache={output.parent / 'calls.sqlite'}",
        *(f"--gin.TeacherConfig.{name}={value}" for name, value in vars(PATIENCE).items()),
    ]
    for task in TASKS:
        asked.append(f"--gin.{task}/RecipeConfig.trajectories={wanted(some, task)}")
        asked.append(f"--gin.{task}/RecipeConfig.chunk={CHUNK}")
    return [*asked, *more]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Build:
    """Runs the command in this process."""
    run_here = ProgramRunner(monkeypatch, capfd)
    return lambda arguments: run_here(arguments, data_dir=tmp_path, cwd=tmp_path)


@contextlib.contextmanager
def started(arguments: list[str], folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Starts the command in a process group of its own, which is killed at the end."""
    program, *rest = arguments
    process = subprocess.Popen(
        [sys.executable, str(ROOT / program), *rest],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(group: int) -> list[str]:
    """The processes of a group that run, as the kernel describes them."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            text = stat.read_text()
            state, _, its_group, *_ = text.rpartition(")")[2].split()
            if int(its_group) == group and state not in "ZX":
                found.append(text)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """The shards of a bank and what lies beside them."""
    paths = [path for task in TASKS for path in (folder / task).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def unfinished(folder: Path) -> list[Path]:
    """Files in the place of finished ones that are not whole."""
    return [path for path in folder.rglob("*") if path.suffix in (".parquet", ".tmp") and path.is_file()]


def cached_keys(cache: Path) -> set[str]:
    held = CallCache(cache)
    try:
        return {key for (key,) in held._database.execute("SELECT key FROM calls")}
    finally:
        held.close()


def printed_costs(text: str) -> dict[str, Counter[str]]:
    """What the command says of costs, by task."""
    line = re.compile(r"^(\w+): ([\d,]+) requests, ([\d,]+) tokens told, ([\d,]+) written; ([\d,]+) replies", re.M)
    names = ("requests", "prompt_tokens", "completion_tokens", "cached")
    return {
        task: Counter({name: int(count.replace(",", "")) for name, count in zip(names, counts, strict=True)})
        for task, *counts in line.findall(text)
    }


def check_bank(folder: Path, some: list[Part]) -> None:
    """That the bank holds each instance once, kept or dropped, as its script says; and that it replays."""
    for task in TASKS:
        mine = {part.instance.id: part for part in taken(some, task)}
        kept = list(read_trajectories(f"{folder}/{task}/train-*.parquet", task))
        dropped = [json.loads(line) for line in (folder / task / DROPS).read_text().split("\n") if line]
        assert sorted([*(each.id for each in kept), *(row["id"] for row in dropped)]) == sorted(mine)
        assert {row["id"]: row["reason"] for row in dropped} == {
            name: LOST[part.script] for name, part in mine.items() if part.script in LOST
        }
        spec = registry.get(task)
        for trajectory in kept:
            part = mine[trajectory.id]
            said = [REACT.parse(turn.content) for turn in trajectory.turns if turn.role == "assistant"]
            assert [(each.thought, each.action) for each in said if each] == list(part.steps)
            replayed = replay(spec, part.instance, [each.action for each in said if each])
            assert not isinstance(replayed, Drop) and replayed.reward == trajectory.metadata["reward"] == 1
            told = [turn.content.removeprefix("Observation: ") for turn in trajectory.turns if turn.role == "user"]
            assert tuple(told) == replayed.observations


def test_the_right_trajectories_come_out_of_a_server_that_misbehaves_and_a_rerun_is_free(
    tmp_path: Path, server: Scripted, all_parts: list[Part], build: Build
) -> None:
    began = time.monotonic()
    ended = build(flags(server, all_parts, tmp_path / "one", "--workers=2"))
    assert ended.returncode == 0, ended.stderr
    assert time.monotonic() - began < 120, "what goes wrong costs bounded time"
    check_bank(tmp_path / "one", all_parts)

    # Each paid reply is kept once and charged once, by processes and threads that share one file.
    assert set(server.answered) == cached_keys(tmp_path / "calls.sqlite") and len(server.answered) > 200
    assert printed_costs(ended.stdout) == server.usage
    assert all(set(usage) == {"requests", "prompt_tokens", "completion_tokens"} for usage in server.usage.values())

    first = len(server.asked)
    again = build(flags(server, all_parts, tmp_path / "two", "--workers=1"))
    assert again.returncode == 0, again.stderr
    assert files(tmp_path / "two") == files(tmp_path / "one")
    unpaid = {key for part in all_parts if part.script in UNPAID for key in server.seen[part.question, 1]}
    assert set(server.asked[first:]) == unpaid, "what was answered is never asked again; what was refused cost nothing"
    costs = printed_costs(again.stdout)
    assert {task: cost["requests"] for task, cost in costs.items()} == {
        task: usage["requests"] for task, usage in server.usage.items()
    }
    assert sum(cost["cached"] for cost in costs.values()) >= len(server.answered)

    # A finished bank is left alone, and its costs are still known.
    third = build(flags(server, all_parts, tmp_path / "two", "--workers=1"))
    assert "as it was" in third.stdout and printed_costs(third.stdout) == costs


def test_a_killed_build_ends_in_the_same_bank_and_asks_nothing_that_was_answered(
    tmp_path: Path, server: Scripted, all_parts: list[Part], build: Build
) -> None:
    server.pause = 0.05
    arguments = flags(server, all_parts, tmp_path / "killed", "--workers=2")
    with started(arguments, tmp_path) as process:
        wait_for(lambda: len(server.answered) >= 60, process)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    server.pause = 0.0
    kept, asked = cached_keys(tmp_path / "calls.sqlite"), len(server.asked)
    assert 20 < len(kept) < 300
    assert build(arguments).returncode == 0
    assert not kept & set(server.asked[asked:])
    check_bank(tmp_path / "killed", all_parts)

    assert build(flags(server, all_parts, tmp_path / "whole", "--workers=1")).returncode == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_where_the_server_goes_the_build_ends_in_one_line_and_the_same_command_goes_on(
    tmp_path: Path, all_parts: list[Part], build: Build
) -> None:
    script = Scripted({part.question: part for part in all_parts}, pause=0.05)
    with contextlib.ExitStack() as ends:
        with listening(script) as port:
            arguments = flags(script, all_parts, tmp_path / "bank", "--workers=2")
            process = ends.enter_context(started(arguments, tmp_path))
            wait_for(lambda: len(script.answered) >= 60, process)
        told, said = process.communicate(timeout=60)
    assert process.returncode == 2
    # Replies that the server gave when nobody waited for them any more are no cost that the command knows of.
    paid = sum(cost["requests"] for cost in printed_costs(told).values())
    assert 0 < paid == len(cached_keys(tmp_path / "calls.sqlite"))
    errors = [line for line in said.split("\n") if line.startswith("error: ")]
    assert len(errors) == 1 and "run the same command again" in errors[0] and "Traceback" not in said
    assert not unfinished(tmp_path / "bank")

    script.pause, kept, asked = 0.0, cached_keys(tmp_path / "calls.sqlite"), len(script.asked)
    with listening(script, port):
        ended = build(arguments)
    assert ended.returncode == 0, ended.stderr
    check_bank(tmp_path / "bank", all_parts)
    assert not kept & set(script.asked[asked:])


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_build_within_seconds_though_requests_are_under_way(
    tmp_path: Path, server: Scripted, all_parts: list[Part], workers: int
) -> None:
    server.pause = 60
    more = (f"--workers={workers}", "--gin.TeacherConfig.timeout=300", "--gin.TeacherConfig.at_once=2")
    with started(flags(server, all_parts, tmp_path / "bank", *more), tmp_path) as process:
        wait_for(lambda: server.under_way >= workers, process)
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all processes
        said = process.communicate(timeout=30)[1]
        assert time.monotonic() - began < 10
        assert process.returncode == 130
        assert [line for line in said.split("\n") if line][-1] == "interrupted; the same command goes on where it was."
        assert "Traceback" not in said
        while left := alive(process.pid):
            assert time.monotonic() - began < 10, left
            time.sleep(0.05)
    assert not unfinished(tmp_path / "bank")


def test_a_server_that_asks_for_patience_gets_it_from_all_processes_and_threads(
    tmp_path: Path, server: Scripted, all_parts: list[Part], build: Build
) -> None:
    server.at_once, server.pause = 5, 0.02
    # Enough attempts for whoever is refused again and again.
    more = ("--workers=2", "--gin.TeacherConfig.at_once=8", "--gin.TeacherConfig.retries=100")
    ended = build(flags(server, all_parts, tmp_path / "bank", *more))
    assert ended.returncode == 0, ended.stderr
    check_bank(tmp_path / "bank", all_parts)
    assert len(server.waits) > 10, "it never had to ask"
    assert min(server.waits) >= RETRY_AFTER and not server.refused
    assert printed_costs(ended.stdout) == server.usage, "a refusal costs nothing"
