"""`python evaluate.py`: sweeps over a checkpoint that exists."""

from pathlib import Path

from agentbank_jax.commands.console import make_console
from agentbank_jax.commands.watch import watch_run
from agentbank_jax.configuration import bindings
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.configuration import EvaluationConfiguration, read_evaluation, read_gin
from agentbank_jax.configuration.gin_files import write_operative_config
from agentbank_jax.environments import benchmark_data, sandbox_limits
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.checkpoint import check_sweeps, evaluate_checkpoint
from agentbank_jax.parallel.distributed import check_alone
from agentbank_jax.training.best_checkpoint import resolve_checkpoint
from agentbank_jax.training.checkpoint_files import FOLDER as CHECKPOINTS
from agentbank_jax.training.compilation_cache import enable_compilation_cache
from agentbank_jax.training.train_config import TrainConfig


def evaluate(command_line: CommandLine) -> int:
    """Plays what is not yet recorded, and prints and reports everything.

    Raises:
      AgentBankError: on whatever the user can mend; nothing long has begun then.
    """
    check_alone(command_line.distributed, "evaluate.py")
    loader = read_gin(command_line)
    evaluation = read_evaluation(loader)
    benchmark_data.configure(evaluation.benchmarks)
    sandbox_limits.configure(evaluation.sandbox)
    check_sweeps(evaluation.sweeps)
    console = make_console()
    if command_line.dry_run:
        for line in sweep_lines(evaluation):
            console.print(line, highlight=False, soft_wrap=True)
        return 0
    named = [path for path in (command_line.checkpoint, command_line.watch) if path is not None]
    if len(named) != 1:
        raise AgentBankError(
            "no checkpoint is named; expected --checkpoint=PATH, such as runs/samoyed_tiny, or --watch=MODEL_DIR."
            if not named
            else "both --checkpoint and --watch are named; expected one of them."
        )
    checkpoint = resolve_checkpoint(named[0])
    output = _output_dir(command_line, checkpoint)
    enable_compilation_cache()
    if command_line.watch:
        metric, mode = _best_by()
        watch_run(
            checkpoint,
            evaluation.sweeps,
            output,
            console,
            best_metric=metric,
            best_mode=mode,
            newest=command_line.watch_newest,
        )
    else:
        evaluate_checkpoint(evaluation.sweeps, checkpoint, output, console=console)
    write_operative_config(output / "operative_config.gin", loader)
    return 0


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
        against = ", ".join(sweep.baselines) or "nothing"
        lines.append(f"sweep {sweep.name}: {sweep.episodes_per_task} {sweep.split} episodes a task, beside {against}")
        for spec in sweep.specs():
            reason = spec.available()
            lines.append(f"  {spec.name} ({spec.skill}, {spec.protocol})" + (f": not run: {reason}" if reason else ""))
    return lines


def _output_dir(command_line: CommandLine, checkpoint: Path) -> Path:
    """Returns where the results go: `--model_dir`, or a folder of the sweeps' name in the checkpoint's run."""
    if command_line.model_dir:
        return Path(command_line.model_dir).expanduser()
    names = "+".join(Path(name).stem for name in command_line.gin_files)
    return _run_folder(checkpoint.absolute()) / f"evaluation-{names}"


def _run_folder(checkpoint: Path) -> Path:
    """Returns the run that a path belongs to: itself, its `checkpoints`, or one step of these."""
    for folder in (checkpoint, checkpoint.parent):
        if folder.name == CHECKPOINTS:
            return folder.parent
    return checkpoint
