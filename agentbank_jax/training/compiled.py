"""What a training step takes, as the compiler of its devices counts it: compiled ahead of time, without arrays."""

import math
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.models import forward
from agentbank_jax.models.attention.registry import AUTO, PORTABLE, candidates
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules
from agentbank_jax.parallel.hlo import Traffic, read_traffic
from agentbank_jax.parallel.sharding import batch_sharding, check_divisible, state_shardings, with_shardings
from agentbank_jax.parallel.topology import compile_for_tpu, enforced_memory, parse_refusal
from agentbank_jax.training.flops import flops_per_token
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.state import abstract_state
from agentbank_jax.training.step import jit_train_step, make_train_step

SPARE = 0.08
"""The share of the memory that a preset leaves free, because another compiler may count a little more."""

# Only the schedule's length, which the memory of a step does not depend on.
_TOTAL_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """A compiled step; bytes are of one device.

    Fields:
      mesh: size of each axis.
      batch_size: rows per step, all devices and micro-batches together.
      length: tokens per row.
      accumulate: micro-batches per step.
      attention, remat: the backend and the rematerialisation policy.
      parameter_bytes, optimizer_bytes: of what the step is given; a device may pad them.
      gradient_bytes: the part of the temporaries that gradients are, by arithmetic.
      temporary_bytes: the most that the step holds beside what it is given: gradients, activations, gathered
        parameters, buffers of collectives; None where the compiler refused the step.
      peak_bytes: what the compiler allots to the step, gaps between arrays included, and holds to its limit; of a
        refused step what it would need, the least that the compiler says.
      host_bytes: in the host's memory.
      limit_bytes: what the compiler lets a program have; None where it enforces nothing.
      limit_source: how that is known.
      flops: of the whole step on all devices, causal, without what is made again (see `training.flops`).
      traffic: what one device sends and multiplies; None where the compiler refused the step.
      refusal: why it did; "" where it did not.
      seconds: that compiling took.
    """

    mesh: dict[str, int]
    batch_size: int
    length: int
    accumulate: int
    attention: str
    remat: str
    parameter_bytes: int
    optimizer_bytes: int
    gradient_bytes: int
    temporary_bytes: int | None
    peak_bytes: int
    host_bytes: int
    limit_bytes: int | None
    limit_source: str
    flops: float
    traffic: Traffic | None
    refusal: str
    seconds: float

    @property
    def spare(self) -> float | None:
        """The share of the limit that stays free, negative where the step does not fit; None without a limit."""
        return 1 - self.peak_bytes / self.limit_bytes if self.limit_bytes else None

    @property
    def fits(self) -> bool:
        return not self.refusal and (self.spare is None or self.spare >= 0)

    @property
    def fits_well(self) -> bool:
        """Whether `SPARE` stays free."""
        return self.fits and (self.spare is None or self.spare >= SPARE)

    def to_json(self) -> dict[str, Any]:
        derived = {"spare": self.spare, "fits": self.fits, "tokens_per_step": self.batch_size * self.length}
        return {**asdict(self), **derived}

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"attention         {self.attention}; rematerialisation {self.remat}",
            f"per device        parameters {_gb(self.parameter_bytes)}, optimizer {_gb(self.optimizer_bytes)}",
        ]
        if self.temporary_bytes is not None:
            lines.append(
                f"temporaries       {_gb(self.temporary_bytes)} beside what the step is given, of which gradients "
                f"{_gb(self.gradient_bytes)}"
            )
        if self.host_bytes:
            lines.append(f"host memory       {_gb(self.host_bytes)} for each device")
        limit = f" of {_gb(self.limit_bytes)} ({self.limit_source})" if self.limit_bytes else ""
        lines.append(f"peak memory       {'at least ' if self.refusal else ''}{_gb(self.peak_bytes)}{limit}")
        devices = math.prod(self.mesh.values())
        lines.append(f"FLOPs per step    {self.flops / devices:.3g} a device by the model's formula (causal)")
        if self.traffic:
            lines[-1] += f"; {self.traffic.product_flops:.3g} in matrix products as compiled"
            sent = ", ".join(f"{kind} {_gb(size)}" for kind, size in self.traffic.collective_bytes.items() if size)
            lines.append(f"sent per step     {sent or 'nothing'}" + (" a device" if sent else ""))
            if self.traffic.unknown_loops:
                lines.append(f"                  ({self.traffic.unknown_loops} loops of unknown length count once)")
        lines.append(f"compiled in       {self.seconds:.0f} s")
        if self.spare is not None or self.refusal:
            lines.append(f"verdict           {self.verdict()}")
        return lines

    def verdict(self) -> str:
        if self.refusal:
            return f"does not fit: {self.refusal}"
        if self.spare is None:
            return "no limit of memory is known here"
        if self.spare < 0:
            return f"does not fit: {-self.spare:.1%} too large"
        little = f", less than the {SPARE:.0%} that another compiler's count may need" if self.spare < SPARE else ""
        return f"fits, with {self.spare:.1%} to spare{little}"


