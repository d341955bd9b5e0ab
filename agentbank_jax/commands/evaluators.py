"""What measures a run while it trains, and the data that are kept from training for it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from agentbank_jax.commands.arena import Arena
from agentbank_jax.configuration.configuration import EvaluationConfiguration, TrainingConfiguration
from agentbank_jax.configuration.run_config import EvalConfig
from agentbank_jax.data.held_out import HeldOutBatches, hold_out
from agentbank_jax.data.task_cache import Progress
from agentbank_jax.data.token_cache import TokenCache, build_cache
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.training.evaluator import Evaluator
from agentbank_jax.training.teacher_forced import TeacherForced
from agentbank_jax.trajectories.templates.registry import ChatTemplate

EVALUATION = "evaluation"
"""In a run's folder: the report and the episodes of the sweeps after training."""


def divided_cache(
    training: TrainingConfiguration, template: ChatTemplate, data_dir: Path, progress: Progress
) -> tuple[TokenCache, TokenCache]:
    """Returns what is trained on, and what is held out (which may be no task at all).

    Raises:
      AgentBankError: on files that cannot be used, or where something would be measured and nothing is held out.
    """
    data, config = training.data, training.eval
    build = partial(
        build_cache,
        data.mixture,
        template,
        max_length=data.max_length,
        data_dir=data_dir,
        cache_dir=data.cache_path(),
        over_long=data.over_long,  # type: ignore[arg-type]
        progress=progress,
    )
    cache = build()
    if not config.every and not config.share:
        # Validation files are not looked for where nobody asks for them.
        return cache, replace(cache, tasks=(), rates=())
    kept, held_out = hold_out(cache, config.share, build(split="validation"))
    if config.every and not held_out.tasks:
        raise AgentBankError(
            f"EvalConfig.every={config.every}: nothing is held out of '{data.mixture}'; expected validation files "
            f"(validation-*.parquet beside a task's train-*.parquet), or a larger EvalConfig.share ({config.share:g})."
        )
    return kept, held_out


def held_out_lines(held_out: TokenCache) -> list[str]:
    """Says what is held out."""
    if not held_out.tasks:
        return []
    counts = ", ".join(f"{task.task.name} ({len(task):,})" for task in held_out.tasks)
    return [f"held out: {len(held_out):,} trajectories: {counts}"]


def held_out_facts(config: EvalConfig) -> dict[str, object]:
    """What must be the same when the run goes on; of runs that hold nothing out, nothing."""
    return {"held_out_share": config.share} if config.share else {}


def make_evaluators(
    training: TrainingConfiguration,
    evaluation: EvaluationConfiguration,
    template: ChatTemplate,
    cache: TokenCache,
    held_out: TokenCache,
    model_dir: Path,
    total_steps: int,
) -> list[Evaluator]:
    """Makes what `EvalConfig` asks for.

    Raises:
      AgentBankError: it cannot be done with the run's devices or processes.
    """
    config = training.eval
    evaluators: list[Evaluator] = []
    if config.every:
        batches = HeldOutBatches(
            held_out,
            # As many rows as a micro-batch has: no more memory than training takes.
            batch_size=training.train.batch_size // training.train.accumulate,
            length=training.data.max_length,
            most=config.max_trajectories_per_task,
        )
        evaluators.append(TeacherForced(training.model, training.mesh, batches, every=config.every))
    if config.sweep_every:
        evaluators.append(
            Arena(
                evaluation.while_training,
                training.model,
                template,
                model_dir,
                manifest=TrainingManifest.of(cache.seen()),
                every=config.sweep_every,
                last_step=total_steps,
                last_folder=model_dir / EVALUATION,
            )
        )
    return evaluators
