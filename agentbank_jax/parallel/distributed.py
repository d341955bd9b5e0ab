"""Starting on several hosts: JAX's runtime between the processes of a cluster.

JAX is imported only in the functions: a program's flags are read before it.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.cluster import Cluster, find_cluster
from agentbank_jax.parallel.roll_call import call_roll, split_address

_LONGEST_END = 3600
_SECONDS_TO_FAIL_TOGETHER = 10


@dataclass(frozen=True, kw_only=True)
class DistributedConfig:
    """Which processes belong together, where the cluster does not say it or is to be overruled.

    Fields:
      coordinator_address: host and port where process 0 listens; None asks the cluster.
      num_processes: how many there are; 1 runs alone, whatever the cluster says; None asks the cluster.
      process_id: which one this is, from 0; None asks the cluster.
      initialization_timeout: seconds within which all must have come up.
    """

    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    initialization_timeout: int = 300

    def __post_init__(self) -> None:
        if self.coordinator_address is not None:
            split_address(self.coordinator_address)
        if self.num_processes is not None and self.num_processes < 1:
            raise AgentBankError(f"--num_processes={self.num_processes}: expected at least 1.")
        limit = self.num_processes
        if self.process_id is not None and not (self.process_id >= 0 and (limit is None or self.process_id < limit)):
            raise AgentBankError(
                f"--process_id={self.process_id}: expected 0 " + (f"to {limit - 1}." if limit else "or more.")
            )
        if self.initialization_timeout < 1:
            raise AgentBankError(f"--initialization_timeout={self.initialization_timeout}: expected at least 1 second.")


def start_processes(config: DistributedConfig) -> None:
    """Starts JAX's runtime between the processes of a cluster; does nothing where one process runs alone.

    Comes before anything that touches a device.

    Raises:
      AgentBankError: a process did not come up in time, which it names; or flags and cluster do not say which processes
        there are.
    """
    cluster, timeout = _cluster(config), config.initialization_timeout
    if cluster is None:
        return
    call_roll(cluster.address, cluster.index, cluster.count, timeout, host_of=cluster.host_of)
    import jax

    # It would take SIGTERM, which the training loop does: a run that is not training yet has nothing to save.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        cluster.address,
        cluster.count,
        cluster.index,
        local_device_ids=cluster.local_device_ids,
        cluster_detection_method="deactivate",
        initialization_timeout=timeout,
        # At the end each waits for all. One that is lost is noticed by its heartbeat, within minutes.
        shutdown_timeout_seconds=_LONGEST_END,
    )


def end_failed(status: int) -> int:
    """Returns the exit status of a program that failed; ends it at once with that where other processes go on.

    At a regular end JAX waits for all, and those that go on would wait for this one.
    """
    if not runs_together():
        return status
    from jax._src.distributed import global_state

    assert global_state.client is not None
    try:
        # What one cannot do, often none can: they end together, each with its own message.
        global_state.client.wait_at_barrier("agentbank_jax_failed", 1000 * _SECONDS_TO_FAIL_TOGETHER)
    except Exception:  # of a kind that JAX does not promise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def runs_together() -> bool:
    """Whether `start_processes` has started several."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def check_alone(config: DistributedConfig, program: str) -> None:
    """Refuses to be one of several processes, where each would do the same work once more.

    Raises:
      AgentBankError: the cluster or the flags say that there are several.
    """
    cluster = _cluster(config)
    if cluster is not None:
        raise AgentBankError(
            f"{program} is process {cluster.index} of {cluster.count}, and works in one: start it once, or run each "
            "alone with --num_processes=1 and a --model_dir of its own."
        )


def check_alike(settings: Mapping[str, object]) -> None:
    """Refuses processes with different settings, which would train different models or wait for ever.

    All processes call it; nothing is compared where one runs alone.

    Args:
      settings: by their names; of values that differ, each process's text is shown.

    Raises:
      AgentBankError: on every process, with the settings in which one differs from process 0.
    """
    import jax
    import numpy as np
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return
    mine = json.dumps({name: repr(value) for name, value in settings.items()}).encode()
    longest = int(multihost_utils.process_allgather(np.array(len(mine))).max())
    texts = multihost_utils.process_allgather(np.frombuffer(mine.ljust(longest), np.uint8))
    first, *others = (json.loads(text.tobytes()) for text in texts)
    for index, other in enumerate(others, 1):
        different = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if different:
            raise AgentBankError(
                f"Process {index} was started with other settings than process 0; give all processes the same command "
                "and the same data:\n"
                + "\n".join(f"  {name}: {first.get(name)} on 0, {other.get(name)} on {index}" for name in different[:8])
            )


def writes_logs() -> bool:
    """Whether this process is the one of all that writes logs and results.

    Asks JAX for its devices: `start_processes` comes before.
    """
    import jax

    return jax.process_index() == 0


def _cluster(config: DistributedConfig) -> Cluster | None:
    if config.num_processes == 1:
        return None
    return find_cluster(
        config.coordinator_address, config.num_processes, config.process_id, config.initialization_timeout
    )
