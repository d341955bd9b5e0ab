"""Whether the settings of a run fit each other, its data and its devices."""

import jax
from jax.sharding import Mesh

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.sharding_rules import ShardingRules
from agentbank_jax.parallel.sharding import check_divisible
from agentbank_jax.training.batches import Batches
from agentbank_jax.training.loss import gathers
from agentbank_jax.training.train_config import TrainConfig


def check_settings(
    model_config: LlamaConfig,
    train_config: TrainConfig,
    mesh: Mesh,
    rules: ShardingRules,
    batches: Batches,
    *,
    adapts: bool,
) -> None:
    """Checks, before anything is compiled or written, that a run can be what it is asked to be.

    Args:
      model_config, train_config: the settings.
      mesh, rules: the devices, and what lies over which of them.
      batches: the data.
      adapts: whether there are weights that adapters could belong to.

    Raises:
      AgentBankError: the values that do not fit, and what to change.
    """
    sizes = dict(mesh.shape)
    check_divisible(model_config, sizes, train_config.batch_size, batches.length, train_config.accumulate, rules)
    if batches.batch_size != train_config.batch_size:
        raise AgentBankError(
            f"The data comes in batches of {batches.batch_size} rows, but TrainConfig.batch_size is "
            f"{train_config.batch_size}: make them equal."
        )
    if batches.length > model_config.max_position_embeddings:
        raise AgentBankError(
            f"Rows of {batches.length} tokens are longer than the model's max_position_embeddings="
            f"{model_config.max_position_embeddings}: shorten the rows or raise it."
        )
    if model_config.lora and not adapts:
        raise AgentBankError(
            "LoraConfig is set, but no weights that its adapters could belong to: name them with RunConfig.weights or "
            "--checkpoint."
        )
    if gathers(train_config.loss, mesh.size) and jax.process_count() > 1:
        raise AgentBankError(
            "TrainConfig.loss='trained' is for one process, since the number of trained tokens decides what compiles: "
            "choose 'auto' or 'full'."
        )
