"""Programs of the repository, run in this process."""

import pytest

from tests.small_bank import ProgramRunner


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> ProgramRunner:
    return ProgramRunner(monkeypatch, capfd)
