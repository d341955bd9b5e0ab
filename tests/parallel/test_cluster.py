"""What environment variables say of a cluster."""

import importlib.util
import os
import stat
from pathlib import Path

import pytest
from jax._src import cloud_tpu_init
from jax._src.clusters import cloud_tpu_cluster

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.cluster import find_cluster
from tests.parallel.processes import process_environment

SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "node[007,012]",
}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch):
    """Sets the variables of a cluster, and only these."""
    for name in set(os.environ) - set(process_environment()):
        monkeypatch.delenv(name)

    def set_variables(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_variables


def find(address: str | None = None, count: int | None = None, index: int | None = None):
    return find_cluster(address, count, index, 1)


def test_a_process_without_a_cluster_runs_alone(variables) -> None:
    assert find() is None
    # Of a batch job that starts no step, and of a pod that no Job made.
    variables(SLURM_JOB_ID="7", SLURM_NTASKS="4", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert find() is None


def test_a_step_of_one_task_runs_alone(variables) -> None:
    variables(**{**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"})
    assert find() is None


def test_slurm_names_the_first_node_and_flags_win(variables) -> None:
    variables(**SLURM)
    cluster = find()
    assert cluster and cluster.address.startswith("node007:") and (cluster.count, cluster.index) == (4, 2)
    cluster = find("10.0.0.1:5", index=3)
    assert cluster and (cluster.address, cluster.count, cluster.index) == ("10.0.0.1:5", 4, 3)
    variables(JAX_COORDINATOR_ADDRESS="10.0.0.2:6", JAX_COORDINATOR_PORT="9")
    assert find().address == "10.0.0.2:6"


def test_the_nodes_of_missing_processes_are_those_that_slurm_lists(variables, tmp_path: Path) -> None:
    variables(**SLURM)
    assert find().host_of(3) is None
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[007,012]" ] && printf "node007\\nnode012\\n"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    variables(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert [find().host_of(index) for index in range(4)] == ["node007", "node007", "node012", "node012"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, [1]),
        ({"SLURM_STEP_NUM_NODES": "4"}, None),  # alone on its node: all its devices
        ({"CUDA_VISIBLE_DEVICES": "5"}, None),  # SLURM has bound it to one
        ({"CUDA_VISIBLE_DEVICES": "4,5"}, [1]),
        ({"JAX_LOCAL_DEVICE_IDS": "0,1"}, None),  # JAX reads that itself
    ],
)
def test_processes_that_share_a_node_take_a_device_each(variables, more: dict[str, str], expected) -> None:
    variables(**{**SLURM, "SLURM_LOCALID": "1", **more})
    assert find().local_device_ids == expected


@pytest.mark.parametrize(("local_size", "devices"), [("2", [1]), ("1", None)])
def test_open_mpi_5_says_everything_but_the_address(variables, local_size: str, devices: list[int] | None) -> None:
    variables(OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="3", OMPI_COMM_WORLD_LOCAL_RANK="1")
    variables(OMPI_COMM_WORLD_LOCAL_SIZE=local_size)
    cluster = find("10.0.0.1:5")
    assert (cluster.count, cluster.index, cluster.local_device_ids, cluster.host_of(0)) == (4, 3, devices, None)
    variables(OMPI_COMM_WORLD_SIZE="1", OMPI_COMM_WORLD_RANK="0")
    assert find() is None


def test_a_tpu_pods_workers_are_its_processes(variables, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cloud_tpu_cluster, cloud_tpu_init):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cloud_tpu_cluster, "get_tpu_env_value", os.environ.get)
    variables(TPU_SKIP_MDS_QUERY="true", TPU_WORKER_HOSTNAMES="localhost,w1,w2,w3", TPU_WORKER_ID="2")
    cluster = find()
    assert (cluster.address, cluster.count, cluster.index) == ("localhost:8482", 4, 2)
    assert cluster.local_device_ids is None and cluster.host_of(3) == "w3"
    # Two slices: the workers listed are those of one.
    variables(MEGASCALE_NUM_SLICES="2", MEGASCALE_SLICE_ID="1", MEGASCALE_COORDINATOR_ADDRESS="localhost")
    cluster = find()
    assert (cluster.count, cluster.index, cluster.host_of(3)) == (8, 6, None)


def test_a_tpu_of_one_host_runs_alone(variables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cloud_tpu_cluster, "get_tpu_env_value", os.environ.get)
    variables(TPU_SKIP_MDS_QUERY="true", TPU_WORKER_HOSTNAMES="localhost", TPU_WORKER_ID="0")
    assert find() is None


def test_a_tpu_whose_metadata_cannot_be_read_is_one_line(variables, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(key: str) -> None:
        raise ConnectionError(f"no metadata server for {key}")

    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", unreachable)
    with pytest.raises(AgentBankError, match=r"no metadata server for .* --num_processes=1 runs alone"):
        find()


@pytest.mark.skipif(importlib.util.find_spec("kubernetes") is not None, reason="the package is installed")
def test_a_kubernetes_job_whose_pods_cannot_be_found_is_an_error_not_many_lone_runs(variables) -> None:
    variables(KUBERNETES_SERVICE_HOST="10.0.0.1", JOB_COMPLETION_INDEX="3")
    with pytest.raises(AgentBankError, match=r"pod 3 .*pip install 'jax\[k8s\]'.* --num_processes=1 runs alone"):
        find()
    assert find("host:1", 4, 3).count == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**SLURM, "SLURM_NTASKS": "four"}, "four"),
        ({**SLURM, "SLURM_PROCID": "4"}, "process 4 of 4 cannot be"),
        ({"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"}, "OMPI_COMM_WORLD_SIZE is not set"),
        (
            {"OMPI_MCA_orte_hnp_uri": "1.0;x", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
            "Could not parse coordinator IP",
        ),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, "--coordinator_address must be given"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_RANK is not set"),
    ],
)
def test_variables_that_do_not_say_enough_are_one_line(variables, values: dict[str, str], message: str) -> None:
    variables(**values)
    with pytest.raises(AgentBankError, match=message) as raised:
        find()
    assert "\n" not in str(raised.value)
