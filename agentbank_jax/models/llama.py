"""Llama and its near relatives in Flax NNX, as Hugging Face's `…ForCausalLM` of the same family computes them.

Legend of the shape letters, here and in every module that imports this one:

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

import math
import operator
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Float, Int

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models import attention
from agentbank_jax.models.kv_cache import KVCache
from agentbank_jax.models.lora import PROJECTIONS, LoraConfig, dropped
from agentbank_jax.models.partitioning import constrain, set_mesh_axes
from agentbank_jax.models.products import project
from agentbank_jax.models.remat import check_policy, checkpoint_name, rematerialised

DTYPES = ("float32", "bfloat16", "float16")
FAMILIES = ("llama", "mistral", "qwen2")
ROPE_SCALINGS = ("none", "linear", "llama3")


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The shape of a Llama and how it computes.

    Example:

      config = LlamaConfig(vocab_size=3000, hidden_size=128, intermediate_size=384, num_layers=4, num_heads=4)

    Fields:
      vocab_size: rows of the embedding.
      hidden_size: width D of the residual stream.
      intermediate_size: width F of the SwiGLU block.
      num_layers: decoder layers.
      num_heads: query heads.
      num_kv_heads: key and value heads (grouped queries); 0 means `num_heads`.
      head_dim: size of one head; 0 means `hidden_size // num_heads`.
      max_position_embeddings: the longest conversation, in tokens.
      rope_theta: base of the rotary position embedding.
      rope_scaling: how its frequencies are lowered for long conversations: "none", "linear" or "llama3"
        (see `rotary_frequencies`).
      rope_factor: by how much, at least 1.
      rope_low_freq_factor, rope_high_freq_factor: "llama3" divides frequencies of fewer turns than the first within
        `rope_original_max_position` tokens, and leaves those of more than the second.
      rope_original_max_position: the longest conversation, in tokens, before "llama3" lowered the frequencies.
      rms_norm_eps: added to the mean square in RMSNorm.
      tie_word_embeddings: the output projection is the embedding.
      family: "llama", "mistral" (which computes the same, without its sliding window) or "qwen2" (which adds a bias
        to queries, keys and values): the `model_type` under which Hugging Face knows the model.
      initializer_range: standard deviation of fresh kernels and embeddings, as in Hugging Face (0.02 there);
        0 chooses by the width (see `_kernel_std`), which small models learn to copy from much sooner.
      dtype: of the activations and matrix products.
      param_dtype: of the stored parameters.
      attention: name of a backend in `models.attention`; "auto" lets a run choose for its devices.
      max_segments: the most segments of a packed row, for backends that need a bound; 0 leaves it to them.
      scan_layers: run the layers as one `jax.lax.scan` (compiles once) instead of unrolled (faster when few).
      remat: what each layer keeps for its gradient, a policy of `models.remat`.
      lora: the adapters that are trained in place of the parameters (see `models.lora`); None where all are trained.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int = 0
    head_dim: int = 0
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_max_position: int = 8192
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False
    family: str = "llama"
    initializer_range: float = 0.0
    dtype: str = "float32"
    param_dtype: str = "float32"
    attention: str = "auto"
    scan_layers: bool = False
    max_segments: int = 0
    remat: str = "none"
    lora: LoraConfig | None = None

    def __post_init__(self) -> None:
        for name in (
            "vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "max_position_embeddings",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise AgentBankError(f"LlamaConfig.{name}={getattr(self, name)}: expected at least 1.")
        for name in ("head_dim", "max_segments", "rms_norm_eps", "initializer_range"):
            if not 0 <= getattr(self, name) < math.inf:
                raise AgentBankError(f"LlamaConfig.{name}={getattr(self, name)}: expected 0 or more.")
        if not 0.0 < self.rope_theta < math.inf:
            raise AgentBankError(f"LlamaConfig.rope_theta={self.rope_theta}: expected more than 0.")
        if not self.num_kv_heads:
            object.__setattr__(self, "num_kv_heads", self.num_heads)
        if not self.head_dim:
            if self.hidden_size % self.num_heads:
                raise AgentBankError(
                    f"LlamaConfig.hidden_size={self.hidden_size} is not a multiple of num_heads={self.num_heads}: "
                    "change either, or set head_dim."
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_heads)
        if self.num_kv_heads < 1 or self.num_heads % self.num_kv_heads:
            raise AgentBankError(
                f"LlamaConfig.num_heads={self.num_heads} is not a multiple of num_kv_heads={self.num_kv_heads}: "
                "every key head serves the same number of query heads."
            )
        if self.head_dim % 2:
            raise AgentBankError(
                f"LlamaConfig.head_dim={self.head_dim} is odd: rotary positions turn pairs; "
                "choose hidden_size and num_heads so that their quotient is even."
            )
        for name, known, what in (
            ("dtype", DTYPES, "type"),
            ("param_dtype", DTYPES, "type"),
            ("family", FAMILIES, "family"),
            ("rope_scaling", ROPE_SCALINGS, "scaling"),
        ):
            if getattr(self, name) not in known:
                raise AgentBankError(
                    f"LlamaConfig.{name}={getattr(self, name)!r} is no known {what}."
                    + did_you_mean(getattr(self, name), known)
                )
        if not 1.0 <= self.rope_factor < math.inf:
            raise AgentBankError(f"LlamaConfig.rope_factor={self.rope_factor}: expected at least 1.")
        if not 0.0 < self.rope_low_freq_factor < self.rope_high_freq_factor < math.inf:
            raise AgentBankError(
                f"LlamaConfig.rope_low_freq_factor={self.rope_low_freq_factor}: expected more than 0 and less than "
                f"rope_high_freq_factor={self.rope_high_freq_factor}."
            )
        if self.rope_original_max_position < 1:
            raise AgentBankError(
                f"LlamaConfig.rope_original_max_position={self.rope_original_max_position}: expected at least 1."
            )
        attention.check_backend(self.attention)
        check_policy(self.remat)
        if self.lora:
            self._check_rank(self.lora)

    def _check_rank(self, lora: LoraConfig) -> None:
        for name in lora.names:
            inputs, outputs = self.projection_shapes[name]
            if lora.rank > min(inputs, outputs):
                raise AgentBankError(
                    f"LoraConfig.rank={lora.rank} is larger than {name}, a matrix of {inputs} x {outputs}: "
                    f"expected at most {min(inputs, outputs)}."
                )

    @property
    def base(self) -> "LlamaConfig":
        """The same model without adapters."""
        return replace(self, lora=None)

    @property
    def projection_shapes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each of a layer's projections."""
        width, inner, inner_kv = self.hidden_size, self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        shapes = (
            (width, inner), (width, inner_kv), (width, inner_kv), (inner, width),
            (width, self.intermediate_size), (width, self.intermediate_size), (self.intermediate_size, width),
        )  # fmt: skip
        return dict(zip(PROJECTIONS, shapes, strict=True))

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return self.family == "qwen2"

    @property
    def shape_facts(self) -> dict[str, Any]:
        """What a checkpoint must agree with: all fields but those that only say how to compute."""
        how = (
            "dtype", "param_dtype", "attention", "max_segments", "scan_layers", "remat", "initializer_range",
            "max_position_embeddings", "lora",
        )  # fmt: skip
        facts = {name: value for name, value in asdict(self).items() if name not in how}
        if self.lora:
            facts |= {f"lora.{name}": value for name, value in asdict(self.lora).items() if name != "dropout"}
        return facts


