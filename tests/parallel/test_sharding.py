"""Where parameters lie, and what does not divide."""

import jax
import pytest
from jax.sharding import PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.models.sharding_rules import ShardingRules
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.parallel.sharding import (
    LOGICAL_AXES,
    bytes_per_device,
    check_divisible,
    check_model_divisible,
    partition_spec,
    path_name,
)

GROUPED = LlamaConfig(
    vocab_size=96, hidden_size=48, intermediate_size=80, num_layers=3, num_heads=24, num_kv_heads=6, head_dim=2
)


@pytest.mark.parametrize("changes", [{"tie_word_embeddings": True}, {}, {"family": "qwen2"}])
def test_every_parameter_has_logical_axes_of_its_rank(changes):
    config = LlamaConfig(vocab_size=8, hidden_size=4, intermediate_size=4, num_layers=1, num_heads=1, **changes)
    for path, leaf in jax.tree_util.tree_leaves_with_path(forward.abstract_params(config)):
        assert len(LOGICAL_AXES[path_name(path)]) == leaf.ndim


def test_optimizer_moments_lie_where_their_parameters_do():
    path = tuple(jax.tree_util.DictKey(k) for k in ("mu", "layers", "mlp", "up_proj", "kernel"))
    assert partition_spec(path) == PartitionSpec(None, "fsdp", "tensor")
    assert partition_spec(path, ShardingRules(mlp=None, embed="data")) == PartitionSpec(None, "data", None)


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
