"""What a compiled program sends and multiplies, against programs of known counts."""

import jax
import jax.numpy as jnp
import pytest

from agentbank_jax.parallel.hlo import read_traffic

# A loop of 6 layers, in which a loop whose counter goes to 8 in steps of 2 passes quarters of a kernel around.
PROGRAM = """\
HloModule jit_step, is_scheduled=true, num_partitions=4

%ring_body.1 (p: (bf16[8,16], u32[])) -> (bf16[8,16], u32[]) {
  %two = u32[]{:T(128)} constant(2)
  %p = (bf16[8,16]{1,0:T(8,128)(2,1)}, u32[]{:T(128)}) parameter(0)
  %kernel = bf16[8,16]{1,0:T(8,128)(2,1)} get-tuple-element(%p), index=0
  %counter = u32[]{:T(128)} get-tuple-element(%p), index=1
  %collective-permute-start.1 = (bf16[8,16]{1,0:T(8,128)(2,1)}, bf16[8,16]{1,0:T(8,128)(2,1)S(1)}, u32[]{:S(2)}, \
u32[]{:S(2)}) collective-permute-start(%kernel), channel_id=1, source_target_pairs={{0,1},{1,2},{2,3},{3,0}}
  %collective-permute-done.1 = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} collective-permute-done(%collective-permute-start.1)
  %next = u32[]{:T(128)} add(%counter, %two)
  %copied = u32[]{:T(128)} copy(%next)
  ROOT %both = (bf16[8,16]{1,0:T(8,128)(2,1)S(1)}, u32[]{:T(128)}) tuple(%collective-permute-done.1, %copied)
}

%ring_condition.1 (p: (bf16[8,16], u32[])) -> pred[] {
  %p = (bf16[8,16]{1,0:T(8,128)(2,1)}, u32[]{:T(128)}) parameter(0)
  %counter = u32[]{:T(128)} get-tuple-element(%p), index=1
  %eight = u32[]{:T(128)} constant(8)
  ROOT %less = pred[]{:T(512)} compare(%counter, %eight), direction=LT
}

%begin_gathering (x: bf16[2,32]) -> bf16[8,32] {
  %x = bf16[2,32]{1,0} parameter(0)
  %all-gather.1 = bf16[8,32]{1,0} all-gather(%x), channel_id=7, replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %started = bf16[8,32]{1,0} custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.2 (x: bf16[2,32]) -> bf16[8,32] {
  %x = bf16[2,32]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[8,32]{1,0} all-gather(%x), channel_id=7, replica_groups={{0,1,2,3}}, dimensions={0}
}

%all-reduce-scatter.3 (x: f32[8,8]) -> f32[2,8] {
  %x = f32[8,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %all-reduce.3 = f32[8,8]{1,0} all-reduce(%x), channel_id=8, replica_groups=[1,4]<=[4], to_apply=%sum
  ROOT %part = f32[2,8]{1,0} dynamic-slice(%all-reduce.3, %zero, %zero), dynamic_slice_sizes={2,8}
}

%layer_body (p: (s32[], bf16[8,16], bf16[2,32], f32[8,8])) -> (s32[], bf16[8,16], bf16[2,32], f32[8,8]) {
  %p = (s32[], bf16[8,16]{1,0}, bf16[2,32]{1,0}, f32[8,8]{1,0}) parameter(0)
  %layer = s32[] get-tuple-element(%p), index=0
  %kernel = bf16[8,16]{1,0} get-tuple-element(%p), index=1
  %x = bf16[2,32]{1,0} get-tuple-element(%p), index=2
  %y = f32[8,8]{1,0} get-tuple-element(%p), index=3
  %none = u32[]{:T(128)} constant(0)
  %start = (bf16[8,16]{1,0}, u32[]) tuple(%kernel, %none)
  %ring = (bf16[8,16]{1,0}, u32[]) while(%start), condition=%ring_condition.1, body=%ring_body.1
  %passed = bf16[8,16]{1,0} get-tuple-element(%ring), index=0
  %begun = bf16[8,32]{1,0} fusion(%x), kind=kCustom, calls=%begin_gathering
  %ended = bf16[8,32]{1,0} fusion(%x), kind=kOutput, calls=%async_collective_fusion.2
  %scattered = f32[2,8]{1,0} fusion(%y), kind=kCustom, calls=%all-reduce-scatter.3
  %product = bf16[8,8]{1,0} dot(%passed, %passed), lhs_contracting_dims={1}, rhs_contracting_dims={1}
  %one = s32[] constant(1)
  %next = s32[] add(%layer, %one)
  ROOT %all = (s32[], bf16[8,16]{1,0}, bf16[2,32]{1,0}, f32[8,8]{1,0}) tuple(%next, %passed, %x, %y)
}

%layer_condition (p: (s32[], bf16[8,16], bf16[2,32], f32[8,8])) -> pred[] {
  %p = (s32[], bf16[8,16]{1,0}, bf16[2,32]{1,0}, f32[8,8]{1,0}) parameter(0)
  %layer = s32[] get-tuple-element(%p), index=0
  %six = s32[] constant(6)
  ROOT %less = pred[] compare(%layer, %six), direction=LT
}

ENTRY %main (kernel: bf16[8,16], x: bf16[2,32], y: f32[8,8]) -> f32[8,8] {
  %kernel = bf16[8,16]{1,0} parameter(0)
  %x = bf16[2,32]{1,0} parameter(1)
  %y = f32[8,8]{1,0} parameter(2)
  %zero = s32[] constant(0)
  %start = (s32[], bf16[8,16]{1,0}, bf16[2,32]{1,0}, f32[8,8]{1,0}) tuple(%zero, %kernel, %x, %y)
  %layers = (s32[], bf16[8,16]{1,0}, bf16[2,32]{1,0}, f32[8,8]{1,0}) while(%start), \
condition=%layer_condition, body=%layer_body
  %exchanged = f32[8,8]{1,0} all-to-all(%y), replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_1'}, dimensions={0}
  ROOT %all-reduce.4 = f32[8,8]{1,0} all-reduce(%exchanged), replica_groups={}, to_apply=%sum
}
"""


