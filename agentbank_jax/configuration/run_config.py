"""What a run is made of, beside the model, the trainer and the sweeps: its data, its start and its measurements."""

from dataclasses import dataclass
from pathlib import Path

from agentbank_jax.data.over_long import POLICIES
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.places import data_place, local_folder, local_path
from agentbank_jax.trajectories.templates.registry import TEMPLATES, TemplateOptions


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a model is trained on.

    Fields:
      mixture: name of a declared mixture or task, such as `starter`.
      tokenizer: SentencePiece model, `tokenizer.json` or folder with one of them, in the data folder; a path that
        starts with `.`, `~` or `/` is taken as it is.
      max_length: tokens per packed row, and the longest trajectory.
      over_long: what becomes of longer trajectories: `drop`, `truncate_at_turn` or `split_at_turn`.
      template: chat template, in training and in acting: `llama2`, `codellama`, `llama3`, or `hf`, the
        checkpoint's own.
      train_on: `all` assistant turns, or the `last` one only.
      train_thoughts: False leaves the Thoughts untrained.
      data_dir: where banks are, a folder or a URL such as gs://bucket/banks; None means $AGENTBANK_DATA_DIR, or
        ./data.
      cache_dir: where tokenised banks are kept; None means `token_cache` in the data folder or its local copy.
      tokenizer_remedy: how a user gets the tokenizer, for the message when it is missing.
    """

    mixture: str
    tokenizer: str
    max_length: int = 1024
    over_long: str = "drop"
    template: str = "llama2"
    train_on: str = "all"
    train_thoughts: bool = True
    data_dir: str | None = None
    cache_dir: str | None = None
    tokenizer_remedy: str = "train it with: python scripts/train_vocabulary.py"

    def __post_init__(self) -> None:
        if self.max_length < 8:
            raise AgentBankError(f"DataConfig.max_length = {self.max_length}: expected at least 8 tokens.")
        for name, known in (("template", TEMPLATES), ("over_long", POLICIES)):
            value = getattr(self, name)
            if value not in known:
                raise AgentBankError(f"DataConfig.{name} = {value!r} is unknown.{did_you_mean(value, known)}")
        self.template_options()

    def template_options(self) -> TemplateOptions:
        return TemplateOptions(train_on=self.train_on, train_thoughts=self.train_thoughts)  # type: ignore[arg-type]

    def data_place(self) -> str:
        """The data folder or its URL."""
        return data_place(self.data_dir)

    def data_path(self) -> Path:
        """The data folder, or where the local copy of a remote one lies."""
        return local_folder(self.data_place())

    def cache_path(self) -> Path:
        if self.cache_dir:
            return local_path(self.cache_dir, "--gin.DataConfig.cache_dir")
        return self.data_path() / "token_cache"

    def tokenizer_path(self) -> Path:
        path = Path(self.tokenizer).expanduser()
        return self.data_path() / path if self.tokenizer_lies_with_data() else path

    def tokenizer_lies_with_data(self) -> bool:
        """Whether the tokenizer is named relative to the data folder."""
        return not self.tokenizer.startswith((".", "~", "/"))


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run starts and what follows the training.

    Fields:
      weights: folder of a Hugging Face checkpoint to start from; None starts from fresh weights.
      weights_remedy: how a user gets them, for the message when they are missing.
      sweeps: names of the sweeps to run after training, each a gin scope of `SweepConfig`; None means all
        that the gin files hold.
    """

    weights: str | None = None
    weights_remedy: str = ""
    sweeps: tuple[str, ...] | None = None

    def weights_path(self) -> Path | None:
        return Path(self.weights).expanduser() if self.weights else None


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How a model is measured while it is trained.

    Fields:
      share: of each task's trajectories that are held out: measured, and not trained on. Tasks with validation files
        of their own (`validation-*.parquet`) give nothing away.
      every: steps between measurements of loss and accuracy on what is held out; 0 measures none.
      max_trajectories_per_task: how many of a task's are measured at most; 0 all.
      sweep_every: steps between sweeps in the arena; 0 plays none before the end.
      sweeps: names of those sweeps; None means those of `RunConfig.sweeps`.
    """

    share: float = 0.0
    every: int = 0
    max_trajectories_per_task: int = 0
    sweep_every: int = 0
    sweeps: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise AgentBankError(f"EvalConfig.share={self.share}: expected 0 to below 1.")
        for name in ("every", "max_trajectories_per_task", "sweep_every"):
            if getattr(self, name) < 0:
                raise AgentBankError(f"EvalConfig.{name}={getattr(self, name)}: expected 0 or more.")
