"""Loss and accuracy on held-out trajectories, token by token, each given the tokens before it as they were written."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from agentbank_jax.data.held_out import HeldOutBatches
from agentbank_jax.models import forward
from agentbank_jax.models.attention import BACKENDS
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, put_batch, rows_of_process
from agentbank_jax.training.cross_entropy import token_losses
from agentbank_jax.training.loss import Batch


class TeacherForced:
    """An `Evaluator` of the trained tokens of held-out trajectories.

    It yields `eval/<task>/loss` (nats per token) and `eval/<task>/accuracy` (the share of tokens that greedy decoding
    would choose), each a sum over the task's tokens divided by their number, and `eval/loss` and `eval/accuracy` over
    all tokens together.

    Fields:
      every: steps between measurements.
      names: of the values.
    """

    def __init__(
        self,
        config: LlamaConfig,
        mesh_config: MeshConfig,
        held_out: HeldOutBatches,
        *,
        every: int,
        mesh: Mesh | None = None,
    ) -> None:
        """Makes ready; compiles when it first measures.

        Args:
          config: the model that is trained.
          mesh_config: its devices. Each measurement must be made where their mesh and its rules are set.
          held_out: what to measure; its batches must divide over the mesh as those of training.
          every: steps between measurements.
          mesh: of the devices; made of all that there are if None.
        """
        self.every = every
        self.names = tuple(f"eval/{task}{kind}" for task in _prefixes(held_out.tasks) for kind in ("loss", "accuracy"))
        self._held_out = held_out
        mesh = mesh or make_mesh(mesh_config)
        self._rows = batch_sharding(mesh, mesh_config.rules)
        self._shape = held_out.batch_size, held_out.length
        config = forward.with_chosen_attention(config)
        if BACKENDS[config.attention].bounds_segments:
            config = replace(config, max_segments=held_out.most_segments)
        tasks = len(held_out.tasks)
        self._program = jax.jit(
            lambda params, batch: task_sums(config, params, batch, tasks),
            out_shardings=NamedSharding(mesh, PartitionSpec()),
        )

    def evaluate(self, step: int, params: forward.Params) -> Iterator[tuple[str, float]]:
        """Measures; called on every process."""
        del step
        sums = np.zeros((3, len(self._held_out.tasks)))
        pending: Array | None = None
        for rows in self._held_out.batches(*rows_of_process(self._rows, self._shape)):
            # A checker does not see that a TypedDict of arrays is a mapping to arrays.
            batch = put_batch(cast(Mapping[str, np.ndarray], rows), self._rows, self._shape)
            # The sums of the batch before are read while this one runs.
            before, pending = pending, self._program(params, batch)
            if before is not None:
                sums += jax.device_get(before)
        sums += jax.device_get(pending)
        totals = sums.sum(axis=1)
        for name, (loss, hits, tokens) in zip(
            _prefixes(self._held_out.tasks), (*sums.T.tolist(), totals.tolist()), strict=True
        ):
            if tokens:
                yield f"eval/{name}loss", loss / tokens
                yield f"eval/{name}accuracy", hits / tokens


def task_sums(config: LlamaConfig, params: forward.Params, batch: Batch, tasks: int) -> Float[Array, "3 tasks"]:
    """Sums over the trained tokens of each task: their losses (nats), how many are hit, and how many there are.

    Args:
      config: the model.
      params: its parameters.
      batch: as of `loss.summed_loss`, and `tasks`: the number of each place's task, int32 [B, T].
      tasks: how many there are.
    """
    hidden_BTD, _ = forward.hidden(config, params, batch["tokens"], batch["positions"], batch["segment_ids"])
    kernel, tied = forward.output_kernel(config, params)
    losses_BT, hits_BT = token_losses(hidden_BTD, kernel, batch["targets"], tied=tied)
    weights_BT = batch["loss_weights"].astype(jnp.float32)

    def of_task(task: Array) -> Float[Array, "3"]:
        weights = jnp.where(batch["tasks"] == task, weights_BT, 0)
        return jnp.stack([jnp.sum(weights * losses_BT), jnp.sum(weights * hits_BT), jnp.sum(weights)])

    return jax.lax.map(of_task, jnp.arange(tasks)).T


def _prefixes(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """What stands before `loss` and `accuracy` in the names: of each task, and of all."""
    return (*(f"{task}/" for task in tasks), "")
