import json
import os
import subprocess
import sys

import pytest

from tests.generation.run_sharded import MESHES
from tests.small_bank import ROOT


@pytest.fixture(scope="module")
def found() -> dict:
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.generation.run_sharded"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("mesh", [name for name in MESHES if name != "one"])
def test_tokens_over_a_mesh_are_those_of_one_device(found: dict, mesh: str) -> None:
    assert found[mesh] == found["one"]
    # Also of conversations that left the mesh and came back.
    assert found[f"{mesh} returned"] == found["one returned"] > 0


def test_the_caches_heads_are_divided_over_the_tensor_axis(found: dict) -> None:
    assert {mesh: found[f"{mesh} part"] for mesh in MESHES} == {"one": 1, "tensor": 0.25, "fsdp": 1, "both": 0.5}
