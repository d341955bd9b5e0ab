"""What the stand-ins do. A plan, in `plan.json`, says what they play:

states: what gcloud says of the resource, look by look; the last one stays.
workers: hosts of a node, whose homes are folders here: commands sent to them are run there.
exits: for each start of the training, the exit status on each worker.
tasks: how many processes srun starts.
kubectl: (exit status, message).
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def play(program: str, folder: str, arguments: Sequence[str]) -> int:
    """Records a call, plays it and returns its exit status."""
    stage = Path(folder)
    plan = json.loads((stage / "plan.json").read_text())
    entry: list[str] = [program, *arguments]
    if program == "kubectl":
        (stage / "manifest.yaml").write_text(sys.stdin.read())
    with (stage / "calls.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
    match program:
        case "gcloud":
            return _gcloud(stage, plan, list(arguments))
        case "srun":
            return _srun(plan, list(arguments))
        case "kubectl":
            status, message = plan.get("kubectl", (0, "jobset created"))
            print(message, file=sys.stderr if status else sys.stdout)
            return status
    return 0


def _gcloud(stage: Path, plan: dict[str, Any], arguments: list[str]) -> int:
    match arguments[:4]:
        case ["compute", "tpus", "queued-resources", action]:
            return _queued_resources(stage, plan, action)
        case ["compute", "tpus", "tpu-vm", "scp"]:
            source, target = arguments[4:6]
            node, _, name = target.partition(":")
            for home in _homes(stage, plan, node, "all"):
                (home / name).write_bytes(Path(source).read_bytes())
            return 0
        case ["compute", "tpus", "tpu-vm", "ssh"]:
            options = dict(word.removeprefix("--").split("=", 1) for word in arguments[5:])
            # Setting up a real environment would take minutes.
            command = options["command"].replace("scripts/set_up.sh", shlex.quote(str(_set_up(stage))))
            homes = _homes(stage, plan, arguments[4], options["worker"])
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            runs = [
                subprocess.Popen(["bash", "-c", command], cwd=home, env={**environment, "HOME": str(home)})
                for home in homes
            ]
            return max(run.wait() for run in runs)
    print(f"gcloud does not know {arguments}", file=sys.stderr)
    return 2


def _queued_resources(stage: Path, plan: dict[str, Any], action: str) -> int:
    if action == "delete":
        for home in stage.glob("home-*"):
            subprocess.run(["rm", "-r", str(home)], check=True)
    if action != "describe":
        return 0
    looks = stage / "looks"
    number = len(looks.read_text()) if looks.exists() else 0
    looks.write_text("." * (number + 1))
    state = plan["states"][min(number, len(plan["states"]) - 1)]
    if state == "MISSING":
        print("ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: no such resource", file=sys.stderr)
        return 1
    if state.startswith("ERROR"):
        print(state, file=sys.stderr)
        return 1
    print(state)
    return 0


def _homes(stage: Path, plan: dict[str, Any], node: str, workers: str) -> list[Path]:
    chosen = range(plan.get("workers", 2)) if workers == "all" else [int(workers)]
    homes = [stage / f"home-{node}-{index}" for index in chosen]
    for home in homes:
        home.mkdir(exist_ok=True)
    return homes


def _set_up(stage: Path) -> Path:
    """A set_up.sh whose Python records how it was started, and ends as planned."""
    script = stage / "set_up.sh"
    python = (
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        f"from tests.launching.play import train\nsys.exit(train({str(stage)!r}, sys.argv[1:]))\n"
    )
    script.write_text(
        "#!/bin/sh\nmkdir -p .venv/bin && "
        f"printf %s {shlex.quote(python)} >.venv/bin/python && chmod +x .venv/bin/python\n"
    )
    script.chmod(0o755)
    return script


def train(folder: str, arguments: Sequence[str]) -> int:
    """What stands for train.py on a worker."""
    stage, worker = Path(folder), Path(os.environ["HOME"]).name.removeprefix("home-")
    log = stage / f"trained-{worker}.jsonl"
    start = len(log.read_text().split("\n")) - 1 if log.exists() else 0
    record = {"arguments": list(arguments), "folder": os.getcwd(), "variables": dict(os.environ)}
    with log.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(f"training on {worker}, start {start}", flush=True)
    statuses = json.loads((stage / "plan.json").read_text())["exits"][start]
    return statuses[int(worker.rsplit("-", 1)[1])]


def _srun(plan: dict[str, Any], arguments: list[str]) -> int:
    """Starts the processes of a step on one machine, which is all of its nodes."""
    command = arguments[next(index for index, word in enumerate(arguments) if not word.startswith("-")) :]
    tasks = plan.get("tasks", 2)
    step = {
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_NUM_NODES": str(tasks),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_LOCALID": "0",
    }
    processes = [
        subprocess.Popen(command, env={**os.environ, **step, "SLURM_PROCID": str(index)}) for index in range(tasks)
    ]
    statuses = [process.wait() for process in processes]
    return max(status if status >= 0 else 128 - status for status in statuses)
