"""What `--dry_run` prints: the run, found out without weights, data or many devices."""

import math
from dataclasses import replace
from pathlib import Path

import jax
from rich.console import Console

from agentbank_jax.commands.evaluate import sweep_lines
from agentbank_jax.commands.requirements import missing_requirements
from agentbank_jax.commands.topology_search import compile_on
from agentbank_jax.configuration.configuration import EvaluationConfiguration, TrainingConfiguration
from agentbank_jax.data.declarations import get_mixture
from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import make_mesh
from agentbank_jax.training.flops import adapter_parameters
from agentbank_jax.training.plan import Plan, plan

TOO_MUCH_FOR_CPU = 1e14
"""FLOPs of a step that takes minutes on CPUs: nobody waits for such a step's compilation there."""


def print_plan(
    console: Console, training: TrainingConfiguration, evaluation: EvaluationConfiguration, model_dir: Path
) -> None:
    """Prints model, mesh, memory, data, tokens per step, sweeps, what is still missing, and the compiled step."""
    size = _size(training)
    for line in plan_lines(training, evaluation, model_dir, size):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in _compiled_lines(console, training, size):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def plan_lines(
    training: TrainingConfiguration, evaluation: EvaluationConfiguration, model_dir: Path, size: Plan
) -> list[str]:
    """Returns the lines of what needs no compiler."""
    model, data, train, optimizer = training.model, training.data, training.train, training.optimizer
    tasks = ", ".join(f"{name} x{rate:g}" for name, rate in get_mixture(data.mixture).rates.items())
    duration = f"{train.steps} steps" if train.steps else f"{train.epochs:g} epochs"
    missing = missing_requirements(data, training.run)
    return [
        f"model             {model.num_layers} layers, width {model.hidden_size}, {model.num_heads} heads "
        f"({model.num_kv_heads} of keys and values), feed-forward {model.intermediate_size}, "
        f"vocabulary {model.vocab_size}; {model.dtype} over {model.param_dtype} parameters",
        f"weights           {training.run.weights or 'fresh'}",
        *_adapter_lines(model),
        *size.lines(),
        f"data              {data.mixture}: {tasks}",
        f"rows              {train.batch_size} of {data.max_length} tokens, {train.accumulate} micro-batches a step",
        f"template          {data.template}{data.template_options().fingerprint}, tokenizer {data.tokenizer_path()}",
        f"training          {duration}, seed {train.seed}",
        *_evaluation_lines(training, evaluation),
        f"optimizer         {optimizer.name}, learning rate {optimizer.learning_rate:g} ({optimizer.schedule}), "
        f"warm-up {optimizer.warmup_steps or optimizer.warmup_ratio:g}, weight decay {optimizer.weight_decay:g}, "
        + ", ".join(f"{name} {value}" for name, value in optimizer.settings.items() if value is not None)
        + f", clip {optimizer.clip_norm:g}",
        f"model_dir         {model_dir}",
        *sweep_lines(evaluation),
        *(["missing:", *(f"  {line}" for line in missing)] if missing else ["nothing is missing"]),
    ]


def _size(training: TrainingConfiguration) -> Plan:
    return plan(
        training.model,
        training.optimizer,
        training.mesh,
        batch_size=training.train.batch_size,
        length=training.data.max_length,
        accumulate=training.train.accumulate,
    )


def _compiled_lines(console: Console, training: TrainingConfiguration, size: Plan) -> list[str]:
    """The step compiled for the devices here, where the mesh is theirs; nothing is put onto them."""
    here, device, devices = jax.device_count(), jax.devices()[0], math.prod(size.mesh.values())
    kind, elsewhere = device.device_kind, "for TPUs scripts/compile_topology.py tells without any"
    if devices != here:
        are = "are" if here > 1 else "is"
        found = f"the mesh takes {devices} devices, and here {are} {here} ({kind})"
        return [f"compiled step     not known here: {found}; {elsewhere}"]
    if device.platform == "cpu" and size.flops_per_step > TOO_MUCH_FOR_CPU:
        return [f"compiled step     not known here: it is too large to run on a {kind}; {elsewhere}"]
    try:
        mesh = make_mesh(training.mesh)
    except AgentBankError as error:  # as many devices, in other slices
        return [f"compiled step     not known here: {error}"]
    with console.status(f"compiling the step for {here} x {kind}"):
        model = forward.with_chosen_attention(training.model)
        step = compile_on(mesh, replace(training, model=model))
    return [f"compiled step     for {here} x {kind}, as the compiler counts it", *step.lines()]


def _evaluation_lines(training: TrainingConfiguration, evaluation: EvaluationConfiguration) -> list[str]:
    """What is measured while the model is trained."""
    held_out, lines = training.eval, []
    if held_out.share:
        lines.append(f"held out          {held_out.share:.2%} of each task without validation files")
    if held_out.every:
        lines.append(f"measured          loss and accuracy on what is held out, every {held_out.every} steps")
    if evaluation.while_training:
        names = ", ".join(sweep.name for sweep in evaluation.while_training)
        lines.append(f"played            {names}, every {held_out.sweep_every} steps")
    return lines


def _adapter_lines(model: LlamaConfig) -> list[str]:
    lora = model.lora
    if not lora:
        return []
    return [
        f"adapters          {adapter_parameters(model):,} parameters, {lora.param_dtype}: rank {lora.rank}, scale "
        f"{lora.scale:g}, dropout {lora.dropout:g}, on {', '.join(lora.names)}"
    ]
