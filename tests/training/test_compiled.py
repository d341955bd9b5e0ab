"""Steps compiled ahead of time: here, and for TPUs that are not here."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from agentbank_jax.models.attention import AUTO
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.lora import LoraConfig
from agentbank_jax.parallel.hlo import Traffic
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import bytes_per_device
from agentbank_jax.parallel.topology import parse_topology, topology_devices
from agentbank_jax.training.compiled import CompiledStep, compile_step, expected_backend
from agentbank_jax.training.flops import matmul_parameters
from agentbank_jax.training.loss import gathers
from agentbank_jax.training.optimizer import OptimizerConfig, make_optimizer
from agentbank_jax.training.state import abstract_state

SMALL = LlamaConfig(
    vocab_size=512,
    hidden_size=256,
    intermediate_size=512,
    num_layers=4,
    num_heads=2,
    scan_layers=True,
    attention="xla",
)

ADAMW = OptimizerConfig(warmup_ratio=0.0, schedule="constant")

STEP = CompiledStep(
    mesh={"data": 1, "fsdp": 4, "context": 1, "tensor": 1},
    batch_size=8,
    length=128,
    accumulate=1,
    attention="splash",
    remat="full",
    parameter_bytes=1_000_000_000,
    optimizer_bytes=2_000_000_000,
    gradient_bytes=1_000_000_000,
    temporary_bytes=6_000_000_000,
    peak_bytes=9_000_000_000,
    host_bytes=0,
    limit_bytes=10_000_000_000,
    limit_source="what the compiler enforces on a TPU",
    flops=4e15,
    traffic=Traffic({"all-gather": 5_000_000_000, "all-reduce": 0}, 2 * 10**15, 0),
    refusal="",
    seconds=7.0,
)


@pytest.fixture(scope="module")
def here() -> CompiledStep:
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    return compile_step(SMALL, ADAMW, mesh, batch_size=4, length=64)


def test_a_step_is_compiled_for_the_devices_here_without_arrays():
    # Held, so that none of them is collected and its address taken again.
    before = jax.live_arrays()
    tiny = replace(SMALL, num_layers=1, hidden_size=16, intermediate_size=16, vocab_size=16)
    compile_step(tiny, ADAMW, make_mesh(MeshConfig(), jax.devices()[:1]), batch_size=1, length=8)
    assert {id(array) for array in jax.live_arrays()} <= {id(array) for array in before}


def test_its_bytes_are_those_of_the_state_and_what_comes_on_top(here: CompiledStep):
    state = abstract_state(SMALL, make_optimizer(ADAMW, 10))
    assert here.parameter_bytes == bytes_per_device(here.mesh, state.params)
    assert here.optimizer_bytes == bytes_per_device(here.mesh, state.opt_state)
    assert here.temporary_bytes > here.gradient_bytes
    assert here.peak_bytes == pytest.approx(
        here.parameter_bytes + here.optimizer_bytes + here.temporary_bytes, rel=0.01
    )
    assert here.fits and here.spare is None and "verdict" not in "\n".join(here.lines())


def test_its_products_are_three_times_the_forward_ones_and_attention(here: CompiledStep):
    products = 6 * matmul_parameters(SMALL) * 4 * 64
    assert products <= here.traffic.product_flops < 1.2 * products


def test_what_is_made_again_costs_operations_and_saves_memory(here: CompiledStep):
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    again = compile_step(replace(SMALL, remat="full"), ADAMW, mesh, batch_size=4, length=64)
    assert again.temporary_bytes < here.temporary_bytes
    assert again.traffic.product_flops > here.traffic.product_flops
    assert again.flops == here.flops


def test_a_verdict_says_how_much_is_to_spare():
    assert STEP.fits_well and "fits, with 10.0% to spare" in STEP.lines()[-1]
    tight = replace(STEP, peak_bytes=9_500_000_000)
    assert tight.fits and not tight.fits_well and "5.0% to spare, less than the 8%" in tight.verdict()
    large = replace(STEP, peak_bytes=12_000_000_000)
    assert not large.fits and "20.0% too large" in large.verdict()
    refused = replace(STEP, refusal="Ran out of memory", traffic=None, temporary_bytes=None)
    assert not refused.fits and "Ran out of memory" in refused.verdict()
    assert any("at least 9.000 GB of 10.000 GB" in line for line in refused.lines())


def test_the_figures_stand_a_device():
    text = "\n".join(STEP.lines())
    assert "1e+15 a device by the model's formula" in text and "2e+15 in matrix products" in text
    assert "all-gather 5.000 GB a device" in text and "all-reduce" not in text
    assert STEP.to_json()["spare"] == pytest.approx(0.1) and STEP.to_json()["tokens_per_step"] == 1024


def test_attention_is_that_of_the_platform_compiled_for():
    config = replace(SMALL, attention=AUTO)
    assert (expected_backend(config, "tpu"), expected_backend(config, "cpu")) == ("splash", "xla")
    assert expected_backend(SMALL, "tpu") == "xla"


def test_only_one_device_projects_trained_tokens_alone_by_itself():
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    assert gathers("auto", mesh.size) and gathers("trained", mesh.size) and not gathers("full", mesh.size)


def compile_for(name: str, config: LlamaConfig, mesh_config: MeshConfig, **sizes) -> CompiledStep:
    devices = topology_devices(parse_topology(name))
    return compile_step(config, ADAMW, make_mesh(mesh_config, devices), **sizes)


@pytest.fixture(scope="module")
def four_chips() -> CompiledStep:
    pytest.importorskip("libtpu")
    config = replace(SMALL, attention="splash", remat="full", dtype="bfloat16")
    return compile_for("v5e:2x2", config, MeshConfig(), batch_size=8, length=256)


def test_a_step_is_compiled_for_tpus_that_are_not_here(four_chips: CompiledStep):
    assert four_chips.fits_well and four_chips.limit_bytes == round(15.75 * 2**30)
    assert four_chips.parameter_bytes < four_chips.peak_bytes < four_chips.limit_bytes


def test_parameters_are_gathered_layer_by_layer_and_activations_stay(four_chips: CompiledStep):
    layers = matmul_parameters(SMALL) - SMALL.hidden_size * SMALL.vocab_size
    sent = sum(four_chips.traffic.collective_bytes.values())
    # Forward, made again, backward, and the gradients scattered: bfloat16, three quarters of each from other chips.
    assert 3 * layers * 2 * 3 / 4 < sent < 1.5 * 4 * matmul_parameters(SMALL) * 2 * 3 / 4


def test_a_step_that_is_too_large_is_told_as_such():
    pytest.importorskip("libtpu")
    large = replace(SMALL, num_layers=64, hidden_size=8192, intermediate_size=32768, num_heads=64)
    step = compile_for("v5e-1", large, MeshConfig(), batch_size=1, length=128)
    assert not step.fits and step.spare < 0 and "Ran out of memory" in step.verdict()
    assert np.isfinite(step.peak_bytes) and step.traffic is None


def test_kernels_that_adapters_belong_to_are_not_copied_for_the_scan_over_layers():
    pytest.importorskip("libtpu")
    lora = LoraConfig(projections=".*_proj", rank=16)
    wide = replace(SMALL, hidden_size=512, num_heads=4, num_layers=48, param_dtype="bfloat16", dtype="bfloat16")
    config = replace(wide, lora=lora, attention="splash", remat="full")
    step = compile_for("v5e-1", config, MeshConfig(), batch_size=1, length=256)
    # Of queries, keys and values, which were.
    copies = 3 * config.num_layers * 512 * 512 * 2
    assert step.fits and step.temporary_bytes < step.gradient_bytes + copies


def test_what_is_offloaded_lies_in_the_memory_of_the_host():
    pytest.importorskip("libtpu")
    config = replace(SMALL, attention="splash", remat="offload", dtype="bfloat16")
    step = compile_for("v5e-1", config, MeshConfig(), batch_size=8, length=256)
    # Queries, keys, values, their attention and its sum with the input, and the two products of the feed-forward block.
    kept = 5 * config.hidden_size + 2 * config.intermediate_size
    offloaded = 2 * config.num_layers * 8 * 256 * kept
    assert step.host_bytes >= offloaded > step.temporary_bytes and step.fits_well
