"""How long `train.py` takes to its first and to its next step, and what several processes give, for `bench_loop.py`."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agentbank_jax.training.metrics import read_metrics
from scripts.fault_run import ROOT, environment, kill, make_bank

LIMIT_S = 300


def measure(folder: Path, figures: Sequence[str], repeats: int) -> None:
    """Measures and prints `start`, `resume` and `processes`, those that are asked for."""
    make_bank(folder)
    # The token cache of all runs.
    _seconds_to_step(folder, "cached", 1)
    found: dict[str, list[float]] = {}
    for number in range(repeats):
        if "start" in figures:
            cold = folder / f"compiled_{number}"
            seconds = _seconds_to_step(folder, f"cold_{number}", 1, compiled=cold)
            found.setdefault("start, nothing compiled", []).append(seconds)
            found.setdefault("start", []).append(_seconds_to_step(folder, f"warm_{number}", 1, compiled=cold))
        if "resume" in figures:
            _seconds_to_step(folder, f"killed_{number}", 25, every=20)
            saved = max(int(path.name) for path in (folder / f"killed_{number}/checkpoints").glob("[0-9]*"))
            seconds = _seconds_to_step(folder, f"killed_{number}", saved + 1, every=20, anew=True)
            found.setdefault("resume", []).append(seconds)
        if "processes" in figures:
            for axis in ("data", "fsdp"):
                two = _tokens_per_second(folder, f"two_{axis}_{number}", axis, processes=2)
                one = _tokens_per_second(folder, f"one_{axis}_{number}", axis, processes=1)
                found.setdefault(f"processes, {axis}", []).append(two / one)
    for name, values in found.items():
        unit = "x" if name.startswith("processes") else "s"
        print(f"{name:24} {statistics.median(values):6.2f} {unit}  ({', '.join(f'{value:.2f}' for value in values)})")


def _start(folder: Path, name: str, *flags: str, compiled: Path | None = None, devices: int = 1) -> subprocess.Popen:
    variables = environment(folder) | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    if compiled:
        variables["AGENTBANK_COMPILATION_CACHE"] = str(compiled)
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "train.py"),
            "--gin_file=samoyed_tiny.gin",
            f"--model_dir={folder / name}",
            f"--gin.DataConfig.cache_dir='{folder / 'tokens'}'",
            "--gin.TrainConfig.log_every=1",
            "--gin.TrainConfig.peak_flops=1e12",
            "--gin.RunConfig.sweeps=()",
            *flags,
        ],
        cwd=folder,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=(folder / f"{name}.log").open("a"),
    )


def _seconds_to_step(
    folder: Path, name: str, step: int, *, every: int = 0, compiled: Path | None = None, anew: bool = False
) -> float:
    """Seconds from the command to the record of a step, after which the run is killed."""
    if anew:
        # What was measured after the checkpoint is measured again.
        (folder / name / "metrics.jsonl").write_text("")
    began = time.perf_counter()
    run = _start(folder, name, f"--gin.TrainConfig.checkpoint_every={every}", compiled=compiled)
    try:
        while not any(record["step"] >= step for record in read_metrics(folder / name)):
            if run.poll() is not None or time.perf_counter() - began > LIMIT_S:
                raise SystemExit((folder / f"{name}.log").read_text()[-2000:])
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        kill([run])


def _tokens_per_second(folder: Path, name: str, axis: str, *, processes: int) -> float:
    """The median over the records of a short run on two devices, after its first few steps."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    other = {"data": "fsdp", "fsdp": "data"}[axis]
    flags = [
        "--gin.TrainConfig.steps=40",
        "--gin.TrainConfig.batch_size=4",
        "--gin.TrainConfig.loss='full'",
        f"--gin.MeshConfig.{axis}=2",
        f"--gin.MeshConfig.{other}=1",
    ]
    together = [f"--coordinator_address=localhost:{port}", f"--num_processes={processes}"] if processes > 1 else []
    runs = [
        _start(
            folder,
            name,
            *flags,
            *together,
            *([f"--process_id={number}"] if together else []),
            devices=2 // processes,
        )
        for number in range(processes)
    ]
    statuses = [run.wait(LIMIT_S) for run in runs]
    if any(statuses):
        raise SystemExit((folder / f"{name}.log").read_text()[-3000:])
    return statistics.median(record["tokens_per_second"] for record in read_metrics(folder / name)[5:])
