"""From flags and gin files to the dataclasses of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.gin_files import GinLoader
from agentbank_jax.configuration.run_config import DataConfig, EvalConfig, RunConfig
from agentbank_jax.data import samoyed
from agentbank_jax.data.declarations import get_mixture
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.sandbox_limits import SandboxConfig
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.places import local_path
from agentbank_jax.training.train_config import TrainConfig

if TYPE_CHECKING:  # they import JAX, which not every evaluation needs
    from agentbank_jax.models.llama_config import LlamaConfig
    from agentbank_jax.parallel.mesh import MeshConfig
    from agentbank_jax.training.optimizer import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration:
    """What a training run is made of, sweeps aside."""

    model: "LlamaConfig"
    data: DataConfig
    train: TrainConfig
    optimizer: "OptimizerConfig"
    mesh: "MeshConfig"
    run: RunConfig
    eval: EvalConfig

    def __post_init__(self) -> None:
        if self.data.max_length > self.model.max_position_embeddings:
            raise AgentBankError(
                f"DataConfig.max_length={self.data.max_length} is more than LlamaConfig.max_position_embeddings="
                f"{self.model.max_position_embeddings}: shorten the rows or raise it."
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfiguration:
    """What an evaluation is made of.

    Fields:
      sweeps: in the order in which the gin files name them.
      while_training: the sweeps that are played while the model is trained.
      benchmarks: where the published benchmarks are.
      sandbox: how programs that a model wrote are held apart.
    """

    sweeps: tuple[SweepConfig, ...]
    while_training: tuple[SweepConfig, ...]
    benchmarks: BenchmarkConfig
    sandbox: SandboxConfig


def read_gin(command_line: CommandLine, *, unused_macros: bool = False) -> GinLoader:
    """Reads all gin files and overrides, in the order of the command line, and `--seed`.

    Args:
      command_line: names the files.
      unused_macros: whether a macro may be used by nothing, where the files are a part of a run's.
    """
    loader = GinLoader(command_line.gin_search_paths, allow_imports=command_line.allow_imports)
    for name in command_line.gin_files:
        loader.read(name)
    for name, value in command_line.overrides:
        loader.override(name, value)
    if command_line.seed is not None:
        loader.override(f"{TrainConfig.__name__}.seed", str(command_line.seed))
        # Also where a sweep has seeds of its own: they would win.
        for scope in ("", *loader.scopes_of(SweepConfig.__name__)):
            if not scope or bindings.is_bound(SweepConfig, "seeds", scope):
                loader.override(f"{scope}/{SweepConfig.__name__}.seeds".lstrip("/"), f"[{command_line.seed}]")
    loader.finish(unused_macros=unused_macros)
    check_scopes(loader, command_line.overrides)
    return loader


def check_scopes(loader: GinLoader, overrides: Sequence[tuple[str, str]]) -> None:
    """Refuses scopes of what has none, and a value for all sweeps or tasks that some would not take.

    What a gin file binds for one of them wins over a value for all.
    """
    for name in bindings.KNOWN:
        if name not in bindings.SCOPED and (scopes := loader.scopes_of(name)):
            raise AgentBankError(
                f"{scopes[0]}/{name}: only {', '.join(bindings.SCOPED)} have scopes, one for each sweep or task; "
                f"expected {name} without one."
            )
    named = {name for name, _ in overrides}
    for name, value in overrides:
        prefix, _, parameter = name.rpartition(".")
        config = prefix.rpartition(".")[2]
        if config not in bindings.SCOPED:  # also one with a scope
            continue
        hiding = [
            f"{scope}/{config}.{parameter}"
            for scope in loader.scopes_of(config)
            if bindings.is_bound(config, parameter, scope)
        ]
        hiding = [one for one in hiding if one not in named]
        if hiding:
            raise AgentBankError(
                f"--gin.{name}={value} does not reach every {'sweep' if config == 'SweepConfig' else 'task'}: the gin "
                f"files bind {', '.join(hiding)}, which wins; expected {' '.join(f'--gin.{one}=…' for one in hiding)}."
            )


def read_training() -> TrainingConfiguration:
    """Makes what gin holds of a training run.

    Raises:
      AgentBankError: on a missing or refused value, or a mixture that does not exist.
    """
    from agentbank_jax.training.optimizer import OptimizerConfig

    return TrainingConfiguration(
        model=_read_model(),
        data=read_data(),
        train=bindings.build(TrainConfig),
        optimizer=bindings.build(OptimizerConfig),
        mesh=read_mesh(),
        run=bindings.build(RunConfig),
        eval=bindings.build(EvalConfig),
    )


def _read_model() -> "LlamaConfig":
    """Makes the model, with adapters where gin holds anything of `LoraConfig`."""
    from agentbank_jax.models.llama_config import LlamaConfig
    from agentbank_jax.models.lora import LoraConfig

    if bindings.is_bound(LlamaConfig, "lora"):
        raise AgentBankError("LlamaConfig.lora is set by LoraConfig; bind LoraConfig.projections, LoraConfig.rank, …")
    adapted = any(bindings.is_bound(LoraConfig, name) for name in bindings.KNOWN[LoraConfig.__name__])
    # None is given too: a default would be in the operative configuration, as if it had been bound.
    return bindings.build(LlamaConfig, lora=bindings.build(LoraConfig) if adapted else None)


def read_mesh() -> "MeshConfig":
    """Makes what gin holds of the mesh, its rules included.

    Raises:
      AgentBankError: on a refused value.
    """
    from agentbank_jax.models.sharding_rules import ShardingRules
    from agentbank_jax.parallel.mesh import MeshConfig

    if bindings.is_bound(MeshConfig, "rules"):
        raise AgentBankError(
            "MeshConfig.rules has a gin name of its own: bind its fields, as ShardingRules.embed='fsdp'."
        )
    return bindings.build(MeshConfig, rules=bindings.build(ShardingRules))


def read_data(**values: Any) -> DataConfig:
    """Makes what gin holds of the data, and declares the mixture that gin configures.

    Args:
      **values: fields that the caller decides itself.

    Raises:
      AgentBankError: on a missing or refused value, or a mixture that does not exist.
    """
    data = bindings.build(DataConfig, **values)
    if data.mixture in samoyed.NAMES:
        samoyed.configure_samoyed(bindings.build(samoyed.SamoyedConfig))
    get_mixture(data.mixture)
    return data


def read_evaluation(loader: GinLoader) -> EvaluationConfiguration:
    """Makes the sweeps: each gin scope of `SweepConfig` is one, called by its scope.

    Raises:
      AgentBankError: on a sweep that no gin file has, or a refused value.
    """
    scopes = loader.scopes_of(SweepConfig.__name__)
    chosen = bindings.build(RunConfig).sweeps
    during = bindings.build(EvalConfig)
    while_training = chosen if during.sweeps is None else during.sweeps
    for config, names in ((RunConfig, chosen), (EvalConfig, during.sweeps)):
        for name in names or ():
            if name not in scopes:
                raise AgentBankError(
                    f"{config.__name__}.sweeps names '{name}', which no gin file has.{did_you_mean(name, scopes)}"
                )

    def read(names: tuple[str, ...] | None) -> tuple[SweepConfig, ...]:
        return tuple(_read_sweep(name) for name in (scopes if names is None else names))

    return EvaluationConfiguration(
        sweeps=read(chosen),
        while_training=read(while_training) if during.sweep_every else (),
        benchmarks=bindings.build(BenchmarkConfig),
        sandbox=bindings.build(SandboxConfig),
    )


def _read_sweep(scope: str) -> SweepConfig:
    if bindings.is_bound(SweepConfig, "name", scope):
        return bindings.build(SweepConfig, scope)
    return bindings.build(SweepConfig, scope, name=scope)


def default_model_dir(command_line: CommandLine) -> Path:
    """Returns `--model_dir`, or ./runs/ and the names of the gin files without their endings.

    Raises:
      AgentBankError: `--model_dir` is a URL.
    """
    if command_line.model_dir:
        return local_path(command_line.model_dir, "--model_dir")
    return Path("runs") / "+".join(Path(name).stem for name in command_line.gin_files)
