"""The plan of a run, against known sizes."""

import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.models.llama_config import LlamaConfig
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


@pytest.mark.parametrize(
    ("config", "bytes_of_moments"),
    [
        (OptimizerConfig(mu_dtype="bfloat16"), 6.0),
        (OptimizerConfig(name="lion"), 4.0),
        (OptimizerConfig(name="lion", mu_dtype="bfloat16"), 2.0),
        (OptimizerConfig(name="adafactor", min_dim_size_to_factor=8192), 4.0),
        (OptimizerConfig(name="adafactor", min_dim_size_to_factor=8192, beta1=0.9, mu_dtype="bfloat16"), 6.0),
    ],
)
def test_the_optimizer_is_planned_by_the_moments_it_keeps(config, bytes_of_moments):
    made = plan(LLAMA2_7B, config, MeshConfig(fsdp=8, tensor=2), batch_size=32, length=4096)
    # No kernel has two sides of 8,192: Adafactor keeps their second moments whole.
    assert made.optimizer_bytes == pytest.approx(bytes_of_moments * made.parameters / 16, rel=1e-3)


def test_muon_is_planned_with_one_moment_of_kernels_and_two_of_the_rest():
    made = plan(LLAMA2_7B, OptimizerConfig(name="muon"), MeshConfig(fsdp=16), batch_size=32, length=4096)
    kernels = LLAMA2_7B.num_layers * (4 * 4096**2 + 3 * 4096 * 11008)
    norms = (2 * LLAMA2_7B.num_layers + 1) * 4096  # whole on every device
    embeddings = made.parameters - kernels - norms
    assert made.optimizer_bytes == pytest.approx(4 * (kernels + 2 * embeddings) / 16 + 8 * norms, rel=1e-6)


def test_adafactor_is_planned_with_a_row_and_a_column_of_each_kernel():
    """Each is divided as its axis is: embed over fsdp=8, heads, mlp and vocabulary over tensor=2."""
    made = plan(LLAMA2_7B, OptimizerConfig(name="adafactor"), MeshConfig(fsdp=8, tensor=2), batch_size=32, length=4096)
    layer = 4 * (4096 // 8 + 4096 // 2) + 3 * (4096 // 8 + 11008 // 2) + 2 * 4096
    others = 2 * (4096 // 8 + 32000 // 2) + 4096
    assert made.optimizer_bytes == pytest.approx(4 * (32 * layer + others), rel=1e-3)


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
