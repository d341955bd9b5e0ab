"""A recipe compiled for a topology, and the search for what fits it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from jax.sharding import Mesh

from agentbank_jax.configuration.configuration import TrainingConfiguration
from agentbank_jax.models.remat import POLICIES
from agentbank_jax.parallel.mesh import make_mesh
from agentbank_jax.parallel.topology import Topology, topology_devices
from agentbank_jax.training.compiled import SPARE, CompiledStep, compile_step, expected_backend
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


class SearchListener(Protocol):
    """Is told how a search goes on, of which each step takes the compiler a minute or more."""

    def begins(self, policy: str, batch_size: int) -> None:
        """A step is compiled now."""

    def ends(self, step: CompiledStep) -> None:
        """It has been."""


def search_recipe(
    training: TrainingConfiguration, topology: Topology, listener: SearchListener
) -> tuple[tuple[CompiledStep, ...], CompiledStep | None]:
    """Finds the largest batch that fits a topology well, and of the policies that allow it the cheapest.

    Micro-batches are as many as the recipe has. A policy that keeps less allows at least the batch of one that keeps
    more, so that the search goes on from there; policies are tried in the order of `POLICIES`.

    Args:
      training: the recipe; its batch size and rematerialisation are what is looked for.
      topology: the pod.
      listener: told of each step that is compiled.

    Returns:
      All compiled steps, and the one that is found; None where nothing fits.
    """
    mesh = make_mesh(training.mesh, topology_devices(topology, training.mesh.slices))
    unit = training.mesh.rules.parts("batch", dict(mesh.shape)) * training.train.accumulate
    steps: list[CompiledStep] = []

    def compiled(policy: str, rows: int) -> CompiledStep:
        tried = replace(
            training,
            model=replace(training.model, remat=policy),
            train=replace(training.train, batch_size=rows * unit),
        )
        listener.begins(policy, rows * unit)
        steps.append(compile_recipe(tried, topology, mesh))
        listener.ends(steps[-1])
        return steps[-1]

    best: CompiledStep | None = None
    for policy in POLICIES:
        # Only more rows than a cheaper policy allows are of any use.
        most = best.batch_size // unit if best else 0
        if most < MOST_ROWS:
            best = _largest(partial(compiled, policy), most + 1) or best
    return tuple(steps), best


def _largest(compiled: Callable[[int], CompiledStep], least: int) -> CompiledStep | None:
    """The step of most rows, at least `least` and at most `MOST_ROWS`, that fits well; None where there is none.

    What a step needs grows about linearly with its rows, so that two steps tell where to look. The compiler refuses
    a step that is too large soon, and says what it would need: the largest is tried second.
    """
    low = compiled(least)
    if not low.fits_well or least == MOST_ROWS:
        return low if low.fits_well else None
    high = compiled(MOST_ROWS)
    if high.fits_well:
        return high
    rows_low, rows_high, guesses = least, MOST_ROWS, 4
    while rows_high - rows_low > 1:
        guess = (rows_low + rows_high) // 2
        # By halves in the end, in case it is no line.
        if guesses and low.limit_bytes and high.peak_bytes > low.peak_bytes:
            room = ((1 - SPARE) * low.limit_bytes - low.peak_bytes) / (high.peak_bytes - low.peak_bytes)
            guess = rows_low + int(room * (rows_high - rows_low))
        guess, guesses = min(max(guess, rows_low + 1), rows_high - 1), max(guesses - 1, 0)
        tried = compiled(guess)
        if tried.fits_well:
            low, rows_low = tried, guess
        else:
            high, rows_high = tried, guess
    return low
