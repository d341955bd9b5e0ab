"""Rematerialisation: what of a layer's forward pass is kept for its gradient, and what is made again.

Sizes are per token and layer, in numbers; D is the width, A = H h the width of the queries, C = K h that of
the keys, F the intermediate size.

| policy | kept | size | made again |
|---|---|---|---|
| `none` | everything | about 8 D + 6 A + 4 C + 5 F | nothing |
| `minimal` | inputs, and what each matrix product gives | 2 D + 2 A + 2 C + 2 F | what is cheap |
| `attention` | inputs, queries, keys, values and the output of attention | 2 D + 2 A + 2 C | two products |
| `full` | inputs | D | the whole layer |
| `offload` | as `minimal`, in the host's memory | D on the device | what is cheap |

On a CPU they hold for scanned layers alone: of unrolled ones XLA joins what is made again with what was made before.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from agentbank_jax.errors import AgentBankError, did_you_mean

ATTENTION_NAMES = ("query", "key", "value", "attention", "attention_logsum", "attended")
FEED_FORWARD_NAMES = ("gate", "up")
ADAPTER_NAMES = ("adapter",)

# cuDNN's attention gives no names to what its gradient needs: it is known by its primitive.
_FUSED_ATTENTION = "dot_product_attention_fwd"

POLICIES = ("none", "minimal", "attention", "full", "offload")

__all__ = ["POLICIES", "check_policy", "checkpoint_name", "rematerialised"]


def check_policy(name: str) -> None:
    """Checks that a policy exists.

    Raises:
      AgentBankError: there is none of that name.
    """
    if name not in POLICIES:
        raise AgentBankError(f"LlamaConfig.remat={name!r} is no policy." + did_you_mean(name, POLICIES))


def rematerialised(layer: Callable[..., Any], policy: str, *, scanned: bool) -> Callable[..., Any]:
    """`layer`, whose gradient keeps what the policy says.

    Args:
      layer: a function of arrays.
      policy: one of `POLICIES`.
      scanned: whether it is the body of a scan, across which the compiler cannot merge what is made twice.
    """
    if policy == "none":
        return layer
    return jax.checkpoint(layer, policy=_saveable(policy), prevent_cse=not scanned)


def _saveable(policy: str) -> Callable[..., Any]:
    policies = jax.checkpoint_policies
    products = (*FEED_FORWARD_NAMES, *ADAPTER_NAMES) if policy in ("minimal", "offload") else ()
    names = (*ATTENTION_NAMES, *products)
    if policy == "full":
        return policies.nothing_saveable
    if policy == "offload":
        return policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=list(names),
            offload_src="device",
            offload_dst="pinned_host",
        )
    return policies.save_from_both_policies(policies.save_only_these_names(*names), _is_fused_attention)


def _is_fused_attention(primitive, *_, **__) -> bool:
    return primitive.name.startswith(_FUSED_ATTENTION)