class Linear(nnx.Module):
    """A projection called `name`, with or without bias, and with an adapter where `config.lora` gives it one."""

    def __init__(
        self, name: str, inputs: int, outputs: int, *, std: float, config: LlamaConfig, rngs: nnx.Rngs, bias=False
    ):
        key = rngs.params()
        kernel = std * jax.random.normal(key, (inputs, outputs), jnp.float32)
        self.kernel = nnx.Param(kernel.astype(config.param_dtype))
        self.bias = nnx.Param(jnp.zeros((outputs,), config.param_dtype)) if bias else None
        lora = config.lora if config.lora and name in config.lora.names else None
        self.frozen = config.lora is not None
        # From a key of its own: the kernel is the same with and without.
        self.lora = Adapter(name, inputs, outputs, lora, jax.random.fold_in(key, 1)) if lora else None

    def __call__(self, x: Float[Array, "... inputs"], dropout_key: Array | None = None) -> Float[Array, "... outputs"]:
        kernel = self.kernel[...]
        if self.frozen and not set_mesh_axes():
            # The TPU's compiler may want another layout in a scan over layers, and would copy all layers for it.
            # Over a mesh, where such a constraint makes it gather parts that may stay apart, it did not.
            kernel = with_layout_constraint(kernel, Layout((0, 1)))
        projected = project(x, kernel.astype(x.dtype))
        if self.bias is not None:
            projected = projected + self.bias[...].astype(x.dtype)
        return projected if self.lora is None else projected + self.lora(x, dropout_key)


class Adapter(nnx.Module):
    """What LoRA adds to a projection: scale (x A) B, of which the product A B is never made.

    A is uniform within 1 / sqrt(inputs), as in `peft`, and B zero.
    """

    def __init__(self, name: str, inputs: int, outputs: int, config: LoraConfig, key: Array):
        self.config, self.number = config, PROJECTIONS.index(name)
        bound = inputs**-0.5
        a = jax.random.uniform(key, (inputs, config.rank), jnp.float32, -bound, bound)
        self.a = nnx.Param(a.astype(config.param_dtype))
        self.b = nnx.Param(jnp.zeros((config.rank, outputs), config.param_dtype))

    def __call__(self, x: Float[Array, "... inputs"], dropout_key: Array | None) -> Float[Array, "... outputs"]:
        if dropout_key is not None:
            x = dropped(x, self.config.dropout, jax.random.fold_in(dropout_key, self.number))
        low = checkpoint_name(project(x, self.a[...].astype(x.dtype)) * self.config.scale, "adapter")
        return project(low, self.b[...].astype(x.dtype))


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


