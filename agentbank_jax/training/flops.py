"""FLOPs of a training step, and what share of the machine's peak they are."""

import time

import jax
import jax.numpy as jnp

from agentbank_jax.models.llama_config import LlamaConfig

FORMULA = (
    "causal MFU = tokens/s x (6 N + 6 L H h T) / peak FLOP/s, where N = parameters in matrix products "
    "(the output projection included, the embedding lookup not) and T = row length; attention is halved for causality; "
    "with adapters of M parameters, 4 N + 6 M in place of 6 N"
)

# Dense bfloat16 FLOP/s of one device, from the makers' data sheets; the key is part of `device_kind`, in lower case.
_PEAKS = {
    "h200": 989e12,
    "h100": 989e12,
    "a100": 312e12,
    "v6": 918e12,
    "v5p": 459e12,
    "v5 lite": 197e12,
    "v5e": 197e12,
    "v5": 459e12,  # as JAX calls a v5p
    "v4": 275e12,
}


def matmul_parameters(config: LlamaConfig) -> int:
    """Parameters that take part in matrix products, N."""
    inner, inner_kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    layer = config.hidden_size * (2 * inner + 2 * inner_kv + 3 * config.intermediate_size)
    return config.num_layers * layer + config.hidden_size * config.vocab_size


def adapter_parameters(config: LlamaConfig) -> int:
    """Parameters of the adapters, M; 0 where the model has none."""
    if not config.lora:
        return 0
    ends = sum(sum(config.projection_shapes[name]) for name in config.lora.names)
    return config.num_layers * config.lora.rank * ends


def flops_per_token(config: LlamaConfig, length: int) -> float:
    """Floating-point operations of forward and backward per token of a row of `length` (see `FORMULA`).

    PaLM's count (Chowdhery et al., 2022, appendix B), 6 N + 12 L H h T, with the attention term halved
    because a causal token attends to half of the row on average. Kernels that stay as they are have no gradient
    of their own: with adapters of M parameters the first term is 4 N + 6 M.
    """
    products, attention = matmul_parameters(config), config.num_layers * config.num_heads * config.head_dim * length
    if config.lora:
        return 4.0 * products + 6.0 * adapter_parameters(config) + 6.0 * attention
    return 6.0 * products + 6.0 * attention


def peak_flops(device: jax.Device | None = None) -> tuple[float, str]:
    """Peak FLOP/s of one device, and where the figure comes from.

    Known accelerators: the data sheet's dense bfloat16. Others, and CPU (all its cores are one device):
    the best of a few float32 products of 1,024 x 1,024, which takes less than half a second.
    """
    device = device or jax.devices()[0]
    return data_sheet_peak(device.device_kind) or (
        measured_peak_flops(device),
        "measured: float32 product of 1024 x 1024",
    )


def data_sheet_peak(device_kind: str) -> tuple[float, str] | None:
    """Peak FLOP/s of a known accelerator, and where the figure comes from; None for others."""
    for name, peak in _PEAKS.items():
        if name in device_kind.lower():
            return peak, f"data sheet of {device_kind}, bfloat16"
    return None


def measured_peak_flops(device: jax.Device, size: int = 1024) -> float:
    """FLOP/s of the fastest of several float32 products on `device`."""
    ones = jax.device_put(jnp.ones((size, size), jnp.float32), device)
    product = jax.jit(jnp.matmul)
    product(ones, ones).block_until_ready()
    best, stop = float("inf"), time.perf_counter() + 0.25
    while time.perf_counter() < stop:
        start = time.perf_counter()
        product(ones, ones).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
