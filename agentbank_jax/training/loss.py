"""Cross-entropy over the trained tokens."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig

Batch = dict[str, Array]
LossKind = Literal["trained", "full"]
LOSS_KINDS: tuple[LossKind, ...] = ("trained", "full")

CHUNK = 1024
"""Trained tokens projected to the vocabulary at a time by the loss "trained"."""


def summed_loss(config: LlamaConfig, params: Any, batch: Batch, kind: LossKind) -> Float[Array, ""]:
    """Sum over the tokens of weight x negative log-likelihood (nats), float32; not yet divided by anything.

    Args:
      config: the model.
      params: its parameters.
      batch: `tokens`, `targets`, `positions`, `segment_ids` int32 [B, T] and `loss_weights` float32 [B, T].
      kind: "full" projects every token to the vocabulary. "trained" gathers the tokens of non-zero
        weight first and projects them chunk by chunk, as many chunks as this batch needs: the same
        value, without the work or the memory for tokens that carry no loss. It gathers across the
        whole batch, so it is meant for one device.
    """
    hidden_BTD, _ = forward.hidden(config, params, batch["tokens"], batch["positions"], batch["segment_ids"])
    weights, targets = batch["loss_weights"].astype(jnp.float32), batch["targets"]
    if kind == "full":
        return jnp.sum(weights * token_losses(forward.logits(config, params, hidden_BTD), targets))
    width = hidden_BTD.shape[-1]
    head = params["embed_tokens"]["embedding"].T if config.tie_word_embeddings else params["lm_head"]["kernel"]
    return _trained_loss(
        hidden_BTD.reshape(-1, width), head.astype(hidden_BTD.dtype), targets.reshape(-1), weights.reshape(-1)
    )


def token_losses(logits: Float[Array, "... V"], targets: Array) -> Float[Array, "..."]:
    """Negative log-likelihood of each target, nats."""
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


@jax.custom_vjp
def _trained_loss(hidden_ND: Array, head_DV: Array, targets_N: Array, weights_N: Array) -> Array:
    return _loss_and_grads(hidden_ND, head_DV, targets_N, weights_N)[0]


def _loss_and_grads(hidden_ND, head_DV, targets_N, weights_N):
    """The loss with its gradients, made in the one pass in which the logits exist."""
    tokens = hidden_ND.shape[0]
    chunk = min(CHUNK, tokens)
    trained = weights_N > 0
    # Trained tokens first, in order; the index `tokens` stands for none: read as zero weight, written nowhere.
    (order_N,) = jnp.nonzero(trained, size=tokens, fill_value=tokens)
    order_N = jnp.pad(order_N, (0, -tokens % chunk), constant_values=tokens)

    def one_chunk(carry):
        index, loss, grad_hidden_ND, grad_head_DV = carry
        at_C = jax.lax.dynamic_slice(order_N, (index * chunk,), (chunk,))
        hidden_CD = hidden_ND.at[at_C].get(mode="fill", fill_value=0)
        targets_C = targets_N.at[at_C].get(mode="fill", fill_value=0)
        weights_C = weights_N.at[at_C].get(mode="fill", fill_value=0)
        logits_CV = (hidden_CD @ head_DV).astype(jnp.float32)
        shifted_CV = logits_CV - jnp.max(logits_CV, axis=-1, keepdims=True)
        exp_CV = jnp.exp(shifted_CV)
        total_C = jnp.sum(exp_CV, axis=-1)
        picked_C = jnp.take_along_axis(shifted_CV, targets_C[:, None], axis=-1)[:, 0]
        loss += jnp.sum(weights_C * (jnp.log(total_C) - picked_C))
        hit_CV = jnp.arange(head_DV.shape[1])[None] == targets_C[:, None]
        grad_CV = (exp_CV * (weights_C / total_C)[:, None] - hit_CV * weights_C[:, None]).astype(hidden_ND.dtype)
        grad_hidden_CD = jax.lax.dot_general(grad_CV, head_DV, (((1,), (1,)), ((), ())))
        grad_hidden_ND = grad_hidden_ND.at[at_C].set(grad_hidden_CD, mode="drop", unique_indices=True)
        grad_head_DV += jax.lax.dot_general(hidden_CD, grad_CV, (((0,), (0,)), ((), ())))
        return index + 1, loss, grad_hidden_ND, grad_head_DV

    chunks = -(-jnp.sum(trained) // chunk)
    start = (jnp.int32(0), jnp.float32(0), jnp.zeros_like(hidden_ND), jnp.zeros_like(head_DV))
    _, loss, grad_hidden_ND, grad_head_DV = jax.lax.while_loop(lambda carry: carry[0] < chunks, one_chunk, start)
    return loss, (grad_hidden_ND, grad_head_DV)


def _trained_loss_backward(grads, scale):
    grad_hidden_ND, grad_head_DV = grads
    return (
        (scale * grad_hidden_ND).astype(grad_hidden_ND.dtype),
        (scale * grad_head_DV).astype(grad_head_DV.dtype),
        None,
        None,
    )


_trained_loss.defvjp(_loss_and_grads, _trained_loss_backward)
