"""Starts `run_made.py`, as one process or several, and waits for it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from agentbank_jax.training.metrics import read_metrics

ROOT = Path(__file__).parents[2]
STEPS = 14


def start(folder: Path, seconds: float, *processes: object, steps: int = STEPS) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.training.run_made", str(folder), str(steps), str(seconds)]
    return subprocess.Popen(
        [*command, *map(str, processes)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        stderr=subprocess.PIPE,
        text=True,
    )


def start_all(folder: Path, seconds: float, count: int, steps: int = STEPS) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [start(folder, seconds, process, count, port, steps=steps) for process in range(count)]


def wait_for_step(folder: Path, step: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not any(record["step"] >= step for record in read_metrics(folder)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def finish(process: subprocess.Popen, seconds: float = 120) -> tuple[int, str]:
    _, errors = process.communicate(timeout=seconds)
    return process.returncode, errors
