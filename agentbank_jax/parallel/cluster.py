"""Which processes this one belongs to, as the cluster's environment variables or its server say.

JAX knows Cloud TPU, SLURM, Kubernetes and Open MPI 4. Of Open MPI 5 its newer releases learn the address of process 0
through mpi4py; without these it is to be given.
"""

import os
import subprocess
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentbank_jax.errors import AgentBankError, first_line

if TYPE_CHECKING:
    from jax._src.clusters import ClusterEnv

FLAGS = ("--coordinator_address", "--num_processes", "--process_id")


def nowhere(index: int) -> str | None:
    """The host of a process, where none is known."""
    del index
    return None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Several processes that belong together.

    Fields:
      address: host and port where process 0 listens.
      count: how many there are.
      index: which one this is, from 0.
      local_device_ids: the devices of this host that are this process's; None means all.
      host_of: the host of a process, where that is known.
    """

    address: str
    count: int
    index: int
    local_device_ids: Sequence[int] | None = None
    host_of: Callable[[int], str | None] = nowhere


def find_cluster(address: str | None, count: int | None, index: int | None, timeout: int) -> Cluster | None:
    """The processes that this one belongs to; None where it runs alone.

    Args:
      address, count, index: what is known already of `Cluster`'s fields; the rest is looked for.
      timeout: seconds to wait until the host of process 0 has a name in the network.

    Raises:
      AgentBankError: there are several, but not all that is needed to find them is said.
    """
    try:
        cluster = _find(address, count, index, timeout)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = f"{error.args[0]} is not set" if isinstance(error, KeyError) else first_line(error)
        raise AgentBankError(
            f"the cluster does not say which processes there are ({reason}): give {_list(FLAGS)}; "
            "--num_processes=1 runs alone."
        ) from None
    if cluster and not 0 <= cluster.index < cluster.count:
        raise AgentBankError(
            f"process {cluster.index} of {cluster.count} cannot be: expected --process_id=0 to {cluster.count - 1}."
        )
    return cluster


def _find(address: str | None, count: int | None, index: int | None, timeout: int) -> Cluster | None:
    alone = count is None and index is None and address is None
    address = address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address and count is not None and index is not None:
        return Cluster(address=address, count=count, index=index)
    if "OMPI_COMM_WORLD_SIZE" in os.environ:
        alone = False
        count = int(os.environ["OMPI_COMM_WORLD_SIZE"]) if count is None else count
        index = int(os.environ["OMPI_COMM_WORLD_RANK"]) if index is None else index
    environment = _environment() if count != 1 else None
    if environment:
        count = environment.get_process_count() if count is None else count
    if count == 1 or (alone and environment is None):
        return None
    if environment:
        index = environment.get_process_id() if index is None else index
        address = address or environment.get_coordinator_address(
            timeout_secs=timeout, override_coordinator_port=os.environ.get("JAX_COORDINATOR_PORT")
        )
    if address is None or count is None or index is None:
        missing = [flag for flag, value in zip(FLAGS, (address, count, index), strict=True) if value is None]
        raise AgentBankError(
            f"{_list(missing)} must be given: no cluster says it here (Cloud TPU, SLURM, Kubernetes, Open MPI)."
        )
    return Cluster(
        address=address,
        count=count,
        index=index,
        local_device_ids=_local_device_ids(environment),
        host_of=_hosts(environment, count) if environment else nowhere,
    )


def _environment() -> "type[ClusterEnv] | None":
    """The first of JAX's clusters that this process runs in."""
    from jax._src import clusters

    known = [each for each in clusters.ClusterEnv._cluster_types if not each.opt_in_only_method]
    # Of a pod that no indexed Job made, such as a notebook, nothing is asked.
    if "JOB_COMPLETION_INDEX" not in os.environ:
        known.remove(clusters.K8sCluster)
    with warnings.catch_warnings(action="ignore"):
        found = next((each for each in known if each.is_env_present()), None)
    if found is None and clusters.K8sCluster in known and "KUBERNETES_SERVICE_HOST" in os.environ:
        raise AgentBankError(
            f"this is pod {os.environ['JOB_COMPLETION_INDEX']} of a Kubernetes Job, whose others are found by the "
            f"package kubernetes, which is not installed: pip install 'jax[k8s]', or give {_list(FLAGS)}; "
            "--num_processes=1 runs alone."
        )
    return found


def _local_device_ids(environment: "type[ClusterEnv] | None") -> list[int] | None:
    """The one GPU of a process that shares its host with others; None where all that it sees are its own."""
    from jax._src.cloud_tpu_init import running_in_cloud_tpu_vm

    variables = os.environ
    if "OMPI_COMM_WORLD_LOCAL_RANK" in variables:
        place: int | None = int(variables["OMPI_COMM_WORLD_LOCAL_RANK"])
        shares = variables.get("OMPI_COMM_WORLD_LOCAL_SIZE") != "1"
    else:
        place = environment.get_local_process_id() if environment else None
        shares = variables.get("SLURM_STEP_NUM_NODES") != variables.get("SLURM_NTASKS")
    visible = variables.get("CUDA_VISIBLE_DEVICES", "")
    bound = bool(visible) and "," not in visible
    # JAX reads JAX_LOCAL_DEVICE_IDS itself.
    if place is None or not shares or bound or running_in_cloud_tpu_vm or "JAX_LOCAL_DEVICE_IDS" in variables:
        return None
    return [place]


def _hosts(environment: "type[ClusterEnv]", count: int) -> Callable[[int], str | None]:
    """Names the hosts of processes in an environment that lists them."""

    def host_of(index: int) -> str | None:
        names = _host_names(environment, count)
        # Hosts have equally many processes, in the order of the list, unless the user spreads them in another way.
        return names[index * len(names) // count] if names and count % len(names) == 0 else None

    return host_of


def _host_names(environment: "type[ClusterEnv]", count: int) -> list[str]:
    if environment.name == "slurm":
        listed = ["scontrol", "show", "hostnames", os.environ["SLURM_STEP_NODELIST"]]
        try:
            return subprocess.run(listed, capture_output=True, text=True, check=True, timeout=10).stdout.split()
        except (OSError, subprocess.SubprocessError):
            return []
    workers: list[str] = getattr(environment, "_get_worker_list_in_slice", list)()
    # Of several slices the workers listed are those of one.
    return workers if len(workers) == count else []


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
