"""What a run would be, found out without weights, data or devices."""

from dataclasses import dataclass

import jax

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.parallel.sharding import bytes_per_device, check_divisible
from agentbank_jax.training.flops import flops_per_token
from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
from agentbank_jax.training.state import abstract_state


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The size of a run.

    Fields:
      parameters: number of scalars.
      parameter_bytes: bytes of the parameters on one device.
      optimizer_bytes: bytes of the optimizer's state on one device.
      gradient_bytes: bytes of the gradients on one device.
      tokens_per_step: places of a batch, padding included.
      flops_per_step: causal, forward and backward (see `training.flops`).
      mesh: size of each axis.
    """

    parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    gradient_bytes: int
    tokens_per_step: int
    flops_per_step: float
    mesh: dict[str, int]

    def lines(self) -> list[str]:
        """For people."""
        total = self.parameter_bytes + self.optimizer_bytes + self.gradient_bytes
        return [
            f"parameters        {self.parameters:,}",
            "mesh              " + " x ".join(f"{name}={size}" for name, size in self.mesh.items()),
            f"bytes per device  {total / 1e9:,.3f} GB + activations (parameters {self.parameter_bytes / 1e9:,.3f}, "
            f"gradients {self.gradient_bytes / 1e9:,.3f}, optimizer {self.optimizer_bytes / 1e9:,.3f})",
            f"tokens per step   {self.tokens_per_step:,} (padding included)",
            f"FLOPs per step    {self.flops_per_step:.3g} (causal)",
        ]


def plan(
    model_config: LlamaConfig,
    optimizer_config: OptimizerConfig,
    mesh_config: MeshConfig,
    *,
    batch_size: int,
    length: int,
    accumulate: int = 1,
    num_devices: int | None = None,
) -> Plan:
    """Plans a run, for `--dry_run`.

    Args:
      model_config, optimizer_config, mesh_config: of the run.
      batch_size: rows per step, over all devices and micro-batches.
      length: tokens per row.
      accumulate: micro-batches per step.
      num_devices: how many devices to plan for; where None and the mesh has no -1 it is the mesh's own
        number, else the devices that are here.

    Raises:
      AgentBankError: the model or the batch does not divide over the mesh.
    """
    if num_devices is None:
        num_devices = mesh_config.num_devices or jax.device_count()
    sizes, rules = mesh_config.sizes(num_devices), mesh_config.rules
    check_divisible(model_config, sizes, batch_size, length, accumulate, rules)
    state = abstract_state(model_config, make_optimizer(optimizer_config, total_steps=1000))
    gradient_bytes = bytes_per_device(sizes, state.params, rules)
    frozen = forward.abstract_params(model_config.base) if model_config.lora else None
    return Plan(
        parameters=forward.count_parameters(model_config),
        parameter_bytes=gradient_bytes + bytes_per_device(sizes, frozen, rules),
        optimizer_bytes=bytes_per_device(sizes, state.opt_state, rules, state.params),
        gradient_bytes=gradient_bytes,
        tokens_per_step=batch_size * length,
        flops_per_step=batch_size * length * flops_per_token(model_config, length),
        mesh=sizes,
    )
