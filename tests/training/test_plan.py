"""The plan of a run, against known sizes."""

import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig
from agentbank_jax.training.flops import data_sheet_peak, flops_per_token, matmul_parameters, measured_peak_flops
from agentbank_jax.training.optimizer import OptimizerConfig
from agentbank_jax.training.plan import plan

LLAMA2_7B = LlamaConfig(
    vocab_size=32000,
    hidden_size=4096,
    intermediate_size=11008,
    num_layers=32,
    num_heads=32,
    max_position_embeddings=4096,
)


def test_llama2_7b_is_planned_over_16_devices_without_any():
    made = plan(LLAMA2_7B, OptimizerConfig(), MeshConfig(fsdp=16), batch_size=32, length=4096)
    assert made.parameters == 6_738_415_616
    assert made.tokens_per_step == 32 * 4096
    assert made.parameter_bytes == pytest.approx(made.parameters * 4 / 16, rel=1e-3)
    assert made.optimizer_bytes == pytest.approx(2 * made.parameter_bytes, rel=1e-3)
    assert "6,738,415,616" in "\n".join(made.lines())


def test_flops_count_products_and_half_the_attention():
    products = LLAMA2_7B.num_layers * (4 * 4096**2 + 3 * 4096 * 11008) + 4096 * 32000
    assert matmul_parameters(LLAMA2_7B) == products
    assert flops_per_token(LLAMA2_7B, 4096) == 6 * products + 6 * 32 * 4096 * 4096


def test_a_plan_that_does_not_divide_is_refused_with_the_numbers():
    with pytest.raises(AgentBankError, match="num_heads=32 does not divide over the mesh axis tensor=3"):
        plan(LLAMA2_7B, OptimizerConfig(), MeshConfig(fsdp=1, tensor=3), batch_size=3, length=8)
    with pytest.raises(AgentBankError, match=r"batch of 10 rows .* multiple of 8"):
        plan(LLAMA2_7B, OptimizerConfig(), MeshConfig(fsdp=8), batch_size=10, length=8)


def test_the_peak_of_this_machine_can_be_measured():
    import jax

    assert 1e8 < measured_peak_flops(jax.devices()[0], size=128) < 1e16


@pytest.mark.parametrize(
    ("kind", "peak"), [("TPU v5 lite", 197e12), ("TPU v5", 459e12), ("TPU v5p", 459e12), ("TPU v6 lite", 918e12)]
)
def test_the_peak_of_a_tpu_is_found_by_the_name_that_jax_gives_it(kind, peak):
    assert data_sheet_peak(kind)[0] == peak
