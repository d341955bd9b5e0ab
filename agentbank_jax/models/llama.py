"""Llama and its near relatives in Flax NNX, as Hugging Face's `…ForCausalLM` of the same family computes them.

Legend of the shape letters, here and wherever arrays of a model have names:

  B  batch row                     D  hidden size
  T  query position within a row   F  intermediate size of the feed-forward block
  S  key position, or cache slot   H  query head         h  size of one head
  V  vocabulary                    K  key and value head
  L  layer

All layers are stored stacked, with a leading L axis, whether they run unrolled or scanned, so that
the parameters (and the checkpoints) are the same either way. A kernel is [input, output], the
transpose of the `weight` of the same name in a Hugging Face checkpoint:
`layers/self_attn/q_proj/kernel[i]` is `model.layers.{i}.self_attn.q_proj.weight.T`.
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from agentbank_jax.models import attention
from agentbank_jax.models.kv_cache import KVCache, KVCacheView
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.partitioning import constrain
from agentbank_jax.models.products import project
from agentbank_jax.models.projection import Linear, kernel_std
from agentbank_jax.models.quantization import project_quantized
from agentbank_jax.models.remat import checkpoint_name, rematerialised
from agentbank_jax.models.rotary import rotary_tables, rotate


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation (Zhang and Sennrich, 2019), computed in float32."""

    def __init__(self, config: LlamaConfig):
        self.eps = config.rms_norm_eps
        self.scale = nnx.Param(jnp.ones((config.hidden_size,), config.param_dtype))

    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        x32_BTD = x_BTD.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x32_BTD), axis=-1, keepdims=True)
        normed_BTD = x32_BTD * jax.lax.rsqrt(mean_square + self.eps)
        return self.scale[...].astype(x_BTD.dtype) * normed_BTD.astype(x_BTD.dtype)


class Attention(nnx.Module):
    """Causal self-attention with grouped key and value heads and rotary positions."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        self.config = config
        inner, inner_kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        std, std_out = kernel_std(config, config.hidden_size), kernel_std(config, inner, residual=True)
        bias = config.qkv_bias
        self.q_proj = Linear("q_proj", config.hidden_size, inner, std=std, config=config, rngs=rngs, bias=bias)
        self.k_proj = Linear("k_proj", config.hidden_size, inner_kv, std=std, config=config, rngs=rngs, bias=bias)
        self.v_proj = Linear("v_proj", config.hidden_size, inner_kv, std=std, config=config, rngs=rngs, bias=bias)
        self.o_proj = Linear("o_proj", inner, config.hidden_size, std=std_out, config=config, rngs=rngs)

    def __call__(self, x_BTD, tables, segment_ids_BT, cache, layer, cache_positions_BT, dropout_key=None):
        config = self.config
        batch, length, _ = x_BTD.shape
        heads, heads_kv = (batch, length, config.num_heads, -1), (batch, length, config.num_kv_heads, -1)
        q_BTHh = rotate(self.q_proj(x_BTD, dropout_key).reshape(heads), *tables)
        k_BTKh = rotate(self.k_proj(x_BTD, dropout_key).reshape(heads_kv), *tables)
        v_BTKh = self.v_proj(x_BTD, dropout_key).reshape(heads_kv)
        if cache is None:
            q_BTHh, k_BTKh, v_BTKh = (
                checkpoint_name(x, name) for x, name in ((q_BTHh, "query"), (k_BTKh, "key"), (v_BTKh, "value"))
            )
            out_BTHh = attention.get_backend(config.attention)(
                q_BTHh, k_BTKh, v_BTKh, segment_ids_BT, config.max_segments
            )  # fmt: skip
            out_BTHh = checkpoint_name(out_BTHh, "attention")
        else:
            cache = cache.write(layer, k_BTKh, v_BTKh, cache_positions_BT)
            k_BSKh, v_BSKh = cache.read(layer)
            out_BTHh = attention.cached_attention(
                q_BTHh, k_BSKh, v_BSKh, cache_positions_BT, config.cached_attention
            )  # fmt: skip
        return self.o_proj(out_BTHh.reshape(batch, length, -1), dropout_key), cache


class FeedForward(nnx.Module):
    """SwiGLU (Shazeer, 2020): down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        wide, inner = config.hidden_size, config.intermediate_size
        std, std_out = kernel_std(config, wide), kernel_std(config, inner, residual=True)
        self.gate_proj = Linear("gate_proj", wide, inner, std=std, config=config, rngs=rngs)
        self.up_proj = Linear("up_proj", wide, inner, std=std, config=config, rngs=rngs)
        self.down_proj = Linear("down_proj", inner, wide, std=std_out, config=config, rngs=rngs)

    def __call__(self, x_BTD: Float[Array, "B T D"], dropout_key: Array | None = None) -> Float[Array, "B T D"]:
        gate_BTF = checkpoint_name(self.gate_proj(x_BTD, dropout_key), "gate")
        up_BTF = checkpoint_name(self.up_proj(x_BTD, dropout_key), "up")
        return self.down_proj(constrain(jax.nn.silu(gate_BTF) * up_BTF, "batch", "length", "mlp"), dropout_key)