def expected_backend(config: LlamaConfig, platform: str) -> str:
    """The attention that a run takes on a platform whose devices are not here to try it."""
    if config.attention != AUTO:
        return config.attention
    return next(iter(candidates(platform, config.dtype)), PORTABLE)


def compile_step(
    model: LlamaConfig,
    optimizer_config: OptimizerConfig,
    mesh: Mesh,
    *,
    batch_size: int,
    length: int,
    accumulate: int = 1,
    gather: bool = False,
    rules: ShardingRules = DEFAULT_RULES,
) -> CompiledStep:
    """Compiles the step that `training.loop` runs, for the devices of a mesh, which need not be here.

    Args:
      model: `attention` must name a backend (see `expected_backend`).
      optimizer_config: of the run.
      mesh: of its devices.
      batch_size: rows per step.
      length: tokens per row.
      accumulate: micro-batches per step.
      gather: whether only trained tokens are projected to the vocabulary; it is compiled for a batch that trains all.
      rules: how arrays lie on the mesh.

    Raises:
      AgentBankError: the model or the batch does not divide over the mesh, or the attention does not take such rows
        or devices.
    """
    sizes = dict(mesh.shape)
    check_divisible(model, sizes, batch_size, length, accumulate, rules)
    optimizer = make_optimizer(optimizer_config, _TOTAL_STEPS)
    abstract = abstract_state(model, optimizer)
    shardings = state_shardings(mesh, abstract, rules)
    rows = batch_sharding(mesh, rules)
    step = make_train_step(
        model,
        optimizer,
        learning_rate_schedule(optimizer_config, _TOTAL_STEPS),
        capacity=batch_size * length // accumulate if gather else None,
        accumulate=accumulate,
    )
    # What adapters belong to.
    frozen = forward.abstract_params(model.base) if model.lora else None
    frozen_shardings = state_shardings(mesh, frozen, rules)
    jitted = jit_train_step(step, shardings, rows, frozen_shardings)
    state, frozen = with_shardings(abstract, shardings), with_shardings(frozen, frozen_shardings)
    batch = {
        name: jax.ShapeDtypeStruct((batch_size, length), dtype, sharding=rows)
        for name, dtype in (
            ("tokens", jnp.int32),
            ("targets", jnp.int32),
            ("loss_weights", jnp.float32),
            ("positions", jnp.int32),
            ("segment_ids", jnp.int32),
        )
    }
    limit, source = _limit(mesh)
    is_tpu = mesh.devices.flat[0].platform == "tpu"
    trained_bytes = _bytes_on_device(state.params)
    common: dict[str, Any] = {
        "mesh": sizes,
        "batch_size": batch_size,
        "length": length,
        "accumulate": accumulate,
        "attention": model.attention,
        "remat": model.remat,
        "parameter_bytes": trained_bytes + _bytes_on_device(frozen),
        "optimizer_bytes": _bytes_on_device(state.opt_state),
        "gradient_bytes": trained_bytes,
        "limit_bytes": limit,
        "limit_source": source,
        "flops": batch_size * length * flops_per_token(model, length),
    }
    started = time.perf_counter()
    with jax.set_mesh(mesh), set_rules(rules):
        try:
            lowered = jitted.lower(state, batch, frozen)
        except (NotImplementedError, RuntimeError) as error:  # of a kernel that does not take these rows or devices
            raise AgentBankError(
                f"The step with LlamaConfig.attention={model.attention!r} and rows of {length} tokens cannot be "
                f"compiled for {mesh.devices.flat[0].device_kind} ({first_line(error)}): change either."
            ) from None
        try:
            compiled, on_tpu = compile_for_tpu(lowered) if is_tpu else (lowered.compile(), None)
        except Exception as error:  # of a kind that JAX does not promise
            if (refused := parse_refusal(str(error))) is None:
                raise
            needed, limit = refused
            return CompiledStep(
                **{**common, "limit_bytes": limit},
                temporary_bytes=None,
                peak_bytes=needed,
                host_bytes=0,
                traffic=None,
                refusal=re.sub(r"^.*?(?=Ran out)", "", first_line(error)),
                seconds=time.perf_counter() - started,
            )
    seconds = time.perf_counter() - started
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None and text is not None, "every compiler for these platforms has both"
    # Others allocate what a program needs beside its arguments as one block, and count no peak within it.
    unaliased = memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak = on_tpu or memory.argument_size_in_bytes + memory.temp_size_in_bytes + unaliased
    return CompiledStep(
        **common,
        temporary_bytes=peak - memory.argument_size_in_bytes,
        peak_bytes=peak,
        host_bytes=memory.host_temp_size_in_bytes + memory.host_argument_size_in_bytes,
        traffic=read_traffic(text),
        refusal="",
        seconds=seconds,
    )


def _bytes_on_device(tree: Any) -> int:
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _limit(mesh: Mesh) -> tuple[int | None, str]:
    """Bytes that a program may have on one device, and how that is known."""
    device = mesh.devices.flat[0]
    if device.platform == "tpu":
        return enforced_memory(device), f"what the compiler enforces on a {device.device_kind}"
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit"), f"what this process may take of the {device.device_kind}"


def _gb(size: int) -> str:
    return f"{size / 1e9:,.3f} GB"
