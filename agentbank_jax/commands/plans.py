"""What `--dry_run` prints: the run, found out without weights, data or many devices."""

from pathlib import Path

from rich.console import Console

from agentbank_jax.commands.evaluate import sweep_lines
from agentbank_jax.commands.requirements import missing_requirements
from agentbank_jax.configuration.configuration import EvaluationConfiguration, TrainingConfiguration
from agentbank_jax.data.declarations import get_mixture
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.training.flops import adapter_parameters
from agentbank_jax.training.plan import plan


def print_plan(
    console: Console, training: TrainingConfiguration, evaluation: EvaluationConfiguration, model_dir: Path
) -> None:
    """Prints model, mesh, memory, data, tokens per step, sweeps, and what is still missing."""
    for line in plan_lines(training, evaluation, model_dir):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def plan_lines(training: TrainingConfiguration, evaluation: EvaluationConfiguration, model_dir: Path) -> list[str]:
    """Returns the plan's lines."""
    model, data, train, optimizer = training.model, training.data, training.train, training.optimizer
    size = plan(
        model,
        optimizer,
        training.mesh,
        batch_size=train.batch_size,
        length=data.max_length,
        accumulate=train.accumulate,
    )
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
        f"optimizer         {optimizer.name}, learning rate {optimizer.learning_rate:g} ({optimizer.schedule}), "
        f"warm-up {optimizer.warmup_steps or optimizer.warmup_ratio:g}, weight decay {optimizer.weight_decay:g}, "
        f"beta {optimizer.beta1:g} {optimizer.beta2:g}, epsilon {optimizer.eps:g}, clip {optimizer.clip_norm:g}",
        f"model_dir         {model_dir}",
        *sweep_lines(evaluation),
        *(["missing:", *(f"  {line}" for line in missing)] if missing else ["nothing is missing"]),
    ]


def _adapter_lines(model: LlamaConfig) -> list[str]:
    lora = model.lora
    if not lora:
        return []
    return [
        f"adapters          {adapter_parameters(model):,} parameters, {lora.param_dtype}: rank {lora.rank}, scale "
        f"{lora.scale:g}, dropout {lora.dropout:g}, on {', '.join(lora.names)}"
    ]
