"""SeqIO preprocessors: turns into token ids and masks, by the code that fills the token cache."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from agentbank_jax.data.over_long import OverLongPolicy, fit_to_length
from agentbank_jax.data.seqio_source import ROLE_NUMBERS
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates import EncodedTrajectory, Llama2Template

# Values of the feature `trained`. SeqIO's packing takes zeros for padding, so that a mask of zeros
# and ones would be shifted without a word.
UNTRAINED, TRAINED = 1, 2

_ROLES = {number: role for role, number in ROLE_NUMBERS.items()}


def encode_turns(dataset: tf.data.Dataset, *, template: Callable[[], Llama2Template]) -> tf.data.Dataset:
    """Adds `targets`, `trained` (1 or 2) and `turn`, each int32 [tokens], and drops the texts.

    Args:
      dataset: of `trajectory_source`.
      template: gives the template; asked when the first example is encoded.
    """

    def encode(id_: bytes, role: np.ndarray, content: np.ndarray, trained: np.ndarray) -> list[np.ndarray]:
        turns = tuple(
            Turn(role=_ROLES[int(number)], content=text.decode(), trained=bool(mask))  # type: ignore[arg-type]
            for number, text, mask in zip(role, content, trained, strict=True)
        )
        encoded = template().encode(Trajectory(id=id_.decode(), task="", turns=turns))
        return [encoded.tokens, np.where(encoded.trained, TRAINED, UNTRAINED).astype(np.int32), encoded.turn]

    def preprocess(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs = [example["id"], example["role"], example["content"], example["turn_trained"]]
        outputs = tf.numpy_function(encode, inputs, [tf.int32] * 3)
        for output in outputs:
            output.set_shape([None])
        return {"id": example["id"], **dict(zip(("targets", "trained", "turn"), outputs, strict=True))}

    return dataset.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)


def fit_lengths(
    dataset: tf.data.Dataset,
    sequence_length: Mapping[str, int] | None,
    output_features: Mapping[str, Any],
    *,
    over_long: OverLongPolicy = "drop",
) -> tf.data.Dataset:
    """Applies the policy for trajectories of more than `sequence_length['targets']` tokens.

    SeqIO passes `sequence_length`; without one everything fits.
    """
    del output_features
    if not sequence_length or sequence_length.get("targets") is None:
        return dataset
    longest = int(sequence_length["targets"])

    def fit(tokens: np.ndarray, trained: np.ndarray, turn: np.ndarray) -> list[np.ndarray]:
        encoded = EncodedTrajectory(id="", tokens=tokens, trained=trained == TRAINED, turn=turn)
        fitting = fit_to_length(encoded, longest, over_long)
        length = 0 if fitting is None else len(fitting.tokens)
        return [tokens[:length], trained[:length], turn[:length]]

    def preprocess(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        names = ("targets", "trained", "turn")
        outputs = tf.numpy_function(fit, [example[name] for name in names], [tf.int32] * 3)
        for output in outputs:
            output.set_shape([None])
        return {**example, **dict(zip(names, outputs, strict=True))}

    fitted = dataset.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)
    return fitted.filter(lambda example: tf.size(example["targets"]) > 0)


def preprocessors(template: Callable[[], Llama2Template], over_long: OverLongPolicy = "drop") -> list[Any]:
    """Returns the preprocessors of a task; SeqIO's cache stands before the policy for length."""

    def encode(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return encode_turns(dataset, template=template)

    def fit(
        dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None, output_features: Mapping[str, Any]
    ) -> tf.data.Dataset:
        return fit_lengths(dataset, sequence_length, output_features, over_long=over_long)

    return [encode, seqio.CacheDatasetPlaceholder(), fit]
