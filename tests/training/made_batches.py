"""Batches made of nothing, with the interface of the real ones."""

import hashlib

import numpy as np


class MadeBatches:
    """Packed rows of a copy task: the trained half of each segment repeats the other half."""

    def __init__(self, vocab_size: int, batch_size: int = 8, length: int = 32, seed: int = 0, steps_per_epoch: int = 8):
        self.vocab_size, self.batch_size, self.length, self.seed = vocab_size, batch_size, length, seed
        self.steps_per_epoch = steps_per_epoch

    @property
    def fingerprint(self) -> str:
        facts = (self.vocab_size, self.batch_size, self.length, self.seed)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def batch_at(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, step])
        shape = (self.batch_size, self.length)
        batch = {key: np.zeros(shape, np.int32) for key in ("tokens", "targets", "positions", "segment_ids")}
        batch["loss_weights"] = np.zeros(shape, np.float32)
        for row in range(self.batch_size):
            start, segment = 0, 1
            while start < self.length - 6:
                half = int(rng.integers(3, 9))
                size = min(2 * half, self.length - start)
                said = rng.integers(1, self.vocab_size, half)
                tokens = np.concatenate([said, said, said[:1]])[: size + 1]
                at = slice(start, start + size)
                batch["tokens"][row, at], batch["targets"][row, at] = tokens[:-1], tokens[1:]
                batch["positions"][row, at] = np.arange(size)
                batch["segment_ids"][row, at] = segment
                batch["loss_weights"][row, start + half : start + size] = 1
                start, segment = start + size, segment + 1
        return batch

    def iterator(self, start_step: int = 0):
        step = start_step
        while True:
            yield self.batch_at(step)
            step += 1
