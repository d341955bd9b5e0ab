"""Starting on several hosts: JAX's runtime between the processes of a cluster.

JAX is imported only in the functions: a program's flags are read before it.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.cluster import Cluster, find_cluster
from agentbank_jax.parallel.roll_call import call_roll, split_address

_LONGEST_END = 3600
_LONGEST_START = 24 * 3600
_SECONDS_TO_FAIL_TOGETHER = 10

STAGES = "settings", "data"
"""At which the processes of a run compare what they were started with."""

_FAILED = "failed"

# What Gloo and JAX's coordination service say then, for which neither has an error of its own.
_LOST = "Gloo", "closed by peer", "reset by peer", "heartbeat", "Barrier", "coordination service"


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
        for stage in STAGES:
            with contextlib.suppress(Exception):  # it has come past this stage
                global_state.client.key_value_set(_told(stage, global_state.process_id), _FAILED)
                if global_state.process_id == 0:
                    global_state.client.key_value_set(_told(stage), _contradiction([_FAILED]))
        # What one cannot do, often none can: they end together, each with its own message.
        global_state.client.wait_at_barrier("agentbank_jax_failed", 1000 * _SECONDS_TO_FAIL_TOGETHER)
    except Exception:  # of a kind that JAX does not promise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def is_of_a_lost_process(error: BaseException | None) -> bool:
    """Whether an error of this process, or what it came of, says that another one of the run is gone."""
    if not runs_together():
        return False
    while error is not None:
        if any(word in str(error) for word in _LOST):
            return True
        error = error.__cause__ or error.__context__
    return False


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


def check_alike(stage: str, settings: Mapping[str, object]) -> None:
    """Refuses processes with different settings, which would train different models or wait for ever.

    All processes call it once at each of `STAGES`, the first time before they ask JAX for devices, which waits for all;
    nothing is compared where one runs alone. It goes by JAX's store of keys, so that a process that fails before it
    comes here (see `end_failed`) keeps nobody waiting.

    Args:
      stage: of `STAGES`.
      settings: by their names; of values that differ, each process's text is shown.

    Raises:
      AgentBankError: on every process, with the settings in which one differs from process 0, or which one has failed.
    """
    if not runs_together():
        return
    from jax._src.distributed import global_state

    client, index, count = global_state.client, global_state.process_id, global_state.num_processes
    assert client is not None
    client.key_value_set(_told(stage, index), json.dumps({name: str(value) for name, value in settings.items()}))
    if index == 0:
        told = [client.blocking_key_value_get(_told(stage, each), 1000 * _LONGEST_START) for each in range(count)]
        client.key_value_set(_told(stage), _contradiction(told))
    if error := client.blocking_key_value_get(_told(stage), 1000 * _LONGEST_START):
        raise AgentBankError(error)


def _told(stage: str, index: int | str = "verdict") -> str:
    return f"agentbank_jax/{stage}/{index}"


def _contradiction(told: Sequence[str]) -> str:
    """What is wrong with the settings of all processes; "" where nothing is."""
    if failed := [index for index, text in enumerate(told) if text == _FAILED]:
        return f"Process {failed[0]} has ended before the training began; what it met is in its log."
    first, *others = map(json.loads, told)
    for index, other in enumerate(others, 1):
        different = [name for name in {**first, **other} if first.get(name) != other.get(name)]
        if different:
            return (
                f"Process {index} was started with other settings than process 0; give all processes the same command "
                "and the same data:\n"
                + "\n".join(f"  {name}: {first.get(name)} on 0, {other.get(name)} on {index}" for name in different[:8])
            )
    return ""


def writes_logs() -> bool:
    """Whether this process is the one of all that writes logs and results.

    `start_processes` comes before.
    """
    import jax

    if not runs_together():
        return jax.process_index() == 0
    from jax._src.distributed import global_state

    # Without devices, which would wait for all processes.
    return global_state.process_id == 0


def _cluster(config: DistributedConfig) -> Cluster | None:
    if config.num_processes == 1:
        return None
    return find_cluster(
        config.coordinator_address, config.num_processes, config.process_id, config.initialization_timeout
    )
