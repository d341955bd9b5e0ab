"""How long to train, and what to keep."""

from dataclasses import dataclass

from agentbank_jax.errors import AgentBankError, did_you_mean

BEST_MODES = ("min", "max")
LOSS_KINDS = ("trained", "full")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long to train, and what to keep.

    Fields:
      steps: optimizer steps; 0 means by `epochs`.
      epochs: passes over the data, where `steps` is 0; may be a fraction.
      batch_size: rows per step, all devices and micro-batches together.
      accumulate: micro-batches per step.
      loss: "trained" projects only trained tokens to the vocabulary (one device), "full" all; "auto" chooses.
      seed: of fresh parameters.
      log_every: steps between records of metrics.
      checkpoint_every: steps between checkpoints; 0 saves at the end only, or as `checkpoint_minutes` says.
      checkpoint_minutes: the most minutes between checkpoints; 0 leaves it to `checkpoint_every`.
      keep_checkpoints: how many of the latest to keep.
      keep_every: keeps the checkpoints of steps that this divides, too; 0 none.
      best_metric: keeps the checkpoint with the best of this metric of an evaluation, such as "eval/loss", too.
      best_mode: "min" where lower values of it are better, "max" where higher ones are.
      max_bad_steps: steps in a row with a loss or gradient that is not finite, after which the run ends. They are
        passed over, and counted in the metrics.
      spike_factor: a loss of more than so many times the median of the steps before is a spike: the run goes back to
        its last checkpoint, and on with the batches after the spike. 0 takes every loss.
      max_rollbacks: how often, before the run ends.
      profile_start: the first step to be profiled, from 1 on, into the folder `profile` of the run; 0 profiles none.
      profile_steps: how many steps are.
      wandb_project: the project of Weights & Biases that gets the metrics too; "" none.
      resume: go on from the latest checkpoint in the model's folder; False refuses a folder that has one.
      allow_change: facts that may differ from those of the checkpoint.
      peak_flops: FLOP/s of one device, for MFU; 0 takes the data sheet's, or measures (CPU).
      compilation_cache: folder of compiled programs; None means the default one, "" none.
    """

    steps: int = 0
    epochs: float = 1.0
    batch_size: int = 8
    accumulate: int = 1
    loss: str = "auto"
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 200
    checkpoint_minutes: float = 0.0
    keep_checkpoints: int = 2
    keep_every: int = 0
    best_metric: str = ""
    best_mode: str = "min"
    max_bad_steps: int = 10
    spike_factor: float = 0.0
    max_rollbacks: int = 3
    profile_start: int = 0
    profile_steps: int = 5
    wandb_project: str = ""
    resume: bool = True
    allow_change: tuple[str, ...] = ()
    peak_flops: float = 0.0
    compilation_cache: str | None = None

    def __post_init__(self) -> None:
        if self.loss not in ("auto", *LOSS_KINDS):
            raise AgentBankError(
                f"TrainConfig.loss={self.loss!r} is not known." + did_you_mean(self.loss, ("auto", *LOSS_KINDS))
            )
        if self.best_mode not in BEST_MODES:
            raise AgentBankError(
                f"TrainConfig.best_mode={self.best_mode!r} is not known." + did_you_mean(self.best_mode, BEST_MODES)
            )
        if self.spike_factor and not 1 < self.spike_factor < float("inf"):
            raise AgentBankError(f"TrainConfig.spike_factor={self.spike_factor}: expected more than 1, or 0.")
        for name in ("batch_size", "accumulate", "log_every", "keep_checkpoints", "max_bad_steps", "profile_steps"):
            if getattr(self, name) < 1:
                raise AgentBankError(f"TrainConfig.{name}={getattr(self, name)}: expected at least 1.")
        for name in (
            "steps",
            "checkpoint_every",
            "checkpoint_minutes",
            "keep_every",
            "max_rollbacks",
            "profile_start",
            "peak_flops",
        ):
            if getattr(self, name) < 0:
                raise AgentBankError(f"TrainConfig.{name}={getattr(self, name)}: expected 0 or more.")
        if self.steps == 0 and not 0 < self.epochs < float("inf"):
            raise AgentBankError(f"TrainConfig.epochs={self.epochs}: expected more than 0, where steps is 0.")
        if not 0 <= self.seed < 1 << 31:
            raise AgentBankError(f"TrainConfig.seed={self.seed}: expected 0 to {(1 << 31) - 1}.")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole run."""
        return self.steps or max(1, round(self.epochs * steps_per_epoch))
