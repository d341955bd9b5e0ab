"""Trajectories as examples of TensorFlow Datasets."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from agentbank_jax.trajectories.schema import ROLES, Trajectory


def features() -> tfds.features.FeaturesDict:
    """What an example holds: `id`, `task`, `turns` (a sequence of `role`, `content` and `trained`) and `metadata`.

    The metadata are the other columns of a trajectory's row, as JSON.
    """
    return tfds.features.FeaturesDict(
        {
            "id": tfds.features.Text(),
            "task": tfds.features.Text(),
            "turns": tfds.features.Sequence(
                {
                    "role": tfds.features.ClassLabel(names=ROLES),
                    "content": tfds.features.Text(),
                    "trained": np.bool_,
                }
            ),
            "metadata": tfds.features.Text(),
        }
    )


def examples(trajectories: Iterable[Trajectory]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the examples of trajectories, with their numbers as keys."""
    for number, trajectory in enumerate(trajectories):
        yield (
            number,
            {
                "id": trajectory.id,
                "task": trajectory.task,
                "turns": [
                    {"role": turn.role, "content": turn.content, "trained": turn.trained} for turn in trajectory.turns
                ],
                "metadata": json.dumps(trajectory.metadata, ensure_ascii=False, sort_keys=True, default=str),
            },
        )
