"""`python scripts/chat.py` as a user runs it, with the model that needs no checkpoint."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_bank import ROOT, Finished, ProgramRunner, environment

SHORT = "--max_new_tokens=8"


def chat(run_here: ProgramRunner, monkeypatch: pytest.MonkeyPatch, folder: Path, said: str, *flags: str) -> Finished:
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    return run_here(["scripts/chat.py", SHORT, *flags], data_dir=folder, cwd=folder)


def test_each_line_is_answered_and_reset_begins_another_conversation(
    run_here: ProgramRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = chat(run_here, monkeypatch, tmp_path, "Hello\n")
    again = chat(run_here, monkeypatch, tmp_path, "Hello\n\n/reset\nHello\n/quit\nHello\n")
    assert once.returncode == again.returncode == 0, once.stderr + again.stderr
    assert once.stdout.strip() and again.stdout == once.stdout * 2


def test_an_unknown_order_is_told_with_the_nearest_and_is_not_sent(
    run_here: ProgramRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = chat(run_here, monkeypatch, tmp_path, "/sytem Be kind.\n")
    assert (result.returncode, result.stdout.strip()) == (0, "no order is called '/sytem'. Did you mean '/system'?")


def test_a_line_that_does_not_fit_ends_what_reads_from_a_pipe_with_status_2(
    run_here: ProgramRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = chat(run_here, monkeypatch, tmp_path, "Hello " * 40 + "\n", "--max_length=64")
    assert result.returncode == 2 and "expected fewer than 64" in result.stderr


def test_an_episode_is_told_turn_by_turn_up_to_its_end(
    run_here: ProgramRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = chat(run_here, monkeypatch, tmp_path, "", "--environment=starter_math", "--index=2")
    assert result.returncode == 0, result.stderr
    told = [line.split(":")[0] for line in result.stdout.splitlines() if line]
    assert told[0] == "instruction" and told[-1] == "starter_math/test/2"
    assert told.count("model") == 3 and "no success (unparseable), reward 0, 3 turns" in result.stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--environment=starter_mth"], "Did you mean 'starter_math'"),
        (["--environment=starter_math", "--split=dev"], "split 'dev'"),
        (["--environment=starter_math", "--index=-1"], "expected 0 or more"),
        (["--environment=starter_math", "--system=Be kind."], "its own instruction"),
        (["--index=3"], "--environment=NAME"),
        (["--choose_actions"], "--environment=NAME"),
        (["--max_new_tokens=0"], "expected at least 1"),
        (["--temperature=-1"], "temperature"),
        (["--tensor=0"], "--tensor=0"),
        (["--tensor=64"], "take 64 devices"),
        (["--weights=int9"], "Did you mean 'int8'"),
        (["--checkpoint=nowhere"], "does not exist"),
        (["--seeed=1"], "Did you mean '--seed'"),
    ],
)
def test_mistakes_end_with_status_2_and_a_line(
    run_here: ProgramRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str], says: str
) -> None:
    result = chat(run_here, monkeypatch, tmp_path, "", *flags)
    assert result.returncode == 2 and says in result.stderr and "Traceback" not in result.stderr


def test_a_model_over_several_devices_and_one_in_int8_answer_as_they_do_elsewhere(tmp_path: Path) -> None:
    def said(*flags: str, devices: int = 1) -> str:
        run = subprocess.run(
            [sys.executable, str(ROOT / "scripts/chat.py"), SHORT, *flags],
            input="Hello there\n",
            env=environment(tmp_path) | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout

    assert said("--tensor=2", "--fsdp=2", devices=4) == said()
    assert said("--weights=int8", "--tensor=2", devices=2) == said("--weights=int8")
