"""One measurement of this project's step, for `bench_training.py`; prints one line of JSON."""

import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.flops import flops_per_token, peak_flops
from agentbank_jax.training.loss import trained_capacity
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.state import make_init
from agentbank_jax.training.step import make_train_step
from scripts.bench_training_data import packed_batches
from scripts.process_memory import peak_resident_bytes


def main(settings: dict) -> int:
    before = peak_resident_bytes()
    config = LlamaConfig(
        **settings["model"],
        **{name: settings[name] for name in ("dtype", "param_dtype", "remat", "scan_layers")},
        initializer_range=0.02,  # the peer's
        attention=settings["attention"],
    )
    batches = packed_batches(settings)
    config = replace(
        forward.with_chosen_attention(config), max_segments=max(int(batch["segment_ids"].max()) for batch in batches)
    )
    capacity = None
    if settings["loss"] == "trained":
        capacity = max(trained_capacity(batch["loss_weights"]) for batch in batches)
    optimizer_config = OptimizerConfig(learning_rate=1e-4, schedule="constant", warmup_ratio=0.0)  # as the peer's
    optimizer = make_optimizer(optimizer_config, 1000)
    schedule = learning_rate_schedule(optimizer_config, 1000)
    state = jax.block_until_ready(jax.jit(make_init(config, optimizer))(np.int32(0)))
    on_device = [jax.device_put(batch) for batch in batches]
    began = time.perf_counter()
    step = jax.jit(make_train_step(config, optimizer, schedule, capacity=capacity), donate_argnums=0)
    step = step.lower(state, on_device[0]).compile()
    state, metrics = jax.block_until_ready(step(state, on_device[0]))
    compiling, first_loss = time.perf_counter() - began, float(metrics["loss"])
    state, metrics = jax.block_until_ready(step(state, on_device[1 % len(batches)]))

    # As in training, a step is given out before the one before it has ended.
    seconds, useful, number, began = [], 0, 0, time.perf_counter()
    pending = None
    while time.perf_counter() - began < settings["seconds"] or number < 3:
        started = time.perf_counter()
        state, metrics = step(state, on_device[number % len(batches)])
        if pending is not None:
            jax.block_until_ready(pending)
        pending = metrics["loss"]
        useful += int((batches[number % len(batches)]["segment_ids"] > 0).sum())
        seconds.append(time.perf_counter() - started)
        number += 1
    jax.block_until_ready(state)
    wall = time.perf_counter() - began
    peak, source = peak_flops()
    statistics_of_device = jax.devices()[0].memory_stats() or {}
    used = peak_resident_bytes() - before
    places = settings["rows"] * settings["length"]
    print(
        json.dumps(
            {
                "about": f"{forward.count_parameters(config) / 1e6:,.0f}M parameters, {config.dtype}, parameters and "
                f"moments {config.param_dtype}, attention {config.attention}, remat {config.remat}, loss "
                f"{settings['loss']}, {jax.devices()[0].device_kind}, peak {peak / 1e12:,.2f} TFLOP/s ({source})",
                "tokens_per_second": useful / wall,
                "seconds_per_step": statistics.median(seconds),
                "mfu": number * places / wall * flops_per_token(config, settings["length"]) / peak,
                "fill": useful / (number * places),
                "peak_bytes": statistics_of_device.get("peak_bytes_in_use", used),
                "compile_seconds": compiling,
                "first_loss": first_loss,
                "last_loss": float(metrics["loss"]),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(lambda: main(json.loads(sys.argv[1]))))
