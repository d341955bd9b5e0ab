"""What all processes of a run decide at the same step."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Agreement:
    """A wish of any process is granted to all, by a sum over the mesh that is on its way while a step runs."""

    def __init__(self, mesh: Mesh, wishes: int):
        """An agreement on so many wishes, between the processes of a mesh."""
        self._alone = jax.process_count() == 1
        self._shape = mesh.size, wishes
        self._each = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._any = jax.jit(lambda asked: jnp.any(asked, axis=0), out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._pending: jax.Array | None = None

    def decide(self, *wishes: bool) -> tuple[bool, ...]:
        """Takes this process's wishes, and gives what is granted to all.

        With several processes that is what they wished a call before: nobody waits for the slowest. All must call it
        equally often.
        """
        if self._alone:
            return wishes
        mine = np.broadcast_to(np.array(wishes), self._shape)
        before, self._pending = (
            self._pending,
            self._any(jax.make_array_from_callback(self._shape, self._each, lambda index: mine[index])),
        )
        if before is None:
            return (False,) * len(wishes)
        return tuple(bool(granted) for granted in np.asarray(before))
