"""What must be the same wherever a model is trained, acts or is carried on."""

from collections.abc import Iterable

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.trajectories.templates.registry import ChatTemplate
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

ROPE_SCALING_FIELDS = (
    "rope_scaling",
    "rope_factor",
    "rope_low_freq_factor",
    "rope_high_freq_factor",
    "rope_original_max_position",
)
"""The fields of `LlamaConfig` that say how rotary frequencies are lowered."""


def template_facts(template: ChatTemplate) -> dict[str, object]:
    """Returns what travels with each checkpoint: the template, its tokenizer and the tokens that end a turn."""
    return {
        "template": template.fingerprint,
        "tokenizer_sha256": template.tokenizer.fingerprint,
        "stop_ids": list(template.stop_ids),
    }


def check_allowed_changes(names: Iterable[str], template: ChatTemplate, model: LlamaConfig) -> None:
    """Checks that what may differ from a checkpoint is a fact, as `training.loop.train` compares them.

    Raises:
      AgentBankError: on another name, which would allow nothing.
    """
    known = {
        *template_facts(template),
        "data_fingerprint",
        "base_fingerprint",
        "held_out_share",
        *(f"model.{name}" for name in model.shape_facts),
    }
    for name in names:
        if name not in known:
            raise AgentBankError(f"--allow_change={name}: no fact is called so.{did_you_mean(name, known)}")


def check_vocabulary(tokenizer: Tokenizer, model: LlamaConfig) -> None:
    """Raises AgentBankError where a tokenizer has ids for which the model has no row."""
    if tokenizer.vocab_size > model.vocab_size:
        raise AgentBankError(
            f"{tokenizer.name} has {tokenizer.vocab_size} pieces, but LlamaConfig.vocab_size = {model.vocab_size}: "
            "expected at least as many rows as pieces."
        )


def check_same_shape(found: LlamaConfig, configured: LlamaConfig, source: str) -> None:
    """Raises AgentBankError where weights from `source` are of another shape than the model that is configured.

    A scaling of rotary positions may be added to weights that were trained without any: so they learn longer rows.
    """
    scaled = found.rope_scaling == "none" != configured.rope_scaling
    for name, value in configured.shape_facts.items():
        if scaled and name in ROPE_SCALING_FIELDS:
            continue
        if found.shape_facts[name] != value:
            raise AgentBankError(
                f"{source}: its LlamaConfig.{name} is {found.shape_facts[name]!r}, and {value!r} is configured; "
                "expected the same shape."
            )
