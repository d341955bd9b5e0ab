import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentbank_jax.configuration.command_line import CommandLine, parse_command_line
from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.errors import AgentBankError

ROOT = Path(__file__).resolve().parents[2]


def parse(*arguments: str, trains: bool = False) -> CommandLine:
    return parse_command_line(
        "train.py",
        "Trains.",
        arguments,
        example="python train.py --gin_file=samoyed_tiny.gin",
        checkpoint_help="a checkpoint",
        model_dir_default="./runs",
        trains=trains,
    )


def test_gin_files_repeat_and_overrides_keep_their_order() -> None:
    files = ("--gin_file=a.gin", "--gin_file", "b.gin")
    command = parse(*files, "--gin.TrainConfig.steps=1", "--gin.STEPS", "2", "--seed=3", "--dry_run")
    assert command.gin_files == ("a.gin", "b.gin")
    assert command.overrides == (("TrainConfig.steps", "1"), ("STEPS", "2"))
    assert command.seed == 3 and command.dry_run


def test_search_paths_may_be_repeated_and_joined_by_commas() -> None:
    command = parse("--gin_file=a.gin", "--gin_search_paths=x,y", "--gin_search_paths=z")
    assert command.gin_search_paths == ("x", "y", "z")


def test_what_may_change_is_a_list_of_names_and_a_flag_of_training_alone() -> None:
    command = parse("--gin_file=a.gin", "--allow_change=x,y", "--allow_change=z", trains=True)
    assert command.allow_change == ("x", "y", "z")
    assert parse("--gin_file=a.gin", trains=True).allow_change == parse("--gin_file=a.gin").allow_change == ()
    with pytest.raises(AgentBankError, match="unknown argument '--allow_change=x'"):
        parse("--gin_file=a.gin", "--allow_change=x")


def test_imports_are_allowed_by_their_flag_alone() -> None:
    assert parse("--gin_file=a.gin", "--allow_imports").allow_imports
    assert not parse("--gin_file=a.gin").allow_imports


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gin_fil=a.gin"], "Did you mean '--gin_file'"),
        ([], "no gin file is named"),
        (["--gin_file=a.gin", "--seed=many"], "invalid int value: 'many'"),
        (["--gin_file=a.gin", "--gin.STEPS"], "--gin.STEPS has no value"),
        (["--gin_file=a.gin", "stray"], "unknown argument 'stray'"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(arguments: list[str], message: str) -> None:
    with pytest.raises(AgentBankError, match=message) as raised:
        parse(*arguments)
    assert "\n" not in str(raised.value)


def test_a_user_error_ends_with_status_2_and_ctrl_c_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def mistaken() -> int:
        raise AgentBankError("no such thing.")

    def interrupted() -> int:
        raise KeyboardInterrupt

    assert report_errors(mistaken) == 2
    assert capsys.readouterr().err == "error: no such thing.\n"
    assert report_errors(interrupted) == 130
    assert "interrupted" in capsys.readouterr().err
    assert report_errors(lambda: 0) == 0


def test_ctrl_c_ends_a_program_also_where_python_drops_it_in_a_callback() -> None:
    code = """
import gc, signal, sys, time
from agentbank_jax.configuration.report_errors import report_errors

# A shell starts what runs in its background with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupted(phase, _):
    gc.callbacks.clear()
    signal.raise_signal(signal.SIGINT)

def program():
    gc.callbacks.append(interrupted)
    gc.collect()
    time.sleep(40)
    return 0

sys.exit(report_errors(program))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "\ninterrupted; the same command goes on where it was.\n"


@pytest.mark.parametrize("program", ["train.py", "evaluate.py", "scripts/compile_topology.py"])
def test_help_answers_within_a_second(program: str) -> None:
    # The best of three: what is measured is the program, not a busy machine.
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        run = subprocess.run(
            [sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
        seconds.append(time.monotonic() - start)
        assert "--gin_file" in run.stdout
    assert min(seconds) <= 1.0


@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_a_mistyped_flag_ends_with_status_2_and_no_traceback(program: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / program), "--gin_fle=x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: unknown argument") and "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())
