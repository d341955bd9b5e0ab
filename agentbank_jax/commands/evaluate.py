"""`python evaluate.py`: sweeps over models that exist. JAX is imported only where a checkpoint plays."""

from pathlib import Path

from rich.console import Console

from agentbank_jax.commands.console import make_console
from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.configuration import EvaluationConfiguration, read_evaluation, read_gin
from agentbank_jax.configuration.gin_files import write_operative_config
from agentbank_jax.environments import benchmark_data, sandbox_limits
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.checkpoint import check_sweeps, evaluate_checkpoint
from agentbank_jax.evaluation.participants import kind_of, run_folder
from agentbank_jax.parallel.distributed import DistributedConfig, check_alone
from agentbank_jax.places import local_path
from agentbank_jax.training.train_config import TrainConfig


def evaluate(command_line: CommandLine) -> int:
    """Plays what is not yet recorded, and prints and reports everything.

    Raises:
      AgentBankError: on whatever the user can mend; nothing long has begun then.
    """
    loader = read_gin(command_line)
    evaluation = read_evaluation(loader)
    if _plays_checkpoint(command_line, evaluation) or command_line.distributed != DistributedConfig():
        check_alone(command_line.distributed, "evaluate.py")
    benchmark_data.configure(evaluation.benchmarks)
    sandbox_limits.configure(evaluation.sandbox)
    check_sweeps(evaluation.sweeps)
    console = make_console()
    if command_line.dry_run:
        for line in sweep_lines(evaluation):
            console.print(line, highlight=False, soft_wrap=True)
        return 0
    if command_line.checkpoint and command_line.watch:
        raise AgentBankError("both --checkpoint and --watch are named; expected one of them.")
    if command_line.watch:
        output = _watch(command_line, evaluation, console)
    else:
        output = _play(command_line, evaluation, console)
    write_operative_config(output / "operative_config.gin", loader)
    return 0


def _play(command_line: CommandLine, evaluation: EvaluationConfiguration, console: Console) -> Path:
    checkpoint: Path | None = None
    if command_line.checkpoint:
        from agentbank_jax.training.best_checkpoint import resolve_checkpoint

        checkpoint = resolve_checkpoint(command_line.checkpoint)
    if _plays_checkpoint(command_line, evaluation):
        from agentbank_jax.training.compilation_cache import enable_compilation_cache

        enable_compilation_cache()
    output = _output_dir(command_line, checkpoint)
    evaluate_checkpoint(evaluation.sweeps, checkpoint, output, console=console)
    return output


def _plays_checkpoint(command_line: CommandLine, evaluation: EvaluationConfiguration) -> bool:
    """Whether a model is run here, by JAX."""
    places = [place for sweep in evaluation.sweeps for place in sweep.models]
    named = command_line.checkpoint or command_line.watch
    return named is not None or any(kind_of(place) == "checkpoint" for place in places)


def _watch(command_line: CommandLine, evaluation: EvaluationConfiguration, console: Console) -> Path:
    from agentbank_jax.commands.watch import watch_run
    from agentbank_jax.training.best_checkpoint import resolve_checkpoint
    from agentbank_jax.training.compilation_cache import enable_compilation_cache

    assert command_line.watch is not None
    run = resolve_checkpoint(command_line.watch)
    output = _output_dir(command_line, run)
    enable_compilation_cache()
    metric, mode = _best_by()
    watch_run(
        run,
        evaluation.sweeps,
        output,
        console,
        best_metric=metric,
        best_mode=mode,
        newest=command_line.watch_newest,
    )
    return output


def _best_by() -> tuple[str, str]:
    """The metric and the mode of the best of a watched run, where gin says them."""
    if not bindings.is_bound(TrainConfig, "best_metric"):
        return "", "max"
    train = bindings.build(TrainConfig)
    return train.best_metric, train.best_mode


def sweep_lines(evaluation: EvaluationConfiguration) -> list[str]:
    """Says what would be played."""
    lines = []
    for sweep in evaluation.sweeps:
        against = ", ".join((*sweep.models, *sweep.baselines)) or "nothing"
        lines.append(f"sweep {sweep.name}: {sweep.episodes_per_task} {sweep.split} episodes a task, beside {against}")
        for spec in sweep.specs():
            reason = sweep.not_run(spec)
            lines.append(f"  {spec.name} ({spec.skill}, {spec.protocol})" + (f": not run: {reason}" if reason else ""))
    return lines


def _output_dir(command_line: CommandLine, checkpoint: Path | None) -> Path:
    """Where the results go: `--model_dir`, or a folder of the sweeps' name in the checkpoint's run, or in `runs`."""
    if command_line.model_dir:
        return local_path(command_line.model_dir, "--model_dir")
    names = "+".join(Path(name).stem for name in command_line.gin_files)
    parent = Path("runs") if checkpoint is None else run_folder(checkpoint.absolute())
    return parent / f"evaluation-{names}"
