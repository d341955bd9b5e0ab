"""What the loop costs beside the compiled step, for `bench_loop.py`."""

import io
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, put_batch, state_shardings
from agentbank_jax.training.loop import train
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.progress import TrainingProgress
from agentbank_jax.training.state import abstract_state, make_init
from agentbank_jax.training.step import jit_train_step, make_train_step
from agentbank_jax.training.train_config import TrainConfig
from scripts.bench_training_data import packed_batches

ROWS, LENGTH = 5, 1024
MODEL = LlamaConfig(vocab_size=3500, hidden_size=128, intermediate_size=384, num_layers=3, num_heads=1)
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, schedule="constant")
MESH = MeshConfig()


class CycledBatches:
    """A few packed batches over and over, each made anew as delivery does."""

    batch_size, length, steps_per_epoch, fingerprint = ROWS, LENGTH, 8, "cycled"

    def __init__(self) -> None:
        self.batches = packed_batches(
            {
                "rows": ROWS,
                "length": LENGTH,
                "model": {"vocab_size": MODEL.vocab_size},
                "data": "packed",
                "mean_tokens": 0,
                "trained": 0.5,
            }
        )

    def iterator(self, start_step: int = 0):
        step = start_step
        while True:
            yield {name: np.array(values) for name, values in self.batches[step % len(self.batches)].items()}
            step += 1


def measure(folder: Path, steps: int) -> dict[str, float]:
    """One interleaved measurement: shares `outside` and `checkpoint`, and `step_seconds` of the bare step."""
    batches = CycledBatches()
    quiet = TrainingProgress(steps, 0, Console(file=io.StringIO()))

    def run(name: str, every: int) -> float:
        config = TrainConfig(
            steps=steps, batch_size=ROWS, checkpoint_every=every, loss="full", peak_flops=1e12, compilation_cache=""
        )
        result = train(MODEL, config, OPTIMIZER, MESH, batches, folder / name, facts={}, progress=quiet)
        return result.seconds / steps

    bare = _bare_step(batches, steps)
    without, saving = run("without", 0), run("saving", 50)
    bare = (bare + _bare_step(batches, steps)) / 2
    return {"outside": 1 - bare / without, "checkpoint": 1 - without / saving, "step_seconds": bare}


def _bare_step(batches: CycledBatches, steps: int) -> float:
    """Seconds of the compiled step alone, given out as fast as it goes."""
    mesh = make_mesh(MESH)
    config = forward.with_chosen_attention(MODEL)
    optimizer, schedule = make_optimizer(OPTIMIZER, steps), learning_rate_schedule(OPTIMIZER, steps)
    shardings = state_shardings(mesh, abstract_state(config, optimizer))
    rows = batch_sharding(mesh)
    state = jax.jit(make_init(config, optimizer), out_shardings=shardings)(jnp.int32(0))
    on_device = [put_batch(batch, rows, (ROWS, LENGTH)) for batch in batches.batches]
    step = jit_train_step(make_train_step(config, optimizer, schedule), shardings, rows)
    with jax.set_mesh(mesh):
        state, _ = jax.block_until_ready(step(state, on_device[0], None))
        began, pending = time.perf_counter(), None
        for number in range(steps):
            state, metrics = step(state, on_device[number % len(on_device)], None)
            # As in the loop, one step is given out ahead.
            jax.block_until_ready(pending)
            pending = metrics["loss"]
        jax.block_until_ready(state)
    return (time.perf_counter() - began) / steps
