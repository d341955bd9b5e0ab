"""scripts/slurm.sbatch, with an srun that starts the processes of a step on this machine."""

from pathlib import Path

import pytest

from tests.launching.stand_ins import StandIns
from tests.parallel.processes import ROOT, free_port

JOB = {"SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": str(ROOT)}
RECIPE = "--recipe=samoyed_tiny.gin"
ENDS = """
import os, sys
print(sys.argv[1:])
sys.exit(int(os.environ["ENDS"].split(",")[int(os.environ["SLURM_PROCID"])]))
"""


@pytest.fixture
def slurm(tmp_path: Path) -> StandIns:
    (tmp_path / "ends.py").write_text(ENDS)
    return StandIns.make(tmp_path / "slurm", tasks=2)


def submit(slurm: StandIns, *flags: str, **variables: str):
    program = f"--program={slurm.folder.parent / 'ends.py'}"
    return slurm.run(["scripts/slurm.sbatch", RECIPE, "--python=python", program, *flags], {**JOB, **variables})


def test_the_processes_of_a_step_form_one_cluster_and_compute_together(slurm: StandIns) -> None:
    result = slurm.run(
        ["scripts/slurm.sbatch", RECIPE, "--python=python", "--program=tests/parallel/run_process.py"],
        {**JOB, "JAX_COORDINATOR_PORT": str(free_port())},
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    for index, logs in ((0, ", writes logs"), (1, "")):
        assert f"process {index} of 2, 2 devices, sum 3{logs}\n" in result.stdout
    assert slurm.calls("scontrol") == []


def test_flags_reach_every_process_as_they_are_and_none_is_killed_while_another_saves(slurm: StandIns) -> None:
    values = ["--gin.A.b='two words'", '--gin.A.c="it\'s $HOME"', "", "*"]
    result = submit(slurm, "--model_dir=/shared/my run", "--", *values, ENDS="0,0")
    assert result.returncode == 0, result.stderr
    expected = ["--gin_file=samoyed_tiny.gin", "--model_dir=/shared/my run", *values]
    assert result.stdout.count(repr(expected)) == 2
    [srun] = slurm.calls("srun")
    assert srun[1:3] == ["--kill-on-bad-exit=0", "--wait=300"]


@pytest.mark.parametrize(
    ("ends", "restarts", "requeued"),
    [("75,75", "0", True), ("75,0", "3", True), ("0,0", "0", False), ("2,2", "0", False), ("75,75", "100", False)],
)
def test_only_a_pre_empted_job_is_queued_again_and_not_for_ever(
    slurm: StandIns, ends: str, restarts: str, requeued: bool
) -> None:
    result = submit(slurm, ENDS=ends, SLURM_RESTART_COUNT=restarts)
    assert result.returncode == max(map(int, ends.split(",")))
    assert slurm.calls("scontrol") == ([["scontrol", "requeue", "17"]] if requeued else [])


def test_slurm_is_asked_for_the_signal_and_the_queue(tmp_path: Path) -> None:
    directives = [
        line for line in (ROOT / "scripts/slurm.sbatch").read_text().split("\n") if line.startswith("#SBATCH")
    ]
    assert {"#SBATCH --requeue", "#SBATCH --signal=TERM@180", "#SBATCH --open-mode=append"} <= set(directives)


def test_a_script_that_slurm_terminates_waits_for_its_processes_and_queues_the_job_again(tmp_path: Path) -> None:
    # Each process tells the script's own process to end, as SLURM does to all of a job that it pre-empts.
    (tmp_path / "ends.py").write_text(
        "import os, signal, sys, time\n"
        "parent = int(open(f'/proc/{os.getppid()}/stat').read().split()[3])\n"
        "os.kill(parent, signal.SIGTERM)\ntime.sleep(0.5)\nsys.exit(75)\n"
    )
    slurm = StandIns.make(tmp_path / "slurm", tasks=1)
    assert submit(slurm).returncode == 75
    assert slurm.calls("scontrol") == [["scontrol", "requeue", "17"]]


def test_a_dry_run_prints_every_command_and_runs_none(slurm: StandIns) -> None:
    result = slurm.run(["scripts/slurm.sbatch", "--dry_run", RECIPE, "--", "--gin.A.b='two words'"])
    assert result.returncode == 0 and slurm.calls() == []
    assert result.stdout.split("\n")[:-1] == [
        r"sbatch scripts/slurm.sbatch --recipe=samoyed_tiny.gin -- '--gin.A.b='\''two words'\'''",
        "srun --kill-on-bad-exit=0 --wait=300 .venv/bin/python -u train.py --gin_file=samoyed_tiny.gin "
        r"'--gin.A.b='\''two words'\'''",
        "# where it ends with status 75:",
        "scontrol requeue JOB",
    ]


@pytest.mark.parametrize(
    ("flags", "variables", "message"),
    [
        (["--recipe=samoyed_tny.gin"], JOB, "Did you mean 'samoyed_tiny.gin'?"),
        ([RECIPE, "--recip=x"], JOB, "unknown argument '--recip'. Did you mean '--recipe'?"),
        ([RECIPE, "--program=none.py"], JOB, "--program=none.py: no such file"),
        ([RECIPE, "--python=none"], JOB, "--python=none is not there; make it with"),
        ([RECIPE, "--max_restarts=x"], JOB, "--max_restarts=x: expected a number"),
        ([RECIPE], {}, "this is no job of SLURM's: submit it with sbatch"),
        ([RECIPE], {**JOB, "SLURM_SUBMIT_DIR": "/"}, "/ is not the repository; submit the job from there"),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(
    slurm: StandIns, flags: list[str], variables: dict[str, str], message: str
) -> None:
    result = slurm.run(["scripts/slurm.sbatch", *flags], variables)
    assert result.returncode == 2 and slurm.calls() == []
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and message in result.stderr
