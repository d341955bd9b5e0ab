"""`python train.py`: from gin files to a trained, measured agent."""

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import jax
from rich.console import Console

from agentbank_jax.commands.console import make_console
from agentbank_jax.commands.evaluators import (
    EVALUATION,
    divided_cache,
    held_out_facts,
    held_out_lines,
    make_evaluators,
)
from agentbank_jax.commands.facts import check_allowed_changes, check_vocabulary, template_facts
from agentbank_jax.commands.plans import print_plan
from agentbank_jax.commands.requirements import check_requirements, check_writable
from agentbank_jax.commands.weights import starting_weights
from agentbank_jax.configuration.command_line import CommandLine
from agentbank_jax.configuration.configuration import (
    EvaluationConfiguration,
    TrainingConfiguration,
    default_model_dir,
    read_evaluation,
    read_gin,
    read_training,
)
from agentbank_jax.configuration.gin_files import operative_config
from agentbank_jax.configuration.run_config import DataConfig
from agentbank_jax.data.declarations import get_mixture, get_task
from agentbank_jax.data.delivery import PackedBatches
from agentbank_jax.data.remote import fetch_tasks
from agentbank_jax.data.token_cache import TokenCache
from agentbank_jax.environments import benchmark_data, sandbox_limits
from agentbank_jax.evaluation.checkpoint import check_sweeps, evaluate_checkpoint
from agentbank_jax.evaluation.participants import find_participants
from agentbank_jax.parallel.distributed import check_alike, start_processes
from agentbank_jax.parallel.mesh import make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, rows_of_process
from agentbank_jax.places import is_remote
from agentbank_jax.progress import Progress
from agentbank_jax.training.batches import Batches
from agentbank_jax.training.loop import train as train_model
from agentbank_jax.training.preemption import end_when_preempted
from agentbank_jax.training.wandb_run import check_wandb
from agentbank_jax.trajectories.templates.registry import ChatTemplate, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer


