"""Real benchmark files, where the user has them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.environments import benchmark_data
from agentbank_jax.environments.benchmark_data import BenchmarkConfig


@pytest.fixture
def benchmarks() -> Iterator[Path]:
    """The folder of real benchmark files, configured as a user does; skips where there is none."""
    folder = os.environ.get("AGENTBANK_TEST_DATA")
    if not folder:
        pytest.skip("AGENTBANK_TEST_DATA is not set; it names the folder of real benchmark files")
    benchmark_data.configure(BenchmarkConfig(data_dir=folder))
    yield Path(folder)
    benchmark_data.configure(BenchmarkConfig())


@pytest.fixture
def own_benchmarks(tmp_path: Path) -> Iterator[Path]:
    """An empty folder of benchmarks, configured as a user does."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    benchmark_data.configure(BenchmarkConfig(data_dir=str(folder)))
    yield folder
    benchmark_data.configure(BenchmarkConfig())