class DecoderLayer(nnx.Module):
    """Pre-norm attention and feed-forward, each added to the residual stream."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        self.input_layernorm = RMSNorm(config)
        self.self_attn = Attention(config, rngs=rngs)
        self.post_attention_layernorm = RMSNorm(config)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(self, x_BTD, tables, segment_ids_BT, cache, layer, cache_positions_BT, dropout_key=None):
        attended_BTD, cache = self.self_attn(
            self.input_layernorm(x_BTD), tables, segment_ids_BT, cache, layer, cache_positions_BT, dropout_key
        )
        x_BTD = checkpoint_name(constrain(x_BTD + attended_BTD, "batch", "length"), "attended")
        fed_BTD = self.mlp(self.post_attention_layernorm(x_BTD), dropout_key)
        return constrain(x_BTD + fed_BTD, "batch", "length"), cache


class Embedding(nnx.Module):
    """Token embeddings; where they have a `scale`, they are int8 (see `models.quantization`)."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        std = config.initializer_range or config.hidden_size**-0.5
        table = std * jax.random.normal(rngs.params(), (config.vocab_size, config.hidden_size), jnp.float32)
        self.embedding = nnx.Param(table.astype(config.param_dtype))
        self.scale: nnx.Param | None = None


class Llama(nnx.Module):
    """A Llama decoder; call it through `models.forward`, which holds the parameters as a plain pytree."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embed_tokens = Embedding(config, rngs=rngs)

        @nnx.vmap(in_axes=0, out_axes=0)
        def make_layer(key: Array) -> DecoderLayer:
            return DecoderLayer(config, rngs=nnx.Rngs(params=key))

        self.layers = make_layer(jax.random.split(rngs.params(), config.num_layers))
        self.norm = RMSNorm(config)
        if not config.tie_word_embeddings:
            std = config.initializer_range or config.hidden_size**-0.5
            self.lm_head = Linear("lm_head", config.hidden_size, config.vocab_size, std=std, config=config, rngs=rngs)

    def hidden(
        self,
        tokens_BT: Int[Array, "B T"],
        positions_BT: Int[Array, "B T"],
        segment_ids_BT: Int[Array, "B T"] | None = None,
        cache: KVCache | KVCacheView | None = None,
        cache_positions_BT: Int[Array, "B T"] | None = None,
        dropout_key: Array | None = None,
        layers: list[nnx.State] | None = None,
    ) -> tuple[Float[Array, "B T D"], KVCache | KVCacheView | None]:
        """The normalised output of the last layer, and the cache with what was written to it.

        With a cache, `layers` may give the parameters of each layer in place of those that are stacked.
        """
        config = self.config
        table_VD = constrain(self.embed_tokens.embedding[...], "vocab", None)
        x_BTD = table_VD[tokens_BT]
        if self.embed_tokens.scale is not None:
            x_BTD = x_BTD * self.embed_tokens.scale[...][tokens_BT][..., None]
        x_BTD = constrain(x_BTD.astype(config.dtype), "batch", "length")
        tables = rotary_tables(positions_BT, config)
        graphdef, stacked = nnx.split(self.layers)
        if cache is not None:
            # It has one array per layer, which a scan cannot choose among; parameters are the same either way.
            for layer, state in enumerate(layers or unstack(stacked, config.num_layers)):
                block = nnx.merge(graphdef, state)
                x_BTD, cache = block(x_BTD, tables, segment_ids_BT, cache, layer, cache_positions_BT)
            return self.norm(x_BTD), cache

        def body(x_BTD, layer):
            state, key = layer
            return nnx.merge(graphdef, state)(x_BTD, tables, segment_ids_BT, None, 0, None, key)

        body = rematerialised(body, config.remat, scanned=config.scan_layers)
        keys = None if dropout_key is None else jax.random.split(dropout_key, config.num_layers)
        if config.scan_layers:
            x_BTD, _ = jax.lax.scan(body, x_BTD, (stacked, keys))
        else:
            for layer, state in enumerate(unstack(stacked, config.num_layers)):
                x_BTD, _ = body(x_BTD, (state, None if keys is None else keys[layer]))
        return self.norm(x_BTD), cache

    def logits(self, hidden: Float[Array, "... D"]) -> Float[Array, "... V"]:
        """Output projection, in float32."""
        kernel, tied = self.output_kernel()
        scale = (self.embed_tokens if tied else self.lm_head).scale
        if scale is not None:
            return project_quantized(hidden, kernel, scale[...], transposed=tied)
        return project(hidden, (kernel.T if tied else kernel).astype(hidden.dtype)).astype(jnp.float32)

    def output_kernel(self) -> tuple[Float[Array, "D V"] | Float[Array, "V D"], bool]:
        """The kernel of the output projection, without its scale, and whether it is the embedding [V, D]."""
        if self.config.tie_word_embeddings:
            return self.embed_tokens.embedding[...], True
        return self.lm_head.kernel[...], False


def unstack(stacked: Any, count: int) -> list[Any]:
    """The `count` slices of a pytree along the first axis, one pytree each.

    The gradient is one `stack` per array; that of plain indexing is a sum of `count` padded arrays.
    """

    @jax.custom_vjp
    def split(tree):
        return [jax.tree.map(operator.itemgetter(index), tree) for index in range(count)]

    def backward(_, grads):
        return (jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads),)

    split.defvjp(lambda tree: (split(tree), None), backward)
    return split(stacked)
