"""The compiled steps of a run."""

import time

import jax

from agentbank_jax.errors import AgentBankError, first_line
from agentbank_jax.training.state import TrainState


class Programs:
    """Compiled steps by their capacity and segments; `seconds` is the time that compilation has taken in all."""

    def __init__(self, make):
        self._make, self._compiled, self._segments, self.seconds = make, {}, 0, 0.0

    def get(self, capacity: int | None, max_segments: int, state: TrainState, batch: dict[str, jax.Array], frozen):
        """The compiled step, and the seconds that compiling it took just now.

        Raises:
          AgentBankError: the attention backend does not take rows of this length.
        """
        if max_segments > self._segments:
            # Room for rows that hold some more, in doublings: few programs, and the largest serves from then on.
            self._segments = 1 if max_segments == 1 else 1 << (max_segments + max_segments // 4).bit_length()
        key = capacity, self._segments
        if key not in self._compiled:
            # A step under way is no part of what compiling takes.
            jax.block_until_ready(state)
        started = time.perf_counter()
        if key not in self._compiled:
            try:
                lowered = self._make(*key).lower(state, batch, frozen)
            except NotImplementedError as error:  # of a kernel that does not take these rows
                length = batch["tokens"].shape[1]
                raise AgentBankError(
                    f"The run's attention does not take rows of {length} tokens ({first_line(error)}): choose another "
                    "DataConfig.max_length, or LlamaConfig.attention='xla'."
                ) from None
            self._compiled[key] = lowered.compile()
        seconds = time.perf_counter() - started
        self.seconds += seconds
        return self._compiled[key], seconds
