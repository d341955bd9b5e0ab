"""The sandbox: what a command may see and use, and that every limit holds."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import gin
import pytest

from agentbank_jax.configuration import bindings
from agentbank_jax.environments import sandbox
from agentbank_jax.environments.sandbox import (
    Completed,
    Limits,
    SandboxConfig,
    SandboxError,
    run_python,
    run_shell,
    sandbox_root,
)

needs_bubblewrap = pytest.mark.skipif(sandbox.available() is not None, reason=str(sandbox.available()))


def run(command: str, **limits) -> Completed:
    with sandbox_root() as root:
        return run_shell(command, root=root, limits=Limits(**limits))


@needs_bubblewrap
def test_output_and_exit_code_are_the_commands():
    completed = run("echo out; echo err >&2; exit 3")
    assert (completed.output, completed.exit_code, completed.stopped) == ("out\nerr\n", 3, None)


@needs_bubblewrap
def test_files_stay_in_the_root_and_the_directory_is_chosen():
    with sandbox_root() as root:
        run_shell("mkdir /data; echo hello > /data/file", root=root)
        assert (root / "data" / "file").read_text() == "hello\n"
        assert run_shell("cat file", root=root, cwd="/data").output == "hello\n"
    assert not root.exists()


@needs_bubblewrap
def test_the_host_cannot_be_read_or_written(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    completed = run(f"cat {secret} /etc/shadow /etc/hostname; ls /home /root {os.getcwd()}; touch /usr/x /etc/x; env")
    assert "secret\n" not in completed.output and "secret" not in completed.output.replace(str(secret), "")
    assert completed.output.count("No such file or directory") == 6
    assert completed.output.count("Read-only file system") == 2
    assert "AGENTBANK" not in completed.output and "PYTEST" not in completed.output


@needs_bubblewrap
def test_there_is_no_network():
    assert "unreachable" in run("cat < /dev/tcp/192.0.2.1/80").output
    assert run("tail -n +3 /proc/net/dev | grep -vc lo:").output == "0\n"


@needs_bubblewrap
def test_commands_do_not_run_as_root():
    with sandbox_root() as root:
        run_shell("touch /mine", root=root)
        owner = (root / "mine").stat().st_uid
    assert owner == (sandbox.SANDBOX_UID if os.geteuid() == 0 else os.geteuid()) != 0


@needs_bubblewrap
def test_a_fork_bomb_stops_at_the_limit_of_processes():
    completed = run("for i in $(seq 60); do sleep 5 & done; wait", processes=16, wall_seconds=2)
    assert "Resource temporarily unavailable" in completed.output


@needs_bubblewrap
@pytest.mark.parametrize("command", ["sleep 30", "exec >&- 2>&-; sleep 30", "trap '' TERM INT; sleep 30"])
def test_wall_time_is_limited(command):
    completed = run(command, wall_seconds=0.5)
    assert (completed.exit_code, completed.stopped) == (None, "wall_seconds")
    assert completed.seconds < 3


@needs_bubblewrap
def test_processor_time_is_limited():
    completed = run("while :; do :; done", cpu_seconds=1, wall_seconds=8)
    assert completed.exit_code == 128 + 9 and completed.stopped is None


@needs_bubblewrap
def test_output_is_limited():
    completed = run("yes", output_bytes=1000)
    assert len(completed.output) == 1000 and completed.stopped == "output_bytes"


@needs_bubblewrap
def test_file_size_is_limited():
    with sandbox_root() as root:
        run_shell("head -c 5000000 /dev/zero > /big", root=root, limits=Limits(file_bytes=1 << 20))
        assert (root / "big").stat().st_size == 1 << 20


@needs_bubblewrap
def test_memory_is_limited():
    completed = run("x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}", memory_bytes=128 << 20)
    assert completed.output != "300000000\n"
    assert "cannot allocate" in completed.output or completed.exit_code != 0


@needs_bubblewrap
def test_nothing_survives_a_command():
    """Neither what it put in the background nor what was stopped, nor their entries in the process table."""
    mark = f"sleep 4321.{os.getpid()}"
    with sandbox_root() as root:
        started = time.monotonic()
        run_shell(f"{mark} & {mark} > /dev/null 2>&1 &", root=root)
        run_shell(mark, root=root, limits=Limits(wall_seconds=0.2))
        assert time.monotonic() - started < 5
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not any(mark.replace(" ", "\0").encode() in command for command in commands)
    children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "stat="], capture_output=True, text=True).stdout
    assert "Z" not in children


@needs_bubblewrap
def test_a_renamed_system_directory_does_not_mislead_the_next_command(tmp_path):
    """/etc is a mount of its own, so it cannot be replaced by a link."""
    with sandbox_root() as root:
        assert run_shell("mv /etc /other", root=root).exit_code != 0
        assert run_shell("rm -f /bin /lib /lib64 /sbin; true", root=root).exit_code == 0
        (root / "bin").symlink_to(tmp_path)
        assert run_shell("echo alive", root=root).exit_code is not None
    assert not list(tmp_path.iterdir())


@needs_bubblewrap
@pytest.mark.parametrize("command", ["echo a\0b", "x" * (sandbox.MAX_COMMAND_BYTES + 1)])
def test_commands_that_cannot_be_passed_on_are_refused(command):
    with pytest.raises(SandboxError, match="expected at most"):
        run(command)


def test_absence_is_said_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    sandbox._bubblewrap_available.cache_clear()
    try:
        assert "apt-get install bubblewrap" in (sandbox.available() or "")
        with pytest.raises(SandboxError, match="not installed"):
            run_shell("true", root=tmp_path)
    finally:
        sandbox._bubblewrap_available.cache_clear()


def test_an_unusable_bubblewrap_is_reported_in_its_own_words(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: no permissions' >&2\nexit 1\n")
    fake.chmod(0o755)
    for directory in (tmp_path, *tmp_path.parents):  # the dropped uid has to reach it
        if directory.stat().st_uid == os.geteuid() and directory != directory.parent:
            directory.chmod(directory.stat().st_mode | 0o055)
    real = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **options: str(fake) if name == "bwrap" else real(name, **options)
    )
    sandbox._bubblewrap_available.cache_clear()
    try:
        assert sandbox.available() == "bubblewrap cannot make a sandbox here: bwrap: no permissions"
    finally:
        sandbox._bubblewrap_available.cache_clear()


def test_limits_are_checked():
    with pytest.raises(SandboxError, match="wall_seconds is 0"):
        Limits(wall_seconds=0)


@needs_bubblewrap
@pytest.mark.parametrize(
    ("command", "limits", "stopped"),
    [
        ("for i in 1 2 3 4; do python3 -c 'x = bytearray(90 << 20); import time; time.sleep(9)' & done; wait",
         {"memory_bytes": 200 << 20}, "memory_bytes"),
        ("for i in $(seq 9); do head -c 900000 /dev/zero > /$i; done; sleep 9", {"disk_bytes": 1 << 20}, "disk_bytes"),
        # Done before anyone looks: it is looked at in the end.
        ("head -c 2000000 /dev/zero > /x", {"disk_bytes": 1 << 20}, "disk_bytes"),
        ("truncate -s 2000000 /x", {"disk_bytes": 1 << 20}, "disk_bytes"),
        ("exec 3> /x; rm /x; head -c 2000000 /dev/zero >&3; sleep 9", {"disk_bytes": 1 << 20}, "disk_bytes"),
        ("touch /{1..60}; sleep 9", {"files": 50}, "files"),
        ("cd /; for i in $(seq 110); do mkdir d; cd d; done", {}, "files"),
    ],
)  # fmt: skip
def test_all_processes_and_files_of_a_command_are_limited_together(command: str, limits: dict, stopped: str):
    completed = run(command, **limits)
    assert (completed.stopped, completed.exit_code) == (stopped, None)
    assert completed.seconds < 5


@needs_bubblewrap
def test_a_command_within_its_limits_is_not_stopped():
    command = "head -c 900000 /dev/zero > /x; touch /{1..30}; python3 -c 'x = bytearray(90 << 20)'; sleep 0.2"
    completed = run(command, disk_bytes=1 << 20, files=50, memory_bytes=200 << 20)
    assert (completed.stopped, completed.exit_code) == (None, 0)


@needs_bubblewrap
def test_only_the_root_can_be_written_to():
    command = "for d in / /tmp /dev /dev/shm /etc /proc /usr /bin; do touch $d/x 2> /dev/null && echo $d; done"
    assert run(command).output == "/\n/tmp\n"


@needs_bubblewrap
def test_the_root_is_removed_whatever_is_in_it():
    with sandbox_root() as root:
        run_shell("mkdir -p /a/b && echo x > /a/b/c && chmod 000 /a/b /a; for i in $(seq 1500); do mkdir d; cd d; done",
                  root=root)  # fmt: skip
    assert not root.exists()


@needs_bubblewrap
def test_python_is_run_with_its_arguments():
    with sandbox_root() as root:
        completed = run_python("import sys; print(sys.argv[1:]); sys.exit(4)", root=root, arguments=["a", "b c"])
    assert (completed.output, completed.exit_code) == ("['a', 'b c']\n", 4)


@pytest.fixture
def weaker(monkeypatch):
    monkeypatch.setenv("AGENTBANK_SANDBOX", "bubblewrap")
    sandbox.configure(SandboxConfig(isolation="rlimits"))


def test_the_weaker_isolation_says_once_what_it_does_not_hold(monkeypatch, capsys):
    monkeypatch.setenv("AGENTBANK_SANDBOX", "bubblewrap")
    sandbox.configure(SandboxConfig())
    assert (sandbox.isolation(), capsys.readouterr().err) == ("bubblewrap", "")
    for _ in range(2):
        sandbox.configure(SandboxConfig(isolation="rlimits"))
    said = capsys.readouterr().err
    assert sandbox.isolation() == "rlimits" and said.count("\n") == 1
    for word in ("weaker", "network", "read every file", "write", "other processes", "leave processes behind"):
        assert word in said


def test_the_weaker_isolation_keeps_the_limits(weaker):
    assert run("yes", output_bytes=1000).stopped == "output_bytes"
    assert run("sleep 9", wall_seconds=0.3).stopped == "wall_seconds"
    assert run("head -c 2000000 /dev/zero > x; sleep 9", disk_bytes=1 << 20).stopped == "disk_bytes"
    assert run("for i in $(seq 20); do sleep 9 & done; wait", processes=9).stopped == "processes"
    assert run("head -c 5000000 /dev/zero > x; stat -c %s x", file_bytes=1 << 20).output.endswith("1048576\n")
    assert run("while :; do :; done", cpu_seconds=1, wall_seconds=8).stopped is None
    completed = run("pwd; id -u; env; exit 3")
    assert completed.exit_code == 3 and "agentbank-sandbox-" in completed.output and "PYTEST" not in completed.output
    assert os.geteuid() != 0 or str(sandbox.SANDBOX_UID) in completed.output


def test_nothing_survives_a_command_under_the_weaker_isolation(weaker):
    mark = f"sleep 5432.{os.getpid()}"
    run(f"setsid {mark} > /dev/null 2>&1 & ({mark} &) ; exit 0")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(mark.replace(" ", "\0").encode() in command for command in commands)


def test_an_unknown_isolation_is_refused_with_the_known_ones(monkeypatch):
    with pytest.raises(SandboxError, match="is 'rlimit'; expected bubblewrap or rlimits"):
        SandboxConfig(isolation="rlimit")
    monkeypatch.setenv("AGENTBANK_SANDBOX", "none")
    with pytest.raises(SandboxError, match="'none'"):
        sandbox.isolation()


def test_the_isolation_is_bound_by_its_gin_name():
    bindings.provide("SandboxConfig")
    with gin.unlock_config():
        gin.parse_config("SandboxConfig.isolation = 'rlimits'")
    try:
        assert bindings.build(SandboxConfig) == SandboxConfig(isolation="rlimits")
    finally:
        gin.clear_config()
