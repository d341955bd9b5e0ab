"""A SeqIO feature converter that gives what `PackedBatches` gives, one row an example."""

from collections.abc import Mapping
from typing import ClassVar

import seqio
import tensorflow as tf

from agentbank_jax.data.seqio_preprocessors import TRAINED


class TrajectoryFeatureConverter(seqio.FeatureConverter):
    """Packs or pads trajectories into rows with shifted targets and loss weights.

    From the task features `targets` (token ids) and `trained` (1 or 2), both of length T + 1, come
    rows of T places: `tokens`, `targets`, `loss_weights`, `positions` and `segment_ids`, as
    `agentbank_jax.data.delivery.Batch` defines them. SeqIO's own language-model converter takes no
    loss weights.

    Packing counts values that are not zero, so a token with id 0 would shift all that follow: it is
    refused. The mask therefore comes as 1 and 2.
    """

    TASK_FEATURES: ClassVar[Mapping[str, seqio.FeatureConverter.FeatureSpec]] = {
        "targets": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "trained": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
    }
    MODEL_FEATURES: ClassVar[Mapping[str, seqio.FeatureConverter.FeatureSpec]] = {
        "tokens": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "targets": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "loss_weights": seqio.FeatureConverter.FeatureSpec(dtype=tf.float32),
        "positions": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
        "segment_ids": seqio.FeatureConverter.FeatureSpec(dtype=tf.int32),
    }
    # Positions and segments are among the model features whether packed or not.
    PACKING_FEATURE_DTYPES: ClassVar[Mapping[str, tf.dtypes.DType]] = {}

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> Mapping[str, int]:
        """Returns T for each model feature."""
        return dict.fromkeys(self.MODEL_FEATURES, int(task_feature_lengths["targets"]) - 1)

    def _convert_features(self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]) -> tf.data.Dataset:
        length = int(task_feature_lengths["targets"]) - 1
        shifted = ds.map(_shift, num_parallel_calls=tf.data.AUTOTUNE)
        rows = self._pack_or_pad(shifted, {"tokens": length, "targets": length, "trained": length})
        return rows.map(_packed_row if self.pack else _padded_row, num_parallel_calls=tf.data.AUTOTUNE)


def task_feature_lengths(length: int) -> dict[str, int]:
    """Returns the lengths to ask SeqIO for, so that the converter's rows have `length` places."""
    return {"targets": length + 1, "trained": length + 1}


def _shift(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    tokens = example["targets"]
    message = "a trajectory holds the token id 0, which SeqIO's packing takes for padding; use the token cache"
    with tf.control_dependencies([tf.debugging.assert_positive(tokens, message=message)]):
        tokens = tf.identity(tokens)
    return {"tokens": tokens[:-1], "targets": tokens[1:], "trained": example["trained"][1:]}


def _packed_row(row: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return _row(row, tf.cast(row["tokens_positions"], tf.int32), tf.cast(row["tokens_segment_ids"], tf.int32))


def _padded_row(row: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    used = tf.cast(row["tokens"] > 0, tf.int32)
    return _row(row, tf.range(tf.size(used)) * used, used)


def _row(row: Mapping[str, tf.Tensor], positions: tf.Tensor, segment_ids: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "tokens": row["tokens"],
        "targets": row["targets"],
        "loss_weights": tf.cast(row["trained"] == TRAINED, tf.float32),
        "positions": positions,
        "segment_ids": segment_ids,
    }
