"""One of two processes that put the same batches onto their devices together, as a training on two hosts does.

python -m tests.parallel.run_shared_batches PORT PROCESS_INDEX
"""

import sys

import jax
import numpy as np

from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, put_batch
from tests.data.made_cache import made_cache


def main(port: str, index: str) -> None:
    jax.distributed.initialize(f"localhost:{port}", 2, int(index))
    cache = made_cache([np.arange(5, 60)], [1.0], max_length=80)
    sharding = batch_sharding(make_mesh(MeshConfig(dcn_data=2)))
    whole = PackedBatches(cache, batch_size=4, length=80, seed=3)
    part = PackedBatches(
        cache,
        batch_size=4,
        length=80,
        seed=3,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    assert part.fingerprint == whole.fingerprint
    # Every process gets all rows of what the devices hold.
    gathered = jax.jit(lambda batch: batch, out_shardings=jax.sharding.NamedSharding(sharding.mesh, jax.P()))
    for step in range(2 * whole.steps_per_epoch):
        rows = part.batch_at(step)
        assert {values.shape for values in rows.values()} == {(2, 80)}
        batch = put_batch(rows, sharding, (4, 80))
        assert all(array.sharding == sharding for array in batch.values())
        for name, values in whole.batch_at(step).items():
            np.testing.assert_array_equal(gathered(batch)[name], values)
    print("equal", part.process_index)


if __name__ == "__main__":
    main(*sys.argv[1:])
