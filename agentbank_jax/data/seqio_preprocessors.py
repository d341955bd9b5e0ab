"""SeqIO preprocessors: turns into token ids and masks, by the code that fills the token cache."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from agentbank_jax.data.over_long import OverLongPolicy, fit_to_length
from agentbank_jax.data.seqio_source import ROLE_NUMBERS
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import ChatTemplate, EncodedTrajectory

# Values of the feature `trained`. SeqIO's packing takes zeros for padding, so that a mask of zeros
# and ones would be shifted without a word.
UNTRAINED, TRAINED = 1, 2

_ROLES = {number: role for role, number in ROLE_NUMBERS.items()}


def encode_turns(dataset: tf.data.Dataset, *, template: Callable[[], ChatTemplate]) -> tf.data.Dataset:
    """Adds `targets`, `trained` (1 or 2) and `turn`, each int32 [tokens], and drops the texts.

    Args:
      dataset: of `trajectory_source`.
      template: gives the template; asked when the first example is encoded.

    Raises:
      AgentBankError: on a trajectory with a token of id 0, within what TensorFlow raises.
    """

    def encode(id_: bytes, role: np.ndarray, content: np.ndarray, trained: np.ndarray) -> list[np.ndarray]:
        turns = tuple(
            Turn(role=_ROLES[int(number)], content=text.decode(), trained=bool(mask))  # type: ignore[arg-type]
            for number, text, mask in zip(role, content, trained, strict=True)
        )
        encoded = template().encode(Trajectory(id=id_.decode(), task="", turns=turns))
        _refuse_id_0(encoded, template())
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
    sequence_length: Mapping[str, int] | None = None,
    output_features: Mapping[str, Any] | None = None,
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
    names = ("targets", "trained", "turn")

    def fit(id_: bytes, tokens: np.ndarray, trained: np.ndarray, turn: np.ndarray) -> list[np.ndarray]:
        encoded = EncodedTrajectory(id=id_.decode(), tokens=tokens, trained=trained == TRAINED, turn=turn)
        parts = fit_to_length(encoded, longest, over_long).parts
        masks = [np.where(part.trained, TRAINED, UNTRAINED) for part in parts]
        nothing = np.zeros(0, np.int32)
        return [
            np.array([part.id.encode() for part in parts], object),
            np.array([len(part.tokens) for part in parts], np.int64),
            np.concatenate([nothing, *(part.tokens for part in parts)]),
            np.concatenate([nothing, *masks]).astype(np.int32),
            np.concatenate([nothing, *(part.turn for part in parts)]),
        ]

    def parts_of(example: Mapping[str, tf.Tensor]) -> tf.data.Dataset:
        inputs = [example["id"], *(example[name] for name in names)]
        ids, lengths, *columns = tf.numpy_function(fit, inputs, [tf.string, tf.int64, *[tf.int32] * 3])
        for output in (ids, lengths, *columns):
            output.set_shape([None])
        ends = tf.cumsum(lengths)
        rest = {name: value for name, value in example.items() if name not in ("id", *names)}

        def part_of(number: tf.Tensor) -> dict[str, tf.Tensor]:
            part = slice(ends[number] - lengths[number], ends[number])
            taken = {name: column[part] for name, column in zip(names, columns, strict=True)}
            return {**rest, "id": ids[number], **taken}

        return tf.data.Dataset.range(tf.size(ids, tf.int64)).map(part_of)

    return dataset.flat_map(parts_of)


def _refuse_id_0(encoded: EncodedTrajectory, template: ChatTemplate) -> None:
    if not encoded.tokens.all():
        raise AgentBankError(
            f"trajectory '{encoded.id}' holds {template.tokenizer.piece(0)!r}, the token with id 0, which SeqIO's "
            "packing takes for padding; expected none. Train from the token cache, which packs by known lengths."
        )


def preprocessors(template: Callable[[], ChatTemplate], over_long: OverLongPolicy = "drop") -> list[Any]:
    """Returns the preprocessors of a task; SeqIO's cache stands before the policy for length."""

    def encode(dataset: tf.data.Dataset) -> tf.data.Dataset:
        return encode_turns(dataset, template=template)

    def fit(
        dataset: tf.data.Dataset,
        sequence_length: Mapping[str, int] | None = None,
        output_features: Mapping[str, Any] | None = None,
    ) -> tf.data.Dataset:
        return fit_lengths(dataset, sequence_length, output_features, over_long=over_long)

    return [encode, seqio.CacheDatasetPlaceholder(), fit]
