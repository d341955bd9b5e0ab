"""The benchmarks of generation and serving say what is wrong before they begin."""

import subprocess
import sys

import pytest

from tests.small_bank import ROOT


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("bench_generation.py --rows=0", "--rows=0: expected at least 1"),
        ("bench_generation.py --new_tokens=1", "--new_tokens=1: expected at least 2"),
        ("bench_generation.py --work=episodes --new_tokens=-5", "--new_tokens=-5: expected 0"),
        ("bench_generation.py --work=episodes --shared=-1", "--shared=-1: expected 0 to 127"),
        ("bench_generation.py --work=episodes --shared=128", "--shared=128: expected 0 to 127"),
        ("bench_generation.py --chunk=-1", "--chunk=-1: expected 0"),
        ("bench_generation.py --bandwidth=nan", "--bandwidth=nan: expected 0"),
        ("bench_generation.py --shap=tiny", "unrecognized arguments: --shap=tiny"),
        ("bench_serving.py --clients=0", "--clients=0: expected at least 1"),
        ("bench_serving.py --rounds=0", "--rounds=0: expected at least 1"),
        ("bench_serving.py --turns=0", "--turns=0: expected at least 1"),
        ("bench_serving.py --tokens=-1", "--tokens=-1: expected at least 1"),
    ],
)
def test_a_wrong_flag_is_one_line_and_nothing_is_measured(command: str, says: str) -> None:
    script, *flags = command.split()
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *flags], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2 and says in run.stderr and "Traceback" not in run.stderr and not run.stdout
