"""Measures the real training step on made packed trajectories: tokens/s and causal MFU.

  python scripts/bench_training.py --hidden_size=128 --rows=16 --length=512

Needs neither TensorFlow, SeqIO, gin nor Grain. On a machine that does other work too, read the column
`tokens/s of CPU`: tokens per second of processor time, times the number of cores.
"""

import argparse
import os
import time

import numpy as np


def made_batch(rows: int, length: int, vocab_size: int, trained: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Packed rows of trajectories of 60 to 600 tokens (mean 250); turns of 8 to 40 tokens, a share of them trained."""
    rng = np.random.default_rng(seed)
    shape = (rows, length)
    batch = {key: np.zeros(shape, np.int32) for key in ("positions", "segment_ids")}
    batch["tokens"] = rng.integers(3, vocab_size, shape, dtype=np.int32)
    batch["targets"] = np.roll(batch["tokens"], -1, axis=1)
    batch["loss_weights"] = np.zeros(shape, np.float32)
    for row in range(rows):
        start, segment = 0, 1
        while start < length:
            stop = min(length, start + int(np.clip(rng.gamma(6, 250 / 6), 60, 600)))
            batch["positions"][row, start:stop] = np.arange(stop - start)
            batch["segment_ids"][row, start:stop] = segment
            while start < stop:
                end = min(stop, start + int(rng.integers(8, 40)))
                batch["loss_weights"][row, start:end] = rng.random() < trained
                start = end
            segment += 1
    return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab_size", type=int, default=3000)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--intermediate_size", type=int, default=0, help="0: three times the hidden size")
    parser.add_argument("--num_layers", type=int, default=4)
    parser.add_argument("--num_heads", type=int, nargs="+", default=[4])
    parser.add_argument("--tie_word_embeddings", action="store_true")
    parser.add_argument("--rows", type=int, default=16, help="rows of a batch")
    parser.add_argument("--length", type=int, nargs="+", default=[512], help="tokens of a row")
    parser.add_argument("--trained", type=float, default=0.4, help="share of trained tokens")
    parser.add_argument("--attention", nargs="+", default=["xla"])
    parser.add_argument("--loss", nargs="+", default=["trained"], choices=["trained", "full"])
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--scan_layers", action="store_true")
    parser.add_argument("--seconds", type=float, default=4.0, help="of steps per variant")
    flags = parser.parse_args()

    import itertools

    import jax

    from agentbank_jax.models import forward
    from agentbank_jax.models.llama import LlamaConfig
    from agentbank_jax.training.flops import FORMULA, flops_per_token, peak_flops
    from agentbank_jax.training.loss import trained_capacity
    from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
    from agentbank_jax.training.state import make_init
    from agentbank_jax.training.step import make_train_step

    peak, source = peak_flops()
    print(f"{FORMULA}; peak {peak / 1e9:,.0f} GFLOP/s ({source})")
    print(
        f"{'variant':46} {'tokens/s':>9} {'best':>9} {'tokens/s of CPU':>15} {'MFU':>6} {'step ms':>8} {'compile s':>9}"
    )
    optimizer_config = OptimizerConfig(learning_rate=1e-3)
    optimizer = make_optimizer(optimizer_config, 1000)
    for heads, length, attention, loss, dtype in itertools.product(
        flags.num_heads, flags.length, flags.attention, flags.loss, flags.dtype
    ):
        config = LlamaConfig(
            vocab_size=flags.vocab_size,
            hidden_size=flags.hidden_size,
            intermediate_size=flags.intermediate_size or 3 * flags.hidden_size,
            num_layers=flags.num_layers,
            num_heads=heads,
            tie_word_embeddings=flags.tie_word_embeddings,
            attention=attention,
            dtype=dtype,
            scan_layers=flags.scan_layers,
        )
        batch = made_batch(flags.rows, length, flags.vocab_size, flags.trained)
        capacity = trained_capacity(batch["loss_weights"]) if loss == "trained" else None
        step = make_train_step(config, optimizer, learning_rate_schedule(optimizer_config, 1000), capacity=capacity)
        state = jax.jit(make_init(config, optimizer))(np.int32(0))
        batch = jax.device_put(batch)
        started = time.perf_counter()
        step = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
        compiling = time.perf_counter() - started
        for _ in range(2):
            state, _ = jax.block_until_ready(step(state, batch))
        count, best, cpu, started = 0, float("inf"), time.process_time(), time.perf_counter()
        while time.perf_counter() - started < flags.seconds:
            before = time.perf_counter()
            state, _ = jax.block_until_ready(step(state, batch))
            best, count = min(best, time.perf_counter() - before), count + 1
        wall = (time.perf_counter() - started) / count
        cpu = (time.process_time() - cpu) / count
        tokens = flags.rows * length
        cores = len(os.sched_getaffinity(0))
        name = (
            f"{forward.count_parameters(config) / 1e6:.2f}M H{heads} {flags.rows}x{length} {attention} {loss} {dtype}"
        )
        print(
            f"{name:46} {tokens / wall:9,.0f} {tokens / best:9,.0f} {cores * tokens / cpu:15,.0f} "
            f"{tokens / wall * flops_per_token(config, length) / peak:6.1%} {wall * 1e3:8,.0f} {compiling:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
