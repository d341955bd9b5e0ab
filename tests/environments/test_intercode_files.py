import json

import pytest

from agentbank_jax.environments.intercode_files import (
    Entry,
    FileState,
    ManifestError,
    changes,
    initial_states,
    read_manifest,
)
from agentbank_jax.errors import AgentBankError

OLD, NEW, OTHER = (FileState(name, False) for name in ("old", "new", "other"))
BEFORE = {"/a": OLD, "/b": OLD}


def test_changes_are_told_apart():
    after = {"/a": NEW, "/c": NEW}
    assert changes(BEFORE, after) == {"/a": "modified", "/b": "deleted", "/c": "added"}
    assert changes(BEFORE, BEFORE) == {}
    assert changes(BEFORE, {**BEFORE, "/a": FileState("old", True)}) == {"/a": "modified"}


def test_a_manifest_is_read(tmp_path):
    path = tmp_path / "fs.json"
    rows = [
        {"path": "/d", "mode": "0o755", "type": "dir"},
        {"path": "/d/a", "mode": "0o755", "type": "file", "text": "hé\n"},
        {"path": "/d/b", "mode": "0o600", "type": "file", "base64": "AAE="},
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    assert read_manifest(path) == (
        Entry(path="/d", mode=0o755),
        Entry(path="/d/a", mode=0o755, content="hé\n".encode()),
        Entry(path="/d/b", mode=0o600, content=b"\0\1"),
    )
    assert list(initial_states(read_manifest(path))) == ["/d/a", "/d/b"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mode": None}, ":1:mode: None"),
        ({"mode": "rw"}, ":1: invalid literal"),
        ({"text": None}, ":1:text: None"),
        ({"base64": "A"}, ":1: Invalid base64"),
        ({"path": "d"}, ":1: path 'd': expected an absolute path"),
    ],
)
def test_a_broken_entry_of_a_manifest_is_named(tmp_path, change, told):
    path = tmp_path / "fs.json"
    path.write_text(json.dumps([{"path": "/d", "mode": "0o600", "type": "file", "text": "", **change}]))
    with pytest.raises(AgentBankError) as error:
        read_manifest(path)
    assert told in str(error.value)


@pytest.mark.parametrize("path", ["relative", "/", "/a/../b", "/usr/bin/x", "/a//b"])
def test_paths_outside_the_tree_are_refused(path):
    with pytest.raises(ManifestError, match="path"):
        Entry(path=path)
