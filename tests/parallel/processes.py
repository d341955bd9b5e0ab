"""Real processes on one machine that stand for those of several hosts."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a process ended."""

    returncode: int
    stdout: str
    stderr: str


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def process_environment(variables: Mapping[str, str] = {}) -> dict[str, str]:
    """The variables of a process with one CPU device, and none that a cluster sets but `variables`."""
    clusters = ("SLURM_", "OMPI_", "JAX_", "TPU_", "KUBERNETES_", "JOB_", "CUDA_VISIBLE", "XLA_FLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(clusters)}
    return {**kept, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **variables}


def run_together(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], timeout: float = 120) -> list[Ended]:
    """Runs Python with each list of arguments and its own variables, all at once, and waits for all."""
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=process_environment(variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments, variables in commands
    ]
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Ended(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]
