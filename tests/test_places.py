"""Where banks lie, and where the copy of a remote one does."""

from pathlib import Path

import pytest

from agentbank_jax.configuration.run_config import DataConfig
from agentbank_jax.places import data_place, is_remote, local_folder


def test_the_copy_of_a_url_lies_in_a_folder_of_its_own() -> None:
    assert local_folder("gs://bucket/banks/") == Path("data/remote/gs/bucket/banks")
    assert local_folder("elsewhere/banks") == Path("elsewhere/banks")


def test_a_name_that_leads_out_of_the_folder_of_copies_does_not() -> None:
    assert local_folder("memory://bucket/../../x y/?a") == Path("data/remote/memory/bucket/_/_/x_y/_a")
    assert local_folder("memory:///.") == Path("data/remote/memory/_")


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AGENTBANK_DATA_DIR", "~/banks")
    assert data_place() == str(tmp_path / "banks")
    assert data_place("~/mine") == str(tmp_path / "mine")
    assert DataConfig(mixture="fake", tokenizer="x").data_path() == tmp_path / "banks"
    monkeypatch.delenv("AGENTBANK_DATA_DIR")
    assert data_place() == "data" and not is_remote("data")
