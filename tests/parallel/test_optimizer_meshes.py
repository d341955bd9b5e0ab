"""Optimizers on a mesh, and micro-batches over its shards: the numbers of one device and one large batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel.run_optimizers import ACCUMULATED, OPTIMIZERS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found() -> dict:
    command = [sys.executable, "-m", "tests.parallel.run_optimizers"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_steps_on_fsdp_4_x_tensor_2_equal_those_on_1_device_in_float64(found, case):
    difference, tensor = found["optimizers"][case]
    assert difference <= 1e-13, tensor


@pytest.mark.parametrize("case", ACCUMULATED)
def test_unevenly_masked_micro_batches_over_data_shards_equal_the_large_batch(found, case):
    difference, tensor = found["accumulated"][case]
    assert difference <= 1e-6, tensor
