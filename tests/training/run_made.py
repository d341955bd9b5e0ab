"""A training run over made batches as a process of its own, or one of several, for tests that kill it.

python -m tests.training.run_made MODEL_DIR STEPS SECONDS_PER_BATCH [PROCESS PROCESSES PORT]
"""

import sys
import time
from pathlib import Path

import jax

from agentbank_jax.configuration.report_errors import report_errors
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.loop import train
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.train_config import TrainConfig
from tests.training.made_batches import MadeBatches

CONFIG = LlamaConfig(vocab_size=31, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2)


class SlowBatches(MadeBatches):
    """A process's rows of the batches; leaves the test time to strike."""

    def __init__(self, seconds: float, process: int, processes: int):
        super().__init__(CONFIG.vocab_size)
        self.seconds, self.process, self.processes = seconds, process, processes

    def iterator(self, start_step=0):
        rows = self.batch_size // self.processes
        for batch in super().iterator(start_step):
            time.sleep(self.seconds)
            yield {name: values[self.process * rows :][:rows] for name, values in batch.items()}


def main(model_dir: str, steps: str, seconds: str, process: str = "0", processes: str = "1", port: str = "") -> int:
    if port:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
    result = train(
        CONFIG,
        TrainConfig(steps=int(steps), checkpoint_every=5, log_every=1, compilation_cache=f"{model_dir}/../compiled"),
        OptimizerConfig(learning_rate=1e-2),
        MeshConfig(),
        SlowBatches(float(seconds), int(process), int(processes)),
        model_dir,
        facts={"template": "made"},
    )
    # Where the file system is not shared, each process has its own metrics; here the first one writes them for all.
    Path(f"{model_dir}.{process}.json").write_text(str(result.step))
    return 0


if __name__ == "__main__":
    sys.exit(report_errors(lambda: main(*sys.argv[1:])))
