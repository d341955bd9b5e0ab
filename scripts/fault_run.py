"""The run that `fault_test.py` disturbs: `train.py` on a small bank, as a process or two."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS, EVERY = 24, 4
LIMIT_S = 300
DISK_BYTES = 64_000_000
SETTINGS = (
    "--gin_file=samoyed_tiny.gin",
    "--gin.LlamaConfig.num_layers=1",
    "--gin.LlamaConfig.hidden_size=32",
    "--gin.LlamaConfig.intermediate_size=64",
    "--gin.LlamaConfig.num_heads=2",
    f"--gin.TrainConfig.steps={STEPS}",
    "--gin.TrainConfig.batch_size=2",
    "--gin.TrainConfig.log_every=1",
    f"--gin.TrainConfig.checkpoint_every={EVERY}",
    "--gin.TrainConfig.peak_flops=1e11",
    "--gin.MeshConfig.data=-1",
    "--gin.RunConfig.sweeps=()",
)


class FaultError(Exception):
    """A run did not survive a fault."""


def make_bank(folder: Path) -> None:
    """Makes the bank and the vocabulary of all runs in `folder`."""
    for command in (
        ["scripts/build_bank.py", "--trajectories=100", "--workers=1"],
        ["scripts/train_vocabulary.py", "--vocab_size=600"],
    ):
        made = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise FaultError(f"{' '.join(command)}:\n{made.stderr}")


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AGENTBANK_DATA_DIR": str(folder / "data"),
        "AGENTBANK_COMPILATION_CACHE": str(folder / "compiled"),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "",
    }


class Run:
    """One run in a folder of its own, and how its command is started and ends.

    Fields:
      steps: optimizer steps in all.
      name, model_dir: of its folder.
      cache: its token caches.
      processes: how many it has.
      disk: the file system that its folder has for itself; None where none can be mounted.
    """

    steps = STEPS

    def __init__(self, folder: Path, name: str, *, processes: int = 1):
        self._folder = folder
        self.model_dir, self.cache = folder / name / "run", folder / f"{name}_cache"
        self.name, self.processes = name, processes
        disk = self.model_dir.parent
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
        mounted = os.geteuid() == 0 and not subprocess.run(command, capture_output=True, check=False).returncode
        self.disk = disk if mounted else None
        self._started: list[subprocess.Popen] = []
        self._logs = [folder / f"{name}.{number}.log" for number in range(processes)]

    def remove(self) -> None:
        """Ends what still runs, and removes the run's folders."""
        kill(self._started)
        if self.disk:
            subprocess.run(["umount", str(self.disk)], check=True)
        for folder in (self.model_dir.parent, self.cache):
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> list[subprocess.Popen]:
        """Starts the command, once per process."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        many = self.processes > 1
        self._started = [
            subprocess.Popen(
                [
                    sys.executable,
                    str(ROOT / "train.py"),
                    *SETTINGS,
                    f"--model_dir={self.model_dir}",
                    f"--gin.DataConfig.cache_dir='{self.cache}'",
                    *(
                        [
                            f"--coordinator_address=localhost:{port}",
                            f"--num_processes={self.processes}",
                            f"--process_id={number}",
                        ]
                        if many
                        else []
                    ),
                ],
                cwd=self._folder,
                env=environment(self._folder),
                stdout=subprocess.DEVNULL,
                stderr=self._logs[number].open("a"),
            )
            for number in range(self.processes)
        ]
        return self._started

    def end(self, processes: list[subprocess.Popen], expected: tuple[int, ...]) -> int:
        """Waits for all to end.

        Raises:
          FaultError: one does not, or with a status that is not expected.
        """
        deadline = time.monotonic() + LIMIT_S
        try:
            statuses = [process.wait(max(1, deadline - time.monotonic())) for process in processes]
        except subprocess.TimeoutExpired:
            for process in processes:
                process.kill()
            raise FaultError(f"{self.name} has not ended within {LIMIT_S} s\n{self.log()}") from None
        if any(status not in expected for status in statuses):
            raise FaultError(f"{self.name} ended with {statuses}, not {expected}\n{self.log()}")
        return max(statuses)

    def finish(self) -> None:
        """Gives the command, undisturbed, and waits for its end."""
        self.end(self.start(), (0,))

    def log(self) -> str:
        """The last lines of what the processes have said."""
        return "\n---\n".join(log.read_text()[-2000:] for log in self._logs)

    def checkpoints(self) -> list[Path]:
        """The whole checkpoints, by step."""
        found = (self.model_dir / "checkpoints").glob("*")
        return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))

    def is_finished(self) -> bool:
        """Whether the last step is saved."""
        return any(path.name == str(STEPS) for path in self.checkpoints())

    def records(self) -> list[dict]:
        """The metrics so far."""
        file = self.model_dir / "metrics.jsonl"
        lines = file.read_text().split("\n") if file.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def result(self) -> tuple[str, str]:
        """Hashes of the final parameters, and of the losses of all steps."""
        made = subprocess.run(
            [sys.executable, "-c", _HASH, str(self.model_dir)],
            cwd=ROOT,
            env=environment(self._folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise FaultError(f"{self.name}: cannot be loaded\n{made.stderr[-2000:]}")
        losses = [(record["step"], record["loss"]) for record in self.records() if "loss" in record]
        if [step for step, _ in losses] != list(range(1, STEPS + 1)):
            raise FaultError(f"{self.name}: its metrics have the steps {[step for step, _ in losses]}")
        return made.stdout.strip(), hashlib.sha256(json.dumps(losses).encode()).hexdigest()


def kill(processes: list[subprocess.Popen]) -> None:
    """SIGKILL to all that have not ended, and to what they started."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()


_HASH = """
import hashlib, sys
import jax, numpy as np
from agentbank_jax.training.trained_models import load_for_inference
_, params, metadata = load_for_inference(sys.argv[1])
digest = hashlib.sha256(str(metadata["step"]).encode())
for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    digest.update(str(path).encode() + np.asarray(leaf).tobytes())
print(digest.hexdigest())
"""