def rotary_frequencies(config: LlamaConfig) -> Float[np.ndarray, " h/2"]:
    """Radians by which each pair of a head turns from one token to the next, float32.

    Pair i turns by rope_theta ** (-2i / h). "linear" divides all by `rope_factor` (position interpolation, Chen et
    al., 2023). "llama3" (Llama 3.1) counts a pair's turns within `rope_original_max_position` tokens: at most
    `rope_low_freq_factor`, and the frequency is divided; at least `rope_high_freq_factor`, and it stays; between
    the two the divided and the full frequency are interpolated, linearly in the turns.
    """
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    if config.rope_scaling == "linear":
        frequencies = frequencies / config.rope_factor
    elif config.rope_scaling == "llama3":
        turns = config.rope_original_max_position * frequencies / (2 * np.pi)
        low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
        kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
        frequencies = frequencies * (kept + (1.0 - kept) / config.rope_factor)
    return frequencies.astype(np.float32)


def rotary_tables(
    positions_BT: Int[Array, "B T"], config: LlamaConfig
) -> tuple[Float[Array, "B T 1 h/2"], Float[Array, "B T 1 h/2"]]:
    """Cosine and sine of position x frequency (RoPE, Su et al., 2021), float32, with room for a head axis."""
    angles = positions_BT[:, :, None, None].astype(jnp.float32) * rotary_frequencies(config)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "B T N h"], cos: Float[Array, "B T 1 h/2"], sin: Float[Array, "B T 1 h/2"]) -> Array:
    """Turns the pairs (x[i], x[i + h/2]): the "rotate half" layout of Hugging Face checkpoints."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


class Attention(nnx.Module):
    """Causal self-attention with grouped key and value heads and rotary positions."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        self.config = config
        inner, inner_kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        std, std_out = _kernel_std(config, config.hidden_size), _kernel_std(config, inner, residual=True)
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
            out_BTHh = attention.cached_attention(q_BTHh, k_BSKh, v_BSKh, cache_positions_BT)
        return self.o_proj(out_BTHh.reshape(batch, length, -1), dropout_key), cache


class FeedForward(nnx.Module):
    """SwiGLU (Shazeer, 2020): down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        wide, inner = config.hidden_size, config.intermediate_size
        std, std_out = _kernel_std(config, wide), _kernel_std(config, inner, residual=True)
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
    """Token embeddings."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        std = config.initializer_range or config.hidden_size**-0.5
        table = std * jax.random.normal(rngs.params(), (config.vocab_size, config.hidden_size), jnp.float32)
        self.embedding = nnx.Param(table.astype(config.param_dtype))


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
        cache: KVCache | None = None,
        cache_positions_BT: Int[Array, "B T"] | None = None,
        dropout_key: Array | None = None,
    ) -> tuple[Float[Array, "B T D"], KVCache | None]:
        """The normalised output of the last layer, and the cache with what was written to it."""
        config = self.config
        table_VD = constrain(self.embed_tokens.embedding[...], "vocab", None)
        x_BTD = constrain(table_VD[tokens_BT].astype(config.dtype), "batch", "length")
        tables = rotary_tables(positions_BT, config)
        graphdef, stacked = nnx.split(self.layers)
        if cache is not None:
            # It has one array per layer, which a scan cannot choose among; parameters are the same either way.
            for layer, state in enumerate(unstack(stacked, config.num_layers)):
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
        return project(hidden, (kernel.T if tied else kernel).astype(hidden.dtype)).astype(jnp.float32)

    def output_kernel(self) -> tuple[Float[Array, "D V"] | Float[Array, "V D"], bool]:
        """The kernel of the output projection, and whether it is the embedding [V, D]."""
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


def _kernel_std(config: LlamaConfig, inputs: int, residual: bool = False) -> float:
    """Standard deviation of a fresh kernel.

    Where the configuration leaves it open: 0.4 / sqrt(inputs), and for what is added to the residual stream
    1 / sqrt(2 layers) of that (GPT-2, Radford et al., 2019). Of 0.16, 0.4 and 1.0, models of 2 layers learned to
    copy spans soonest with 0.4: after 400 steps (64 wide, one seed, embedding untied) a
    loss of 0.73, 0.15 and 2.3 nats.
    """
    if config.initializer_range:
        return config.initializer_range
    return 0.4 * inputs**-0.5 * ((2 * config.num_layers) ** -0.5 if residual else 1.0)
