"""Where parameters lie, and what does not divide."""

from dataclasses import replace

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, MESH_AXES, ShardingRules
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.parallel.sharding import (
    LOGICAL_AXES,
    bytes_per_device,
    check_divisible,
    check_model_divisible,
    path_name,
    state_shardings,
    state_specs,
)
from agentbank_jax.training.optimizer import OPTIMIZERS, OptimizerConfig, make_optimizer
from agentbank_jax.training.state import abstract_state

GROUPED = LlamaConfig(
    vocab_size=96, hidden_size=48, intermediate_size=80, num_layers=3, num_heads=24, num_kv_heads=6, head_dim=2
)


@pytest.mark.parametrize("changes", [{"tie_word_embeddings": True}, {}, {"family": "qwen2"}])
def test_every_parameter_has_logical_axes_of_its_rank(changes):
    config = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_layers=1, num_heads=1, **changes)
    for path, leaf in jax.tree_util.tree_leaves_with_path(forward.abstract_params(config)):
        assert len(LOGICAL_AXES[path_name(path)]) == leaf.ndim


def _specs(optimizer, rules=DEFAULT_RULES, lora=None):
    """The partitions of an optimizer's state, by the names of its leaves."""
    config = replace(GROUPED, lora=lora)
    specs = state_specs(abstract_state(config, make_optimizer(optimizer, 10)), rules)
    leaves = jax.tree_util.tree_leaves_with_path(specs.opt_state, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec))
    return {path_name(path): spec for path, spec in leaves}


def _spec(specs, moment, parameter):
    (name,) = (name for name in specs if name.endswith(f"/{moment}/{parameter}"))
    return specs[name]


@pytest.mark.parametrize(
    ("optimizer", "moment"), [("adamw", "mu"), ("adamw", "nu"), ("lion", "mu"), ("muon", "mu"), ("adafactor", "ema")]
)
def test_optimizer_moments_lie_where_their_parameters_do(optimizer, moment):
    config = OptimizerConfig(name=optimizer, beta1=0.9)
    assert _spec(_specs(config), moment, "layers/mlp/up_proj/kernel") == PartitionSpec(None, "fsdp", "tensor")
    other = _specs(config, ShardingRules(mlp=None, embed="data"))
    assert _spec(other, moment, "layers/mlp/up_proj/kernel") == PartitionSpec(None, "data", None)


def test_rows_and_columns_of_a_moment_lie_as_the_axes_they_keep():
    """A row is the mean over the longest side, a column over the next; each layer has its own."""
    specs = _specs(OptimizerConfig(name="adafactor", min_dim_size_to_factor=8))
    # [layers, embed=48, mlp=80] and [layers, mlp=80, embed=48]
    for kernel in ("up_proj", "down_proj"):
        assert _spec(specs, "v_row", f"layers/mlp/{kernel}/kernel") == PartitionSpec(None, "fsdp")
        assert _spec(specs, "v_col", f"layers/mlp/{kernel}/kernel") == PartitionSpec(None, "tensor")
    # [layers, embed=48, heads=48] and [layers, heads=48, embed=48]: the later of equal sides is the longest.
    assert _spec(specs, "v_row", "layers/self_attn/q_proj/kernel") == PartitionSpec(None, "fsdp")
    assert _spec(specs, "v_row", "layers/self_attn/o_proj/kernel") == PartitionSpec(None, "tensor")
    # [vocab=96, embed=48]
    assert _spec(specs, "v_row", "embed_tokens/embedding") == PartitionSpec("fsdp")
    assert _spec(specs, "v_col", "embed_tokens/embedding") == PartitionSpec("tensor")
    # Places that hold nothing.
    assert _spec(specs, "v", "layers/mlp/up_proj/kernel") == PartitionSpec()
    assert _spec(specs, "v_row", "layers/input_layernorm/scale") == PartitionSpec()
    assert _spec(specs, "v_row", "norm/scale") == PartitionSpec()
    adapted = _specs(
        OptimizerConfig(name="adafactor", min_dim_size_to_factor=2), lora=LoraConfig(projections="up_proj", rank=4)
    )
    assert _spec(adapted, "v_col", "layers/mlp/up_proj/lora/a") == PartitionSpec(None, "fsdp")
    assert _spec(adapted, "v_col", "layers/mlp/up_proj/lora/b") == PartitionSpec(None, "tensor")
    assert _spec(adapted, "v_row", "layers/mlp/up_proj/lora/b") == PartitionSpec(None, None)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_axis_of_a_state_is_divided_that_does_not_divide(optimizer):
    mesh = AbstractMesh((1, 4, 1, 2), MESH_AXES)
    beta1 = 0.9 if optimizer == "adafactor" else None
    abstract = abstract_state(GROUPED, make_optimizer(OptimizerConfig(name=optimizer, beta1=beta1), 10))
    shardings = state_shardings(mesh, abstract)
    # Raises where an axis does not divide.
    jax.tree.map(lambda leaf, sharding: sharding.shard_shape(leaf.shape), abstract, shardings)


