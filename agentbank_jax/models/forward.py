"""The model as functions over a plain pytree of parameters, for `jax.jit`, training and generation.

  params = init(config, seed=0)
  logits_BTV, _ = apply(config, params, tokens_BT, positions_BT, segment_ids_BT)

`config` is hashable: close over it, or mark it static. Parameters are nested dicts of arrays,
as `init` makes them or, where nothing is trained, as `quantization.quantize` does.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from agentbank_jax.models.attention import choose_backend, choose_cached
from agentbank_jax.models.kv_cache import KVCache, KVCacheView
from agentbank_jax.models.llama import Llama
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.projection import Linear
from agentbank_jax.models.quantization import is_quantized

Params = dict[str, Any]


def _build(config: LlamaConfig, key: Array) -> Params:
    return nnx.to_pure_dict(nnx.state(Llama(config, rngs=nnx.Rngs(params=key)), nnx.Param))


def init(config: LlamaConfig, seed: int | Array = 0) -> Params:
    """Fresh parameters: a nested dict of arrays of `config.param_dtype`. `seed` may be a PRNG key."""
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    return jax.jit(_build, static_argnums=0)(config, key)


def abstract_params(config: LlamaConfig) -> Params:
    """The same tree as `init`, as `jax.ShapeDtypeStruct`: no memory is used."""
    return jax.eval_shape(lambda: _build(config, jax.random.key(0)))


def count_parameters(config: LlamaConfig) -> int:
    """Number of scalars in the parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))


@lru_cache(maxsize=16)
def _graph(config: LlamaConfig, quantized: bool) -> tuple[nnx.GraphDef, nnx.State]:
    def build() -> Llama:
        model = Llama(config, rngs=nnx.Rngs(0))
        if quantized:
            _give_scales(model)
        return model

    return nnx.split(nnx.eval_shape(build))


def _give_scales(model: Llama) -> None:
    """Places for the scales of all that `quantization.quantize` converts."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, Linear):
            *layers, _, outputs = module.kernel.shape
            module.scale = nnx.data(nnx.Param(jnp.zeros((*layers, outputs))))
    if model.config.tie_word_embeddings:
        model.embed_tokens.scale = nnx.data(nnx.Param(jnp.zeros(model.config.vocab_size)))


def bind(config: LlamaConfig, params: Params) -> Llama:
    """The module whose parameters are `params`; cheap, meant to be called while tracing."""
    graphdef, abstract = _graph(config, is_quantized(params))
    if isinstance(params["layers"], list):
        params = {name: value for name, value in params.items() if name != "layers"}
    return nnx.merge(graphdef, _replaced(abstract, params))


def _replaced(abstract: nnx.State, params: Params) -> nnx.State:
    state = jax.tree.map(lambda leaf: leaf, abstract)
    nnx.replace_by_pure_dict(state, params)
    return state


def unstacked(params: Params, *, consume: bool = False) -> Params:
    """`params` with a list of layers in place of those that are stacked: what generation reads step by step.

    A layer of a stack is copied before it is used, which training does once a step; with a few tokens a step that is
    most of the work. Only `hidden` with a cache, and `logits`, take this form.

    Args:
      params: of stacked layers.
      consume: whether a stack's memory is given back as soon as it is divided; `params` is of no use then.
    """
    stacks, tree = jax.tree.flatten(params["layers"])
    divided = []
    for stack in stacks:
        layers = [stack[layer] for layer in range(stack.shape[0])]
        if consume:
            jax.block_until_ready(layers)
            stack.delete()
        divided.append(layers)
    return {**params, "layers": [jax.tree.unflatten(tree, layer) for layer in zip(*divided, strict=True)]}


def hidden(
    config: LlamaConfig,
    params: Params,
    tokens_BT: Int[Array, "B T"],
    positions_BT: Int[Array, "B T"],
    segment_ids_BT: Int[Array, "B T"] | None = None,
    *,
    cache: KVCache | KVCacheView | None = None,
    cache_positions_BT: Int[Array, "B T"] | None = None,
    dropout_key: Array | None = None,
) -> tuple[Float[Array, "B T D"], KVCache | KVCacheView | None]:
    """What `apply` projects to logits: project only the tokens you need with `logits`.

    Where `dropout_key` is given, adapters drop a share of their inputs (see `models.lora`), as in training.
    """
    if cache is not None and cache_positions_BT is None:
        cache_positions_BT = positions_BT
    model, layers = bind(config, params), None
    if isinstance(params["layers"], list):
        _, abstract = nnx.split(model.layers)
        layers = [_replaced(abstract, layer) for layer in params["layers"]]
    return model.hidden(tokens_BT, positions_BT, segment_ids_BT, cache, cache_positions_BT, dropout_key, layers)


def logits(config: LlamaConfig, params: Params, hidden: Float[Array, "... D"]) -> Float[Array, "... V"]:
    """Output projection of any selection of hidden states, float32."""
    return bind(config, params).logits(hidden)


def with_chosen_attention(config: LlamaConfig) -> LlamaConfig:
    """`config` with the attention backend that a run takes on the devices here (see `attention.choose_backend`)."""
    attention = choose_backend(
        config.attention,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        dtype=config.dtype,
    )
    return replace(config, attention=attention)


def with_chosen_cached_attention(config: LlamaConfig, platform: str) -> LlamaConfig:
    """`config` with the attention that generation takes on devices of a platform (see `attention.choose_cached`)."""
    cached = choose_cached(
        config.cached_attention,
        platform,
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        dtype=config.dtype,
    )
    return replace(config, cached_attention=cached)


def output_kernel(config: LlamaConfig, params: Params) -> tuple[Float[Array, "D V"] | Float[Array, "V D"], bool]:
    """The kernel of the output projection, and whether it is the embedding [V, D]."""
    return bind(config, params).output_kernel()


def apply(
    config: LlamaConfig,
    params: Params,
    tokens_BT: Int[Array, "B T"],
    positions_BT: Int[Array, "B T"],
    segment_ids_BT: Int[Array, "B T"] | None = None,
    *,
    cache: KVCache | KVCacheView | None = None,
    cache_positions_BT: Int[Array, "B T"] | None = None,
) -> tuple[Float[Array, "B T V"], KVCache | KVCacheView | None]:
    """Logits of every token, and the cache.

    Args:
      config: the model's shape.
      params: from `init` or a checkpoint.
      tokens_BT: token ids, int32.
      positions_BT: position of each token in its conversation, from 0; it restarts in each packed segment.
      segment_ids_BT: packed training rows: tokens see only their own segment, 0 is padding. None means one segment.
        Not used with a cache.
      cache: where given, the tokens are written to it and attend to it.
      cache_positions_BT: the slots to write, equal to the positions; a slot >= cache.length is not written
        (padding). `positions_BT` if None.

    Returns:
      Float32 logits, and the updated cache (None without one).
    """
    hidden_BTD, cache = hidden(
        config, params, tokens_BT, positions_BT, segment_ids_BT, cache=cache, cache_positions_BT=cache_positions_BT
    )
    return logits(config, params, hidden_BTD), cache
