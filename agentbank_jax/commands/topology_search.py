"""A recipe compiled for a topology, and the search for what fits it."""

from collections.abc import Callable
from dataclasses import replace

from jax.sharding import Mesh

from agentbank_jax.configuration.configuration import TrainingConfiguration
from agentbank_jax.models.remat import POLICIES
from agentbank_jax.parallel.mesh import make_mesh
from agentbank_jax.parallel.topology import Topology, topology_devices
from agentbank_jax.training.compiled import CompiledStep, compile_step, expected_backend
from agentbank_jax.training.loss import gathers

MOST_ROWS = 64
"""Rows of each device at which a search ends: more do not make its matrix products any faster."""


def compile_recipe(training: TrainingConfiguration, topology: Topology, mesh: Mesh | None = None) -> CompiledStep:
    """Compiles a recipe's step for a topology.

    Raises:
      AgentBankError: the mesh, the model or the batch does not divide over the topology, or libtpu is missing.
    """
    mesh = mesh or make_mesh(training.mesh, topology_devices(topology, training.mesh.slices))
    model = replace(training.model, attention=expected_backend(training.model, "tpu"))
    return compile_on(mesh, replace(training, model=model))


def compile_on(mesh: Mesh, training: TrainingConfiguration) -> CompiledStep:
    """Compiles the step of a recipe, whose model names its attention backend, for the devices of a mesh.

    Raises:
      AgentBankError: the model or the batch does not divide over the mesh.
    """
    return compile_step(
        training.model,
        training.optimizer,
        mesh,
        batch_size=training.train.batch_size,
        length=training.data.max_length,
        accumulate=training.train.accumulate,
        gather=gathers(training.train.loss, mesh.size),
        rules=training.mesh.rules,
    )


def search_recipe(
    training: TrainingConfiguration, topology: Topology, tell: Callable[[CompiledStep], None]
) -> tuple[tuple[CompiledStep, ...], CompiledStep | None]:
    """Finds the largest batch that fits a topology well, and of the policies that allow it the cheapest.

    Micro-batches are as many as the recipe has. A policy that keeps less allows at least the batch of one that keeps
    more, so that the search goes on from there; policies are tried in the order of `POLICIES`.

    Args:
      training: the recipe; its batch size and rematerialisation are what is looked for.
      topology: the pod.
      tell: called with each compiled step.

    Returns:
      All compiled steps, and the one that is found; None where nothing fits.
    """
    mesh = make_mesh(training.mesh, topology_devices(topology, training.mesh.slices))
    unit = training.mesh.rules.parts("batch", dict(mesh.shape)) * training.train.accumulate
    steps: list[CompiledStep] = []

    def fits(policy: str, rows: int) -> bool:
        tried = replace(
            training,
            model=replace(training.model, remat=policy),
            train=replace(training.train, batch_size=rows * unit),
        )
        steps.append(compile_recipe(tried, topology, mesh))
        tell(steps[-1])
        return steps[-1].fits_well

    best: CompiledStep | None = None
    most = 0
    for policy in POLICIES:
        # Only more rows than a cheaper policy allows are of any use.
        low, high = most, most + 1
        while high <= MOST_ROWS and fits(policy, high):
            low, high, best = high, high * 2, steps[-1]
        high = min(high, MOST_ROWS + 1)
        while high - low > 1 and low > most:
            middle = (low + high) // 2
            if fits(policy, middle):
                low, best = middle, steps[-1]
            else:
                high = middle
        most = low
    return tuple(steps), best