def test_bytes_per_device_follow_the_rules():
    sizes, params = {"data": 2, "fsdp": 4, "context": 1, "tensor": 2}, forward.abstract_params(GROUPED)
    whole = ShardingRules(embed=None, heads=None, kv_heads=None, mlp=None, vocab=None)
    norms = 4 * 48 * (2 * GROUPED.num_layers + 1)
    everything = bytes_per_device(sizes, params, whole)
    assert everything == 4 * forward.count_parameters(GROUPED)
    assert bytes_per_device(sizes, params) == norms + (everything - norms) // 8
    assert bytes_per_device(sizes, params, ShardingRules(embed=("data", "fsdp"))) == norms + (everything - norms) // 16


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        # Query heads divide, key heads do not.
        ({"fsdp": 1, "tensor": 4}, "num_kv_heads=6 does not divide over the mesh axis tensor=4.*remainder is 2"),
        ({"fsdp": 1, "tensor": 5}, "num_heads=24 does not divide over the mesh axis tensor=5.*remainder is 4"),
        ({"fsdp": 5}, "A batch of 16 rows does not divide over data=1 x fsdp=5 .*multiple of 5"),
        ({"fsdp": 1, "context": 5}, "row length=64 does not divide over the mesh axis context=5.*remainder is 4"),
        ({"data": 16, "fsdp": 2}, "A batch of 16 rows does not divide over data=16 x fsdp=2 .*multiple of 32"),
        ({"fsdp": 1, "tensor": 4, "rules": ShardingRules(kv_heads=None, layers="tensor", heads=None, mlp=None)},
         "num_layers=3 does not divide over the mesh axis tensor=4"),
        ({"fsdp": 16, "rules": ShardingRules(kv_heads=None, heads="fsdp", embed=None, batch="data")},
         "num_heads=24 does not divide over the mesh axis fsdp=16.*ShardingRules.heads .*remainder is 8"),
        ({"fsdp": 2, "rules": ShardingRules(vocab="fsdp")},
         "ShardingRules.embed='fsdp': embed_tokens/embedding .* 'fsdp' twice, because vocab='fsdp'"),
    ],
)  # fmt: skip
def test_what_does_not_divide_is_refused_with_the_numbers(mesh, message):
    config = MeshConfig(**mesh)
    with pytest.raises(AgentBankError, match=message) as caught:
        check_divisible(GROUPED, config.slice_axes, 16, 64, rules=config.rules)
    assert "\n" not in str(caught.value)


def test_more_parts_than_key_heads_are_taken_where_keys_lie_on_every_device():
    sizes = MeshConfig(fsdp=2, tensor=4).slice_axes
    check_divisible(GROUPED, sizes, 16, 64, rules=ShardingRules(kv_heads=None))


def test_an_import_is_checked_without_a_batch():
    with pytest.raises(AgentBankError, match="hidden_size=48 does not divide over the mesh axis fsdp=5"):
        check_model_divisible(GROUPED, MeshConfig(fsdp=5).sizes(5))


def test_micro_batches_divide_too():
    with pytest.raises(AgentBankError, match=r"16 rows does not divide over data=1 x fsdp=8 and 3 micro-batch.*of 24"):
        check_divisible(GROUPED, MeshConfig(fsdp=8).sizes(8), 16, 64, accumulate=3)
