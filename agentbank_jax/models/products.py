"""Products with a kernel and their gradients, each in the form that the platform computes fastest.

XLA's CPU compiler has fast products of bfloat16 for results in float32 of operands as they lie in memory, and for
others converts both operands to float32, which takes twice as long (jax 0.10.2, on a CPU with AVX512-BF16: 420 and
850 GFLOP/s).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def project(x: Float[Array, "... inputs"], kernel: Float[Array, "inputs outputs"]) -> Float[Array, "... outputs"]:
    """`x @ kernel`, whose kernel gradient is made in the kernel's own layout.

    The automatic gradient makes the transposed kernel, for which XLA on CPU writes every activation
    once more, transposed: a third of the step of a small model.
    """
    return contract(x, kernel, 0)


def _project_backward(residuals, grad):
    x, kernel = residuals
    return contract(grad, kernel, 1), summed_outer(x, grad)


project.defvjp(lambda x, kernel: (project(x, kernel), (x, kernel)), _project_backward)


def contract(x: Float[Array, "... n"], kernel: Float[Array, "n m"] | Float[Array, "m n"], axis: int) -> Array:
    """The product of x and a kernel over the kernel's `axis`: [..., m], in the type of x."""

    def product(x, kernel, dtype=None):
        return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (axis,)), ((), ())), preferred_element_type=dtype)

    def rounded(x, kernel):
        return product(x, kernel, jnp.float32).astype(x.dtype)

    if x.dtype != jnp.bfloat16:
        return product(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=rounded, default=product)


def summed_outer(x: Float[Array, "... n"], y: Float[Array, "... m"], dtype=None) -> Float[Array, "n m"]:
    """The sum over all places of the outer products of x and y, in `dtype` (that of x, where it is None)."""
    rows = tuple(range(x.ndim - 1))

    def product(x, y):
        return jax.lax.dot_general(x, y, ((rows, rows), ((), ())), preferred_element_type=dtype)

    def of_transposed(x, y):
        # Padded, or else XLA takes the transposition back into the product, which then is none of the fast ones.
        x_nR, y_Rm = x.reshape(-1, x.shape[-1]).T, y.reshape(-1, y.shape[-1])
        x_nR, y_Rm = jnp.pad(x_nR, ((0, 0), (0, 8))), jnp.pad(y_Rm, ((0, 8), (0, 0)))
        return jnp.matmul(x_nR, y_Rm, preferred_element_type=jnp.float32).astype(dtype or x.dtype)

    if x.dtype != jnp.bfloat16:
        return product(x, y)
    return jax.lax.platform_dependent(x, y, cpu=of_transposed, default=product)
