"""Processes of several hosts, played by processes on loopback."""

import socket
import time
from collections.abc import Mapping, Sequence

import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.distributed import DistributedConfig, check_alone
from tests.parallel.processes import Ended, free_port, run_together

MODULE = ("-m", "tests.parallel.run_process")


def flags(port: int, count: int, index: int, timeout: int = 30) -> list[str]:
    return [
        f"--coordinator_address=127.0.0.1:{port}",
        f"--num_processes={count}",
        f"--process_id={index}",
        f"--initialization_timeout={timeout}",
    ]


def run(*commands: Sequence[str], variables: Sequence[Mapping[str, str]] | None = None) -> list[Ended]:
    return run_together([
        ([*MODULE, *arguments], mapping)
        for arguments, mapping in zip(commands, variables or [{}] * len(commands), strict=True)
    ])  # fmt: skip


def assert_together(ended: Sequence[Ended]) -> None:
    total = sum(range(1, len(ended) + 1))
    for index, process in enumerate(ended):
        assert process.returncode == 0, process.stderr[-3000:]
        logs = ", writes logs" if index == 0 else ""
        # Gloo writes a line of its own first.
        last = process.stdout.strip().split("\n")[-1]
        assert last == f"process {index} of {len(ended)}, {len(ended)} devices, sum {total}{logs}"


def assert_one_line(process: Ended, *words: str) -> None:
    assert process.returncode == 2, process.stderr[-3000:]
    assert process.stderr.startswith("error: ") and process.stderr.count("\n") == 1, process.stderr[-3000:]
    for word in words:
        assert word in process.stderr


def test_processes_that_flags_name_see_each_other_and_one_writes_logs() -> None:
    port = free_port()
    assert_together(run(flags(port, 2, 0), flags(port, 2, 1)))


def test_slurms_variables_are_enough() -> None:
    port = str(free_port())
    variables = [
        {
            "SLURM_JOB_ID": "17",
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": index,
            "SLURM_LOCALID": index,
            "SLURM_STEP_NUM_NODES": "1",
            "SLURM_STEP_NODELIST": "localhost",
            "JAX_COORDINATOR_PORT": port,
        }
        for index in ("0", "1")
    ]
    assert_together(run([], [], variables=variables))


@pytest.mark.parametrize("release", [4, 5])
def test_open_mpis_variables_are_enough_and_release_5_needs_the_address(release: int) -> None:
    port = free_port()
    variables = [
        {
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_RANK": index,
            "OMPI_COMM_WORLD_LOCAL_RANK": index,
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            **({"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911", "JAX_COORDINATOR_PORT": str(port)}
               if release == 4 else {}),
        }
        for index in ("0", "1")
    ]  # fmt: skip
    arguments = [] if release == 4 else [f"--coordinator_address=127.0.0.1:{port}"]
    assert_together(run(arguments, arguments, variables=variables))


def test_those_that_did_not_come_up_are_named_to_all_that_did_within_the_time() -> None:
    port, start = free_port(), time.monotonic()
    for process in run(flags(port, 5, 0, timeout=4), flags(port, 5, 3, timeout=60)):
        assert_one_line(process, "processes 1, 2 and 4 of 5 did not come up within 4 s")
    assert time.monotonic() - start < 4 + 10


def test_a_missing_process_0_is_named_within_the_time() -> None:
    start = time.monotonic()
    [ended] = run(flags(free_port(), 2, 1, timeout=2))
    assert_one_line(ended, "process 0 of 2 did not come up at 127.0.0.1:", "within 2 s", "says process 1")
    assert time.monotonic() - start < 2 + 5


def test_a_mistake_that_all_make_ends_them_together_with_their_own_message() -> None:
    port, start = free_port(), time.monotonic()
    ended = run(flags(port, 2, 0), flags(port, 2, 1), variables=[{"FAILING": "0 1"}] * 2)
    for process in ended:
        assert_one_line(process, "a mistake.")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("failing", [0, 1])
def test_a_mistake_of_one_process_keeps_none_of_the_others_waiting_for_minutes(failing: int) -> None:
    port, start = free_port(), time.monotonic()
    ended = run(flags(port, 2, 0), flags(port, 2, 1), variables=[{"FAILING": str(failing)}] * 2)
    assert_one_line(ended[failing], "a mistake.")
    assert ended[1 - failing].returncode != 0
    assert time.monotonic() - start < 60


def test_an_address_that_is_taken_is_one_line() -> None:
    with socket.create_server(("", 0)) as taken:
        [ended] = run(flags(taken.getsockname()[1], 2, 0))
    assert_one_line(ended, "cannot be opened", "free port")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num_processes=2"], ["--coordinator_address and --process_id must be given"]),
        (["--coordinator_address=host", "--num_processes=2", "--process_id=0"], ["expected HOST:PORT", "host:8476"]),
        (["--coordinator_address=host:99999", "--num_processes=2", "--process_id=0"], ["expected HOST:PORT"]),
        (["--num_processes=2", "--process_id=2"], ["--process_id=2: expected 0 to 1"]),
        (["--process_id=-1"], ["--process_id=-1: expected 0 or more"]),
        (["--num_processes=0"], ["--num_processes=0: expected at least 1"]),
        (["--initialization_timeout=0"], ["--initialization_timeout=0: expected at least 1 second"]),
        (["--num_proceses=2"], ["Did you mean '--num_processes'"]),
    ],
)
def test_wrong_flags_are_one_line(arguments: list[str], words: list[str]) -> None:
    [ended] = run(arguments)
    assert_one_line(ended, *words)


def test_a_program_for_one_process_refuses_to_be_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    several = DistributedConfig(coordinator_address="host:1", num_processes=2, process_id=1)
    with pytest.raises(AgentBankError, match=r"evaluate.py is process 1 of 2.* --num_processes=1"):
        check_alone(several, "evaluate.py")
    check_alone(DistributedConfig(num_processes=1), "evaluate.py")
