"""A file or folder takes its place when it is whole; nothing is left of one that is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentbank_jax.whole_files import whole_file, whole_folder

KILLED = (
    "import os, signal, sys; from agentbank_jax.whole_files import whole_file, whole_folder\n"
    "with whole_folder(sys.argv[1]) as folder, whole_file(sys.argv[2]) as file:\n"
    "    (folder / 'x').write_text('half'); file.write_text('half')\n"
    "    with whole_file(file) as anew: anew.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
)


def leave(folder: Path) -> list[str]:
    """What a process that is killed while it writes `bank` and `a.json` leaves in a folder."""
    subprocess.run([sys.executable, "-c", KILLED, folder / "bank", folder / "a.json"], check=False)
    return sorted(path.name for path in folder.iterdir())


def test_an_error_leaves_nothing_not_even_folders(tmp_path: Path) -> None:
    for whole in (whole_file, whole_folder):
        with pytest.raises(ZeroDivisionError), whole(tmp_path / "new" / "er" / "a"):
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_when_the_same_target_is_written_again(tmp_path: Path) -> None:
    left = leave(tmp_path)
    assert len(left) == 3
    (tmp_path / "other").mkdir()
    # That of another target, of a process that lives, and of another machine is not touched.
    here, process = next(name for name in left if name.startswith(".bank")).split(".")[2:4]
    kept = [f".b.json.{here}.{process}.tmp", f".a.json.{here}.{os.getppid()}.tmp", f".a.json.12345678.{process}.tmp"]
    for name in kept:
        (tmp_path / name).write_text("")
    with whole_file(tmp_path / "a.json") as path:
        path.write_text("{}")
    with whole_folder(tmp_path / "bank") as folder:
        (folder / "y").write_text("")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "a.json", "bank", "other"])
    assert [path.name for path in (tmp_path / "bank").iterdir()] == ["y"]


def test_a_link_that_looks_like_a_leftover_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_text("")
    for name in leave(tmp_path):
        if name.startswith(".bank"):
            (tmp_path / name / "x").unlink()
            (tmp_path / name).rmdir()
            (tmp_path / name).symlink_to(tmp_path / "precious")
    with whole_folder(tmp_path / "bank"):
        pass
    assert (tmp_path / "precious" / "x").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".bank")]


def test_what_is_no_plain_file_is_refused_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name, why in (("pipe", "Not a regular file"), ("link", "Not a regular file"), ("folder", "Is a directory")):
        with pytest.raises(OSError, match=why), whole_file(tmp_path / name) as path:
            path.write_text("{}")
    with pytest.raises(OSError, match="Is a directory"), whole_file("/"):
        pass
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.json").write_text("old")
    (tmp_path / "a.json").symlink_to(tmp_path / "real" / "a.json")
    with whole_file(tmp_path / "a.json") as path:
        path.write_text("new")
    assert (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "real" / "a.json").read_text() == "new"
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["a.json"]