def test_collectives_count_as_often_as_their_loops_run():
    assert read_traffic(PROGRAM).collective_bytes == {
        "all-gather": 6 * 8 * 32 * 2 * 3 // 4,  # once a layer, although it is written twice
        "reduce-scatter": 6 * 8 * 8 * 4 * 3 // 4,
        "all-reduce": 2 * 8 * 8 * 4 * 3 // 4,
        "collective-permute": 6 * 4 * 8 * 16 * 2,
        "all-to-all": 8 * 8 * 4 * 1 // 2,
    }


def test_products_count_as_often_as_their_loops_run():
    traffic = read_traffic(PROGRAM)
    assert traffic.product_flops == 6 * 2 * 8 * 8 * 16 and traffic.unknown_loops == 0


def test_a_loop_whose_end_is_not_written_counts_once_and_is_told():
    unknown = PROGRAM.replace("constant(6)", "parameter(1)")
    assert read_traffic(unknown).product_flops == 2 * 8 * 8 * 16
    assert read_traffic(unknown).unknown_loops == 1


@pytest.mark.parametrize(
    ("window", "labels", "taps"),
    [
        ("", "bf_io->bf", 1),
        # A product per head, written as a convolution whose other places are padding.
        ("window={size=4 pad=3_3 rhs_reversal=1}, ", "0bf_0io->0bf", 1),
    ],
)
def test_a_product_written_as_a_convolution_counts_no_padding(window, labels, taps):
    heads = "4," if window else ""
    text = f"""\
HloModule jit_product

ENTRY %main (a: f32[{heads}8,16], b: f32[{heads}16,32]) -> f32[{heads}8,32] {{
  %a = f32[{heads}8,16]{{1,0}} parameter(0)
  %b = f32[{heads}16,32]{{1,0}} parameter(1)
  ROOT %product = f32[{heads}8,32]{{1,0}} convolution(%a, %b), {window}dim_labels={labels}
}}
"""
    expected = 2 * 8 * 16 * 32
    if window:
        # Places of the result reach 4 - |distance| places of the input; seven would, were padding counted.
        expected *= sum(1 for out in range(4) for tap in range(4) if 0 <= out - 3 + tap < 4)
    assert read_traffic(text).product_flops == expected


def test_what_this_compiler_writes_is_understood():
    def step(x, kernels):
        return jax.lax.scan(lambda x, kernel: (jnp.tanh(x @ kernel), None), x, kernels)[0]

    shapes = jax.ShapeDtypeStruct((32, 64), jnp.float32), jax.ShapeDtypeStruct((5, 64, 64), jnp.float32)
    traffic = read_traffic(jax.jit(step).lower(*shapes).compile().as_text())
    assert traffic.product_flops == 5 * 2 * 32 * 64 * 64
    assert not any(traffic.collective_bytes.values()) and not traffic.unknown_loops
