"""scripts/tpu_pod.sh, with a gcloud that plays a pod on this machine."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.launching.stand_ins import StandIns
from tests.parallel.processes import ROOT

QUEUED = ("gcloud", "compute", "tpus", "queued-resources")
WORKERS = ("gcloud", "compute", "tpus", "tpu-vm")
FLAGS = ("--name=pod", "--zone=us-west4-a", "--topology=v5e-8", "--recipe=samoyed_tiny.gin", "--model_dir=/mnt/runs",
         "--poll_seconds=0", "--python=python3")  # fmt: skip


def train(pod: StandIns, *flags: str) -> "subprocess.CompletedProcess[str]":
    return pod.run(["scripts/tpu_pod.sh", "train", *FLAGS, *flags])


def actions(pod: StandIns) -> list[str]:
    """What was done to the resource, looks aside."""
    return [call[4] for call in pod.calls(*QUEUED) if call[4] != "describe"]


def copies(pod: StandIns) -> int:
    return len(pod.calls(*WORKERS, "scp"))


def test_a_first_start_creates_installs_trains_on_all_workers_shows_the_log_and_deletes(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["MISSING", "WAITING_FOR_RESOURCES", "ACTIVE"], exits=[[0, 0]])
    result = train(pod, "--project=mine", "--spot")
    assert result.returncode == 0, result.stderr
    assert actions(pod) == ["create", "delete"] and copies(pod) == 1
    [create] = pod.calls(*QUEUED, "create")
    assert create[5:] == ["pod", "--zone=us-west4-a", "--project=mine", "--accelerator-type=v5litepod-8",
                          "--runtime-version=v2-alpha-tpuv5-lite", "--node-id=pod", "--spot"]  # fmt: skip
    assert all({"--zone=us-west4-a", "--project=mine"} <= set(call) for call in pod.calls("gcloud"))
    for worker in ("pod-0", "pod-1"):
        [start] = pod.trained(worker)
        assert start["arguments"] == ["-u", "train.py", "--gin_file=samoyed_tiny.gin", "--model_dir=/mnt/runs"]
        assert start["folder"].endswith("/agentbank_jax")
    assert "training on pod-0, start 0" in result.stdout
    assert "pod: WAITING_FOR_RESOURCES\npod: ACTIVE" in result.stderr


def test_values_with_spaces_quotes_and_signs_reach_the_workers_as_they_are(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[0, 0]])
    values = [
        "--gin.A.b='two words'",
        '--gin.A.c="it\'s $HOME `x` $(y) \\ !"',
        "--gin.A.d=[1, 2]",
        "",
        "new\nline",
        "ä*?",
    ]
    setup = "printf '%s' \"it's $HOME\" >~/setup"
    result = train(pod, "--env=NOTE=it's $HOME; ok", "--env=EMPTY=", f"--setup={setup}", "--keep", "--", *values)
    assert result.returncode == 0, result.stderr
    [start] = pod.trained("pod-1")
    assert start["arguments"][4:] == values
    assert start["variables"]["NOTE"] == "it's $HOME; ok" and start["variables"]["EMPTY"] == ""
    home = tmp_path / "pod/home-pod-1"
    assert (home / "setup").read_text() == f"it's {home}"


def test_the_copied_tree_is_what_git_would_commit_with_changes_and_nothing_ignored(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("scripts/tpu_pod.sh", "scripts/launching.sh", "gin/samoyed_tiny.gin", ".gitignore"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for name in ("changed", "deleted"):
        (tree / name).write_text("before")
    for arguments in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *arguments], cwd=tree, check=True)
    (tree / "changed").write_text("after")
    (tree / "deleted").unlink()
    (tree / "new file").write_text("here")
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__/x.pyc").write_text("ignored")
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[0, 0]])
    result = pod.run([str(tree / "scripts/tpu_pod.sh"), "train", *FLAGS, "--keep"])
    assert result.returncode == 0, result.stderr
    copy = tmp_path / "pod/home-pod-1/agentbank_jax"
    found = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert found - {".venv/bin/python"} == {
        "scripts/tpu_pod.sh", "scripts/launching.sh", "gin/samoyed_tiny.gin", ".gitignore", "changed", "new file",
    }  # fmt: skip
    assert (copy / "changed").read_text() == "after"


def test_a_tree_that_is_no_checkout_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "tree/scripts")
    shutil.copytree(ROOT / "gin", tmp_path / "tree/gin")
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[0, 0]])
    result = pod.run([str(tmp_path / "tree/scripts/tpu_pod.sh"), "train", *FLAGS])
    assert result.returncode == 2 and "cannot be packed: expected a git checkout" in result.stderr
    assert pod.trained("pod-0") == [] and copies(pod) == 0


def test_a_pre_empted_run_whose_resource_is_suspended_goes_on_on_a_new_one(tmp_path: Path) -> None:
    states = ["MISSING", "ACTIVE", "SUSPENDING", "SUSPENDING", "SUSPENDED", "MISSING", "ACTIVE"]
    pod = StandIns.make(tmp_path / "pod", states=states, exits=[[75, 75], [0, 0]])
    result = train(pod)
    assert result.returncode == 0, result.stderr
    assert actions(pod) == ["create", "delete", "create", "delete"] and copies(pod) == 2
    assert len(pod.trained("pod-0")) == len(pod.trained("pod-1")) == 2
    assert "pre-empted; start 1 of at most 100 more" in result.stderr


@pytest.mark.parametrize("statuses", [[75, 75], [134, 75]])
def test_a_pre_empted_run_whose_resource_is_still_there_starts_again_without_a_copy(
    tmp_path: Path, statuses: list[int]
) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["MISSING", "ACTIVE"], exits=[statuses, [0, 0]])
    result = train(pod)
    assert result.returncode == 0, result.stderr
    assert actions(pod) == ["create", "delete"] and copies(pod) == 1
    assert len(pod.trained("pod-1")) == 2


def test_a_run_that_is_pre_empted_too_often_ends_with_75_and_its_resource_stays(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[75, 75]] * 2)
    result = train(pod, "--max_restarts=1")
    assert result.returncode == 75 and "pre-empted more than 1 times" in result.stderr
    assert actions(pod) == [] and len(pod.trained("pod-0")) == 2


def test_an_error_of_the_run_is_the_status_shows_the_logs_of_all_and_starts_nothing_again(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[0, 2]])
    result = train(pod)
    assert result.returncode == 2 and "the run ended with status 2" in result.stderr
    assert "training on pod-1, start 0" in result.stdout
    assert actions(pod) == [] and len(pod.trained("pod-1")) == 1


def test_a_resource_that_fails_twice_is_an_error(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["FAILED", "MISSING", "FAILED"], exits=[])
    result = train(pod)
    assert result.returncode == 2 and "error: pod failed twice" in result.stderr
    assert actions(pod) == ["delete", "create"]


def test_a_run_that_goes_on_is_followed_and_not_started_again(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[], workers=1)
    run = tmp_path / "pod/home-pod-0/agentbank_jax_run"
    run.mkdir(parents=True)
    with subprocess.Popen(["sh", "-c", "sleep 3; echo done >>log; echo 0 >status"], cwd=run) as going:
        (run / "pid").write_text(str(going.pid))
        result = train(pod, "--keep")
    assert result.returncode == 0 and "done" in result.stdout, result.stderr
    assert copies(pod) == 0 and pod.trained("pod-0") == []


def test_a_worker_whose_run_vanished_is_started_again(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[0]], workers=1)
    run = tmp_path / "pod/home-pod-0/agentbank_jax_run"
    run.mkdir(parents=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (run / "pid").write_text(str(gone.pid))
    assert "run: lost" in pod.run(["scripts/tpu_pod.sh", "status", "--name=pod", "--zone=us-west4-a"]).stdout
    assert train(pod, "--keep").returncode == 0 and len(pod.trained("pod-0")) == 1


def test_slices_are_nodes_of_one_resource(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["MISSING", "ACTIVE"], exits=[[0]], workers=1)
    result = train(pod, "--slices=2")
    assert result.returncode == 0, result.stderr
    [create] = pod.calls(*QUEUED, "create")
    assert create[-2:] == ["--node-count=2", "--node-prefix=pod"]
    assert len(pod.trained("pod-0-0")) == len(pod.trained("pod-1-0")) == 1


def test_what_gcloud_refuses_is_one_line(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ERROR: no permission\nmore"], exits=[])
    result = train(pod)
    assert result.returncode == 2
    assert result.stderr == "error: gcloud cannot describe pod: ERROR: no permission\n"


def test_delete_and_logs(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["ACTIVE"], exits=[[0, 0]])
    assert train(pod, "--keep").returncode == 0
    logs = pod.run(["scripts/tpu_pod.sh", "logs", "--name=pod", "--zone=us-west4-a"])
    assert logs.returncode == 0 and "training on pod-0, start 0" in logs.stdout
    assert pod.run(["scripts/tpu_pod.sh", "delete", "--name=pod", "--zone=us-west4-a"]).returncode == 0
    assert actions(pod) == ["delete"]


def test_a_dry_run_prints_every_command_that_a_first_start_runs_and_runs_none(tmp_path: Path) -> None:
    pod = StandIns.make(tmp_path / "pod", states=["MISSING", "ACTIVE"], exits=[[0, 0]])
    plan = train(pod, "--dry_run", "--", "--gin.A.b='two words'")
    assert plan.returncode == 0 and plan.stderr == "" and pod.calls() == []
    assert train(pod, "--", "--gin.A.b='two words'").returncode == 0
    printed = [shlex.split(line) for line in plan.stdout.split("\n") if line.startswith("gcloud ")]

    def without_archive(calls: list[list[str]]) -> list[list[str]]:
        return [[word for word in call if not word.startswith(os.sep)] for call in calls]

    assert without_archive(printed) == without_archive(pod.calls())
    assert "git ls-files" in plan.stdout and "tar" in plan.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command is named"),
        (["trian"], "unknown command 'trian'. Did you mean 'train'?"),
        (["train", "--nam=x"], "unknown argument '--nam'. Did you mean '--name'?"),
        (["train", *FLAGS, "--name=My_Pod"], "--name=My_Pod: expected up to 50 lower-case letters"),
        (["train", *FLAGS, "--zone=west"], "--zone=west: expected a zone"),
        (["train", *FLAGS, "--topology=v5x-8"], "--topology=v5x-8: expected a slice"),
        (["train", *FLAGS, "--recipe=samoyed_tny.gin"], "Did you mean 'samoyed_tiny.gin'?"),
        (["train", *FLAGS, "--recipe="], "no recipe is named"),
        (["train", *FLAGS, "--env=a b=c"], "--env=a b=c: expected --env=NAME=VALUE"),
        (["train", *FLAGS, "--slices=two"], "--slices=two: expected a number"),
        (["train", *FLAGS, "--python=python3; rm"], "--python=python3; rm: expected a program"),
        (["train", *FLAGS, "--gin.A.b=1"], "flags of the program come after --"),
    ],
)
def test_a_mistake_is_one_line_and_calls_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    pod = StandIns.make(tmp_path / "pod", states=[], exits=[])
    result = pod.run(["scripts/tpu_pod.sh", *arguments])
    assert result.returncode == 2 and pod.calls() == []
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and message in result.stderr


def test_help_names_every_flag(tmp_path: Path) -> None:
    result = StandIns.make(tmp_path / "pod").run(["scripts/tpu_pod.sh", "--help"])
    assert result.returncode == 0
    for flag in ("--name=", "--zone=", "--topology=", "--recipe=", "--max_restarts=", "--dry_run", "delete"):
        assert flag in result.stdout
