"""Products with kernels have the values of plain ones, in every type and on shapes that compilers treat apart."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.models.products import contract, project, summed_outer

ROWS = ((1,), (2, 1), (4, 33), (130,))
WIDTHS = (1, 3, 17, 64)


def close(got, expected, dtype: str) -> None:
    """Equal but for one rounding to `dtype` of a sum in float32."""
    expected = np.asarray(expected, np.float64)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), expected, rtol=float(jnp.finfo(dtype).eps), atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_products_and_their_gradients_are_the_plain_ones_rounded_once(dtype: str) -> None:
    for rows, inputs, outputs in itertools.product(ROWS, WIDTHS, (1, 64)):
        keys = jax.random.split(jax.random.key(inputs * 100 + outputs), 3)
        x, kernel, grad = (
            jax.random.normal(key, shape, dtype)
            for key, shape in zip(keys, ((*rows, inputs), (inputs, outputs), (*rows, outputs)), strict=True)
        )

        @jax.jit
        def outputs_and_gradients(x, kernel, grad):
            value, pull = jax.vjp(project, x, kernel)
            return value, *pull(grad), summed_outer(x, grad, jnp.float32), contract(grad, kernel, 1)

        value, grad_x, grad_kernel, grad_kernel32, contracted = outputs_and_gradients(x, kernel, grad)
        x64, kernel64, grad64 = (np.asarray(value, np.float64) for value in (x, kernel, grad))
        x_RI, grad_RO = x64.reshape(-1, inputs), grad64.reshape(-1, outputs)
        assert value.dtype == grad_x.dtype == grad_kernel.dtype == dtype and grad_kernel32.dtype == jnp.float32
        close(value, x64 @ kernel64, dtype)
        close(grad_x, grad64 @ kernel64.T, dtype)
        close(contracted, grad64 @ kernel64.T, dtype)
        close(grad_kernel, x_RI.T @ grad_RO, dtype)
        close(grad_kernel32, x_RI.T @ grad_RO, "float32")
