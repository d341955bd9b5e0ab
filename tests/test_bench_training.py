"""`scripts/bench_training.py`: what it says of a mistake. That it measures is run by tests/test_docs.py."""

import os
import subprocess
import sys

import pytest

from tests.small_bank import ROOT


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--remat=ful", "error: LlamaConfig.remat='ful' is no policy. Did you mean 'full'?"),
        ("--num_heads=3", "error: LlamaConfig.hidden_size=128 is not a multiple of num_heads=3"),
        ("--rows=0", "argument --rows: 0: expected at least 1"),
        ("--rounds=0", "argument --rounds: 0: expected at least 1"),
        ("--length=2", "argument --length: 2: expected at least 16"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(flag: str, message: str) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "scripts/bench_training.py", flag],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr, result.stderr
