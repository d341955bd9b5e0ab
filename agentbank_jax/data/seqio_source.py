"""Trajectories as a SeqIO data source."""

from collections.abc import Callable, Iterator

import numpy as np
import seqio
import tensorflow as tf

from agentbank_jax.data.declarations import TaskDeclaration
from agentbank_jax.data.sources import read_task

# Roles as numbers, because TensorFlow's graph has no enumerations.
ROLE_NUMBERS = {"system": 0, "user": 1, "assistant": 2}


def trajectory_source(task: TaskDeclaration, data_dir: Callable[[], str]) -> seqio.FunctionDataSource:
    """Returns a source of a task's trajectories, one example each, in the order of the files.

    An example holds `id` (string), and for each turn `role` (int32, see `ROLE_NUMBERS`), `content`
    (string) and `turn_trained` (bool); the task's instruction is its system turn.

    Args:
      task: the declaration.
      data_dir: says where the bank is, a folder or a URL; asked when the files are read.
    """

    def dataset_fn(split: str, shuffle_files: bool, seed: int | None = None) -> tf.data.Dataset:
        # Shuffling is the mixture's business; the files are read in their order.
        del split, shuffle_files, seed

        def examples() -> Iterator[dict[str, object]]:
            for trajectory in read_task(task, data_dir()):
                yield {
                    "id": trajectory.id,
                    "role": np.array([ROLE_NUMBERS[turn.role] for turn in trajectory.turns], np.int32),
                    "content": [turn.content for turn in trajectory.turns],
                    "turn_trained": np.array([turn.trained for turn in trajectory.turns], np.bool_),
                }

        return tf.data.Dataset.from_generator(
            examples,
            output_signature={
                "id": tf.TensorSpec([], tf.string),
                "role": tf.TensorSpec([None], tf.int32),
                "content": tf.TensorSpec([None], tf.string),
                "turn_trained": tf.TensorSpec([None], tf.bool),
            },
        )

    return seqio.FunctionDataSource(dataset_fn, splits=["train"])
