"""The vocabulary of a mixture: where it is kept, and its training on the mixture's trajectories."""

import os
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.data.sources import read_mixture
from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary


def vocabulary_path(mixture: str, data_dir: str | os.PathLike[str]) -> Path:
    """Returns where the vocabulary that was trained on a mixture is kept."""
    return Path(data_dir) / "vocabulary" / f"{mixture}.model"


def train_mixture_vocabulary(
    mixture: str, data_dir: str | os.PathLike[str], *, vocab_size: int, out: str | os.PathLike[str]
) -> Tokenizer:
    """Trains a vocabulary on all trajectories of a mixture, as the template renders them, instructions included.

    Raises:
      AgentBankError: on an unknown mixture, missing files, or a size that cannot be; see
        `train_vocabulary`.
    """

    def texts() -> Iterator[str]:
        for trajectory in read_mixture(mixture, data_dir):
            yield from Llama2Template.render(trajectory)

    return train_vocabulary(texts(), vocab_size, out)
