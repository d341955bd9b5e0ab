"""Rules from logical axes to the axes of a mesh."""

import pytest
from jax.sharding import PartitionSpec

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.sharding_rules import DEFAULT_RULES, ShardingRules


def test_a_logical_axis_lies_over_one_mesh_axis_or_several_or_none():
    rules = ShardingRules(embed=("fsdp", "data"), kv_heads=None)
    assert rules.spec(("layers", "embed", "heads")) == PartitionSpec(None, ("fsdp", "data"), "tensor")
    assert rules.spec(("embed", "kv_heads")) == PartitionSpec(("fsdp", "data"), None)
    assert rules.parts("embed", {"data": 2, "fsdp": 3, "tensor": 5}) == 6
    assert DEFAULT_RULES.parts("batch", {"data": 2, "fsdp": 3, "tensor": 5}) == 6


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"embed": "fdsp"}, r"ShardingRules.embed='fdsp': a mesh has no axis 'fdsp'. Did you mean 'fsdp'\?"),
        ({"batch": ("data", "tensr")}, r"ShardingRules.batch=.*no axis 'tensr'. Did you mean 'tensor'\?"),
        ({"length": "tensor"}, "ShardingRules.heads='tensor': activations .* 'tensor' twice, because length='tensor'"),
        ({"mlp": ("tensor", "tensor")}, "ShardingRules.mlp=.* 'tensor' twice, because mlp="),
    ],
)
def test_a_rule_that_no_mesh_can_follow_is_refused(rules, message):
    with pytest.raises(AgentBankError, match=message):
        ShardingRules(**rules)
