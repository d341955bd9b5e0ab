"""The rows that each process reads become one batch on the devices of all."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, put_batch

ROOT = Path(__file__).parents[2]


def test_one_process_puts_its_batch_in_one_transfer(monkeypatch) -> None:
    puts = []
    device_put = jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda *arguments: puts.append(1) or device_put(*arguments))
    sharding = batch_sharding(make_mesh(MeshConfig()))
    rows = {"tokens": np.arange(jax.device_count() * 6, dtype=np.int32).reshape(-1, 6)}
    batch = put_batch(rows, sharding, rows["tokens"].shape)
    assert puts == [1]
    np.testing.assert_array_equal(batch["tokens"], rows["tokens"])
    assert batch["tokens"].sharding == sharding


def test_two_processes_that_read_half_the_rows_each_hold_the_batch_of_one() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.parallel.run_shared_batches", port, str(index)],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    for index, process in enumerate(processes):
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-3000:]
        assert f"equal {index}" in out
