"""The bank that anyone can build, in small: each task whole, replayed, and the same bytes however it was made."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentbank_jax.bank.staging import MANIFEST
from agentbank_jax.environments import registry
from agentbank_jax.environments.textworld_express import GAMES
from tests.bank.test_build import content
from tests.small_bank import ROOT

ENGINES = ("alfworld_generated", "textworld", *(f"textworld_express_{game}" for game in GAMES))
EACH = 12

pytestmark = pytest.mark.arena


@pytest.fixture(scope="module")
def flags() -> list[str]:
    for name in ENGINES:
        if reason := registry.get(name).available():
            pytest.skip(reason)
    tasks = [f"--task={name}" for name in ENGINES]
    return ["--gin_file=bank/open.gin", f"--trajectories={EACH * len(ENGINES)}", *tasks]


@pytest.fixture(scope="module")
def bank(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open") / "bank"
    subprocess.run(command(*flags, "--workers=2", f"--output={folder}"), check=True, cwd=ROOT, timeout=900)
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "scripts/build_bank.py", *arguments]


def test_every_task_of_the_open_bank_is_whole(bank: Path) -> None:
    rows = {path.parent.name: json.loads(path.read_text())["rows"] for path in bank.glob(f"*/{MANIFEST}")}
    assert rows == dict.fromkeys(ENGINES, EACH)


def test_one_worker_that_is_killed_again_and_again_makes_the_same_bytes(
    bank: Path, flags: list[str], tmp_path: Path
) -> None:
    build = command(*flags, "--workers=1", f"--output={tmp_path}", "--gin.alfworld_generated/RecipeConfig.chunk=4")
    for _ in range(3):
        made = len(list(tmp_path.rglob("chunk-*.jsonl"))) + len(list(tmp_path.glob(f"*/{MANIFEST}")))
        process = subprocess.Popen(build, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(tmp_path.rglob("chunk-*.jsonl"))) + len(list(tmp_path.glob(f"*/{MANIFEST}"))) > made:
                break
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(build, check=True, cwd=ROOT, timeout=900)
    for name in ENGINES:
        assert content(tmp_path / name) == content(bank / name), name


def test_the_open_bank_replays_to_what_it_records(bank: Path) -> None:
    replayed = subprocess.run(
        [sys.executable, "scripts/replay_bank.py", f"--bank={bank}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
