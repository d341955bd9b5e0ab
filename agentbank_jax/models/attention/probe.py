"""Which backend a run may use: tried on its device, on packed rows, against the plain form."""

import logging
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.models.attention.registry import AUTO, BACKENDS, PORTABLE, candidates, check_backend

LENGTH = 256

# Largest difference from the float32 reference, as a share of its largest value.
_TOLERANCES = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 5e-3}

logger = logging.getLogger(__name__)


def choose_backend(name: str, *, num_heads: int, num_kv_heads: int, head_dim: int, dtype: str) -> str:
    """The backend for a run on the devices here.

    Args:
      name: a backend, or "auto": the first for this platform that passes, in the order of `BACKENDS`.
      num_heads, num_kv_heads, head_dim: of the model.
      dtype: of its activations.

    Returns:
      The name of a backend whose packed rows were found equal to unpacked ones, in value and gradients.

    Raises:
      AgentBankError: there is none of that name, or the one asked for failed.
    """
    check_backend(name)
    shape = (num_heads, num_kv_heads, head_dim, dtype)
    if name != AUTO:
        if reason := probe(name, *shape):
            raise AgentBankError(
                f"Attention backend {name!r} cannot be used on this {jax.devices()[0].device_kind}: {reason}. "
                f"Set LlamaConfig.attention = {AUTO!r}."
            )
        return name
    for candidate in candidates(jax.devices()[0].platform, dtype):
        if not (reason := probe(candidate, *shape)):
            return candidate
        logger.warning("attention backend %r is passed over: %s", candidate, reason)
    return PORTABLE


@lru_cache(maxsize=32)
def probe(name: str, num_heads: int, num_kv_heads: int, head_dim: int, dtype: str) -> str:
    """Runs a backend on rows of two segments and padding; returns what is wrong with it, "" if nothing."""
    rng = np.random.default_rng(0)

    def draw(heads: int) -> np.ndarray:
        return rng.normal(size=(2, LENGTH, heads, head_dim)).astype(np.float32)

    q, k, v, weights = draw(num_heads), draw(num_kv_heads), draw(num_kv_heads), draw(num_heads)
    places = np.arange(LENGTH)
    segments = np.stack([1 + (places >= 100), np.where(places < 37, 1, np.where(places < 230, 2, 0))]).astype(np.int32)
    weights = weights * (segments > 0)[:, :, None, None]
    segment_ids = jnp.asarray(segments)

    def outcome(backend: str, dtype: str):
        def loss(inputs):
            q, k, v = inputs
            out = BACKENDS[backend].attention(q, k, v, segment_ids, max_segments=2)
            return jnp.sum(weights * out.astype(jnp.float32)), jnp.where(weights != 0, out, 0)

        inputs = [jnp.asarray(x, dtype) for x in (q, k, v)]
        return jax.device_get(jax.jit(jax.grad(loss, has_aux=True))(inputs))

    try:
        (grads, out) = outcome(name, dtype)
    except Exception as error:  # whatever a library raises where it does not run
        return f"it does not run ({type(error).__name__}: {first_line(error)})"
    with jax.default_matmul_precision("highest"):
        expected_grads, expected = outcome("reference", "float32")
    for what, got, want in zip(
        ("output", "gradient of q", "gradient of k", "gradient of v"),
        (out, *grads),
        (expected, *expected_grads),
        strict=True,
    ):
        difference = float(np.max(np.abs(np.asarray(got, np.float32) - want)) / np.max(np.abs(want)))
        if not difference <= _TOLERANCES[dtype]:
            return (
                f"packed rows differ from unpacked ones ({what} by {difference:.2g} of its largest value; "
                f"expected at most {_TOLERANCES[dtype]:g} in {dtype})"
            )
    return ""
