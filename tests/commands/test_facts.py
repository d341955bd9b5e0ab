"""What weights and a recipe must agree in."""

from dataclasses import replace

import gin
import pytest

from agentbank_jax.commands.facts import check_same_shape
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.configuration import read_gin, read_training
from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama_config import LlamaConfig

PLAIN = LlamaConfig(vocab_size=24, hidden_size=16, intermediate_size=20, num_layers=2, num_heads=4)
LLAMA3 = replace(PLAIN, rope_scaling="llama3", rope_factor=8.0)


def _model(name: str) -> LlamaConfig:
    gin.clear_config()
    read_gin(CommandLine(gin_files=(name,)))
    return read_training().model


def test_the_recipe_of_long_rows_starts_from_the_weights_of_the_recipe_of_short_ones() -> None:
    short, long = (_model(name) for name in ("samoyed_7b.gin", "pods/samoyed_7b_32k_v5p_32.gin"))
    assert long.rope_scaling == "linear"
    check_same_shape(short, long, "RunConfig.weights=weights")


@pytest.mark.parametrize(
    ("found", "configured", "name"),
    [
        (LLAMA3, PLAIN, "rope_scaling"),
        (LLAMA3, replace(PLAIN, rope_scaling="linear", rope_factor=8.0), "rope_scaling"),
        (LLAMA3, replace(LLAMA3, rope_factor=32.0), "rope_factor"),
        (PLAIN, replace(LLAMA3, rope_theta=5e5), "rope_theta"),
        (PLAIN, replace(LLAMA3, num_layers=3), "num_layers"),
    ],
)
def test_a_scaling_is_neither_left_out_nor_changed_and_excuses_nothing_else(
    found: LlamaConfig, configured: LlamaConfig, name: str
) -> None:
    with pytest.raises(AgentBankError, match=f"^weights: its LlamaConfig.{name} is .*; expected the same shape"):
        check_same_shape(found, configured, "weights")
