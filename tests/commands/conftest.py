"""Programs of the repository, run in this process, and the bank that they work on."""

from pathlib import Path

import pytest

from tests.small_bank import ProgramRunner, build_small_bank


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> ProgramRunner:
    return ProgramRunner(monkeypatch, capfd)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    build_small_bank(folder)
    return folder
