"""Temporary folders of processes that were killed are removed by the next one."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agentbank_jax.temporary_folders import make_temporary

PROGRAM = """
import os, signal
from agentbank_jax.environments.sandbox import sandbox_root
from agentbank_jax.temporary_folders import make_temporary
(make_temporary("made") / "file").touch()
with sandbox_root() as root:
    deep = root / "tmp" / "hidden"
    deep.mkdir()
    deep.chmod(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    mine = make_temporary("made")
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", PROGRAM], check=False)
        assert ended.returncode == -signal.SIGKILL
    left = next(path for path in tmp_path.iterdir() if path.name.startswith("made-") and path != mine)
    # The second process removed what the first had left.
    assert sorted(path.name.split("-")[-4] for path in tmp_path.iterdir()) == ["made", "made", "sandbox"]
    (tmp_path / "kept").mkdir()
    link = left.with_name(f"{left.name}x")
    link.symlink_to(tmp_path / "kept")
    stranger = left.with_name(left.name.replace("made-", "made-f", 1))  # of another machine's table of processes
    stranger.mkdir()
    make_temporary("made")  # once a process
    assert left.is_dir()
    subprocess.run([sys.executable, "-c", PROGRAM], check=False)
    assert not left.exists() and link.is_symlink() and stranger.is_dir() and mine.is_dir()
    assert mine.name.split("-")[-2] == str(os.getpid())
