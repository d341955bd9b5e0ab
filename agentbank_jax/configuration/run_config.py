"""What a run is made of, beside the model, the trainer and the sweeps: its data and its start."""

import os
from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.errors import AgentBankError, did_you_mean

DATA_DIR_VARIABLE = "AGENTBANK_DATA_DIR"
TEMPLATES = ("llama2",)


def default_data_dir() -> Path:
    """Returns $AGENTBANK_DATA_DIR, or ./data."""
    return Path(os.environ.get(DATA_DIR_VARIABLE) or "data")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a model is trained on.

    Fields:
      mixture: name of a declared mixture or task, such as `starter`.
      tokenizer: SentencePiece model; a relative path is looked for in the data folder, then here.
      max_length: tokens per packed row, and the longest trajectory.
      template: chat template, in training and in acting.
      data_dir: where banks are; None means $AGENTBANK_DATA_DIR, or ./data.
      cache_dir: where tokenised banks are kept; None means `token_cache` in the data folder.
      bank_remedy: how a user gets the bank, for the message when it is missing.
      tokenizer_remedy: the same for the tokenizer.
    """

    mixture: str
    tokenizer: str
    max_length: int = 1024
    template: str = "llama2"
    data_dir: str | None = None
    cache_dir: str | None = None
    bank_remedy: str = "make it with: python scripts/build_bank.py"
    tokenizer_remedy: str = "train it with: python scripts/train_vocabulary.py"

    def __post_init__(self) -> None:
        if self.max_length < 8:
            raise AgentBankError(f"DataConfig.max_length = {self.max_length}: expected at least 8 tokens.")
        if self.template not in TEMPLATES:
            raise AgentBankError(
                f"DataConfig.template = {self.template!r} is unknown.{did_you_mean(self.template, TEMPLATES)}"
            )

    def data_path(self) -> Path:
        return Path(self.data_dir).expanduser() if self.data_dir else default_data_dir()

    def cache_path(self) -> Path:
        return Path(self.cache_dir).expanduser() if self.cache_dir else self.data_path() / "token_cache"

    def tokenizer_path(self) -> Path:
        """Returns where the tokenizer is, or where it is expected when it is nowhere."""
        path = Path(self.tokenizer).expanduser()
        in_data = self.data_path() / path
        return path if not in_data.is_file() and path.is_file() else in_data


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run starts and what follows the training.

    Fields:
      seed: decides initial weights, the order of the data and the episodes.
      weights: folder of Hugging Face Llama weights to start from; None starts from fresh ones.
      weights_remedy: how a user gets them, for the message when they are missing.
      sweeps: names of the sweeps to run after training, each a gin scope of `SweepConfig`; None means all
        that the gin files hold.
    """

    seed: int = 0
    weights: str | None = None
    weights_remedy: str = ""
    sweeps: tuple[str, ...] | None = None
