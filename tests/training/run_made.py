"""A training run over made batches as a process of its own, for tests that kill it.

python -m tests.training.run_made MODEL_DIR STEPS SECONDS_PER_BATCH
"""

import sys
import time

from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.loop import train
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.train_config import TrainConfig
from tests.training.made_batches import MadeBatches

CONFIG = LlamaConfig(vocab_size=31, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2)


class SlowBatches(MadeBatches):
    """Leaves the test time to strike."""

    def slow_iterator(self, start_step: int, seconds: float):
        for batch in MadeBatches.iterator(self, start_step):
            time.sleep(seconds)
            yield batch


def main(model_dir: str, steps: str, seconds: str) -> None:
    batches = SlowBatches(CONFIG.vocab_size)
    batches.iterator = lambda start_step=0: batches.slow_iterator(start_step, float(seconds))
    train(
        CONFIG,
        TrainConfig(steps=int(steps), checkpoint_every=5, log_every=3, compilation_cache=f"{model_dir}/../compiled"),
        OptimizerConfig(learning_rate=1e-2),
        MeshConfig(),
        batches,
        model_dir,
        facts={"template": "made"},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