def train(command_line: CommandLine, began: float) -> int:
    """Trains, or goes on; then lets the agent act, or prints again what it reached.

    Args:
      command_line: what is asked for.
      began: when the program did, by `time.perf_counter`.

    Raises:
      AgentBankError: on whatever the user can mend; nothing long has begun then.
    """
    end_when_preempted()
    start_processes(command_line.distributed)
    # ---- what is asked for ----------------------------------------------------------------------------------------
    loader = read_gin(command_line)
    training = read_training()
    evaluation = read_evaluation(loader)
    benchmark_data.configure(evaluation.benchmarks)
    sandbox_limits.configure(evaluation.sandbox)
    if evaluation.sweeps:
        check_sweeps(evaluation.sweeps)
    if training.eval.sweep_every:
        check_sweeps(evaluation.while_training)
    model_dir = default_model_dir(command_line)
    find_participants(evaluation.sweeps, model_dir)
    console = make_console()
    if command_line.dry_run:
        print_plan(console, training, evaluation, model_dir)
        return 0

    # ---- whether it can be done -----------------------------------------------------------------------------------
    # What --checkpoint names goes before the weights of the recipe.
    run = replace(training.run, weights=None) if command_line.checkpoint else training.run
    check_requirements(training.data, run)
    check_wandb(training.train.wandb_project)
    data_dir = _fetch(training.data, console)
    template = _template(training)
    allow_change = (*training.train.allow_change, *command_line.allow_change)
    check_allowed_changes(allow_change, template, training.model)
    check_alike("settings", _settings(command_line, operative_config(loader), model_dir))
    weights = starting_weights(command_line.checkpoint, training, template)
    check_writable(model_dir, "--model_dir")
    check_writable(training.data.cache_path(), "--gin.DataConfig.cache_dir")

    # ---- data -----------------------------------------------------------------------------------------------------
    with Progress("trajectories tokenised") as progress:
        cache, held_out = divided_cache(training, template, data_dir, progress)
    check_alike("data", {**template_facts(template), "fingerprint of the trajectories": cache.fingerprint})
    shape = training.train.batch_size, training.data.max_length
    part, parts = rows_of_process(batch_sharding(make_mesh(training.mesh), training.mesh.rules), shape)
    batches = PackedBatches(
        cache,
        batch_size=training.train.batch_size,
        length=training.data.max_length,
        seed=training.train.seed,
        process_index=part,
        process_count=parts,
    )
    console.print(_describe(cache, batches), highlight=False, soft_wrap=True)
    if cache.too_long():
        console.print(f"{cache.too_long()} (DataConfig.over_long)", highlight=False, soft_wrap=True)
    for line in held_out_lines(held_out):
        console.print(line, highlight=False, soft_wrap=True)
    total_steps = training.train.total_steps(batches.steps_per_epoch)
    evaluators = make_evaluators(training, evaluation, template, cache, held_out, model_dir, total_steps)

    # ---- training -------------------------------------------------------------------------------------------------
    result = train_model(
        training.model,
        replace(training.train, allow_change=allow_change),
        training.optimizer,
        training.mesh,
        # A checker does not see that a TypedDict of arrays is a mapping to arrays.
        cast(Batches, batches),
        model_dir,
        facts={**template_facts(template), **held_out_facts(training.eval)},
        manifest={"tasks": cache.seen()},
        operative_config=operative_config(loader),
        tokenizer_path=training.data.tokenizer_path(),
        initial_params=weights.load if weights else None,
        base=weights.folder if weights else None,
        began=began,
        evaluators=evaluators,
    )
    checkpoint = result.checkpoint
    console.print(f"checkpoint: {os.path.relpath(checkpoint)}", highlight=False, soft_wrap=True)
    # The weights are loaded again, alone: the optimizer's state need not stay in memory.
    del result, weights

    # ---- acting ---------------------------------------------------------------------------------------------------
    if evaluation.sweeps and jax.process_count() > 1:
        console.print(f"several processes only train; let it act with: python evaluate.py --checkpoint={model_dir} …")
    elif evaluation.sweeps:
        _evaluate(evaluation, checkpoint, model_dir, console)
    return 0


def _settings(command_line: CommandLine, operative: str, model_dir: Path) -> dict[str, object]:
    """What all processes must have been given alike, by name."""
    bound = (line.partition(" = ") for line in operative.split("\n") if line and not line.startswith("#"))
    return {name: value for name, _, value in bound} | {
        # They write one checkpoint together.
        "--model_dir": os.path.abspath(model_dir),
        "--checkpoint": command_line.checkpoint,
        "--allow_change": command_line.allow_change,
    }


def _fetch(data: DataConfig, console: Console) -> Path:
    """Returns the data folder; what the run needs of a remote one is copied first."""
    place = data.data_place()
    tasks = [get_task(name) for name in get_mixture(data.mixture).rates]
    with console.status(f"copying from {place}") if is_remote(place) else contextlib.nullcontext():
        return fetch_tasks(place, tasks, beside=[data.tokenizer] if data.tokenizer_lies_with_data() else [])


def _template(training: TrainingConfiguration) -> ChatTemplate:
    tokenizer = Tokenizer.load(training.data.tokenizer_path())
    check_vocabulary(tokenizer, training.model)
    return get_template(training.data.template, tokenizer, training.data.template_options())


def _describe(cache: TokenCache, batches: PackedBatches) -> str:
    return (
        f"{cache.mixture}: {len(cache):,} trajectories, {int(cache.lengths.sum()):,} tokens; "
        f"packed rows are {batches.fill:.1%} full"
    )


def _evaluate(evaluation: EvaluationConfiguration, checkpoint: Path, model_dir: Path, console: Console) -> None:
    evaluate_checkpoint(evaluation.sweeps, checkpoint, model_dir / EVALUATION, console=console)
