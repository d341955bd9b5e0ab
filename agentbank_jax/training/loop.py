"""The training loop."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from agentbank_jax.errors import AgentBankError
from agentbank_jax.folder_lock import locked
from agentbank_jax.models import forward
from agentbank_jax.models.attention import BACKENDS
from agentbank_jax.models.attention.cudnn import DEFAULT_SEGMENTS
from agentbank_jax.models.fingerprint import fingerprint
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, state_shardings, with_shardings
from agentbank_jax.training.agreement import Agreement
from agentbank_jax.training.bad_steps import BadSteps
from agentbank_jax.training.batches import Batches
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.compilation_cache import enable_compilation_cache
from agentbank_jax.training.evaluator import Evaluator, check_best_metric
from agentbank_jax.training.flops import FORMULA, flops_per_token, peak_flops
from agentbank_jax.training.goodput import Goodput
from agentbank_jax.training.loss import gathers
from agentbank_jax.training.meter import Meter
from agentbank_jax.training.metrics import open_metrics
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.preemption import Preemption
from agentbank_jax.training.profiler import Profiler
from agentbank_jax.training.programs import Programs
from agentbank_jax.training.progress import TrainingProgress, duration
from agentbank_jax.training.run_files import changed_settings, write_run_files
from agentbank_jax.training.run_record import RunRecord
from agentbank_jax.training.settings import check_settings
from agentbank_jax.training.state import TrainState, abstract_state, fresh_state, placed
from agentbank_jax.training.step import jit_train_step, make_train_step
from agentbank_jax.training.steps import Position, SpikeError, Steps
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.training.wandb_run import check_wandb


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with.

    Fields:
      step: optimizer steps done, over all starts.
      params: the final parameters, or adapters, on the devices.
      checkpoint: folder of the final checkpoint.
      metrics: the last record of metrics; empty if there was nothing left to do.
      tokens: tokens trained on in this start, without padding.
      seconds: duration of this start's steps, compilation and start-up excluded.
    """

    step: int
    params: forward.Params
    checkpoint: Path
    metrics: dict[str, float]
    tokens: int
    seconds: float


def train(
    model_config: LlamaConfig,
    train_config: TrainConfig,
    optimizer_config: OptimizerConfig,
    mesh_config: MeshConfig,
    batches: Batches,
    model_dir: str | os.PathLike,
    *,
    facts: Mapping[str, Any],
    manifest: Mapping[str, Any] | None = None,
    operative_config: str | None = None,
    tokenizer_path: str | os.PathLike | None = None,
    initial_params: Callable[[], forward.Params] | None = None,
    base: str | os.PathLike | None = None,
    evaluators: Sequence[Evaluator] = (),
    progress: TrainingProgress | None = None,
    began: float | None = None,
) -> TrainResult:
    """Trains a model or its adapters, or goes on where a run in the same folder stopped.

    A run that was killed and started again with the same arguments ends with the same parameters,
    bit for bit, as one that was not.

    Args:
      model_config, train_config, optimizer_config, mesh_config: the settings; `batches.batch_size` must be
        `train_config.batch_size`.
      batches: the data (see `Batches`).
      model_dir: gets `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `run.json`, `manifest.json`, the tokenizer.
      facts: what must be the same when the run goes on or the model is used, as JSON values: `template`,
        `tokenizer_sha256`, `stop_ids`, … The fingerprint of the data and the model's shape are added.
      manifest: what the model was trained on (tasks and trajectory ids), written to `manifest.json`.
      operative_config: the resolved gin configuration, written to `operative_config.gin`.
      tokenizer_path: the tokenizer to copy beside the checkpoints, a file or a folder with one.
      initial_params: gives the parameters to start from instead of fresh ones; not called by a run that goes on, unless
        it trains adapters, which belong to these parameters.
      base: where they lie, the folder of a Hugging Face checkpoint or of a run's step; a run that trains adapters needs
        it, because its checkpoints hold the adapters alone.
      evaluators: what measures the model every so many steps, and at the end.
      progress: where to tell how it goes; a bar or lines on standard error by default.
      began: when the program did, by `time.perf_counter`; from then on goodput is counted, by default from now on.

    Raises:
      Stopped: SIGTERM or SIGINT asked for it; the run has saved.
      AgentBankError: settings that do not fit each other, the devices or the run in `model_dir`, or a
        folder that cannot be written.
    """
    # ---- settings ---------------------------------------------------------------------------------------------
    goodput = Goodput(began)
    mesh, rules = make_mesh(mesh_config), mesh_config.rules
    check_settings(
        model_config, train_config, mesh, rules, batches, adapts=initial_params is not None and base is not None
    )
    check_best_metric(train_config.best_metric, evaluators)
    check_wandb(train_config.wandb_project)
    settings: tuple[Any, ...] = model_config, train_config, optimizer_config, mesh_config
    total_steps = train_config.total_steps(batches.steps_per_epoch)
    folder, first_process = Path(model_dir), jax.process_index() == 0
    if train_config.compilation_cache != "":
        enable_compilation_cache(train_config.compilation_cache)

    # ---- model, optimizer, step -------------------------------------------------------------------------------
    # What a checkpoint holds stays as configured: it may be read on other devices.
    run_config = forward.with_chosen_attention(model_config)
    optimizer = make_optimizer(optimizer_config, total_steps)
    schedule = learning_rate_schedule(optimizer_config, total_steps)
    abstract = abstract_state(model_config, optimizer)
    shardings = state_shardings(mesh, abstract, rules)
    frozen, frozen_shardings = None, None
    facts = {**facts, "data_fingerprint": batches.fingerprint}
    if model_config.lora and initial_params:
        frozen_shardings = state_shardings(mesh, forward.abstract_params(model_config.base), rules)
        frozen = placed(initial_params(), model_config.param_dtype, frozen_shardings)
        facts["base_fingerprint"] = fingerprint(frozen)
        initial_params = None
    rows = batch_sharding(mesh, rules)
    programs = Programs(
        lambda capacity, max_segments: jit_train_step(
            make_train_step(
                replace(run_config, max_segments=max_segments),
                optimizer,
                schedule,
                capacity=capacity,
                accumulate=train_config.accumulate,
                seed=train_config.seed,
            ),
            shardings,
            rows,
            frozen_shardings,
        )
    )
    bound_segments: int | None = 0
    if BACKENDS[run_config.attention].bounds_segments:
        # Processes that see different rows must compile alike.
        bound_segments = None if jax.process_count() == 1 else model_config.max_segments or DEFAULT_SEGMENTS

    with (
        locked(folder, "train.py", "--model_dir") if first_process else contextlib.nullcontext(),
        # Until the last checkpoint is whole.
        Preemption() as preemption,
        Checkpoints(
            folder,
            keep=train_config.keep_checkpoints,
            keep_every=train_config.keep_every,
            best_metric=train_config.best_metric,
            best_mode=train_config.best_mode,
            total_steps=total_steps,
            config=model_config,
            facts=facts,
            base=os.path.abspath(base) if model_config.lora and base else None,
        ) as checkpoints,
    ):
        # ---- start, or go on ----------------------------------------------------------------------------------
        if checkpoints.steps and not train_config.resume:
            raise AgentBankError(
                f"{folder} already holds a run, at step {checkpoints.steps[-1]}: choose another --model_dir, "
                "delete it, or let it go on with TrainConfig.resume=True."
            )

        changed = changed_settings(folder, operative_config)

        def start() -> tuple[TrainState, Position, BadSteps]:
            """The state and the position of the latest checkpoint, or fresh ones."""
            restored = checkpoints.restore(with_shardings(abstract, shardings), train_config.allow_change, changed)
            if not restored:
                state = fresh_state(model_config, optimizer, shardings, train_config.seed, initial_params)
                return state, Position(), BadSteps(train_config, folder)
            names = ("step", "passed_over", "rollbacks", "evaluated")
            position = Position(**{name: restored.data[name] for name in names if name in restored.data})
            return restored.state, position, BadSteps(train_config, folder, restored.data.get("bad_steps"))

        state, position, bad_steps = start()
        started_at = position.step
        if started_at > total_steps:
            raise AgentBankError(
                f"The run in {folder} has done {started_at} steps, and {total_steps} are configured: expected at "
                "least as many (TrainConfig.steps or epochs), or another --model_dir."
            )
        # Only now: a run that may not go on leaves the folder as it was.
        if first_process:
            write_run_files(folder, manifest, operative_config, tokenizer_path)

        # ---- steps --------------------------------------------------------------------------------------------
        peak, source = train_config.peak_flops, "as configured"
        if started_at < total_steps and not peak:
            # Measured on one device, so not where the mesh of all is set.
            peak, source = peak_flops()
        if not first_process:
            progress = TrainingProgress(total_steps, started_at, Console(quiet=True))
        progress = progress or TrainingProgress(total_steps, started_at)
        shape = batches.batch_size, batches.length
        meter = Meter(flops_per_token(model_config, batches.length), peak * mesh.size, total_steps, shape)
        agreement = Agreement(mesh, wishes=2)
        record: dict[str, float] = {}
        run_record = None
        if first_process and (started_at < total_steps or not position.evaluated):
            run_record = RunRecord(folder, started_at)
            meter.go_on(run_record.earlier.tokens)
        with (
            progress,
            run_record.start(goodput, {**facts, "mesh": dict(mesh.shape)}, operative_config)
            if run_record
            else contextlib.nullcontext(),
            Profiler(
                train_config if first_process else replace(train_config, profile_start=0),
                folder,
                meter=meter,
                goodput=goodput,
                say=progress.say,
            ) as profiler,
        ):
            progress.say(
                f"{_describe(model_config)}, {total_steps} steps of "
                f"{train_config.batch_size} x {batches.length} tokens, {batches.steps_per_epoch} steps an epoch"
                + (f"; goes on after step {started_at}" if started_at else "")
            )
            for line in changed if started_at else ():
                progress.say(f"changed since the run was last started: {line}")
            for line in run_record.lines() if run_record else ():
                progress.say(line)
            if started_at < total_steps:
                progress.say(f"{FORMULA}; peak {peak / 1e9:,.0f} GFLOP/s a device ({source})")
            while position.step < total_steps or not position.evaluated:
                spike: int | None = None
                with (
                    open_metrics(
                        folder,
                        silent=not first_process,
                        start_step=position.step,
                        wandb_project=train_config.wandb_project,
                        settings={type(each).__name__: asdict(each) for each in settings},
                    ) as writer,
                    jax.set_mesh(mesh),
                    set_rules(rules),
                ):
                    steps = Steps(
                        batches=batches,
                        programs=programs,
                        frozen=frozen,
                        rows=rows,
                        gather=gathers(train_config.loss, mesh.size),
                        bound_segments=bound_segments,
                        config=train_config,
                        total_steps=total_steps,
                        checkpoints=checkpoints,
                        evaluators=evaluators,
                        bad_steps=bad_steps,
                        agreement=agreement,
                        preemption=preemption,
                        meter=meter,
                        writer=writer,
                        progress=progress,
                        goodput=goodput,
                        profiler=profiler,
                    )
                    try:
                        state, position = steps.run(state, position)
                        record = steps.record
                    except SpikeError as error:
                        spike = error.step
                # Here, where neither the mesh is set nor the lost state held any more.
                if spike is not None:
                    if position.rollbacks == train_config.max_rollbacks:
                        raise AgentBankError(
                            f"The loss of step {spike} spiked, after {position.rollbacks} rollbacks "
                            f"(TrainConfig.max_rollbacks): lower OptimizerConfig.learning_rate, or raise "
                            f"TrainConfig.spike_factor={train_config.spike_factor}."
                        )
                    checkpoints.wait()
                    state, back, bad_steps = start()
                    passed_over = spike + position.passed_over - back.step
                    position = replace(back, passed_over=passed_over, rollbacks=position.rollbacks + 1)
                    progress.say(
                        f"the loss of step {spike} spiked: back to step {back.step}, and on after the "
                        f"{spike - back.step} batches that led there"
                    )
            if started_at < total_steps:
                progress.say(
                    f"trained {total_steps - started_at} steps, {meter.all_tokens:,} tokens in "
                    f"{duration(meter.all_seconds)} ({meter.all_tokens / meter.all_seconds:,.0f} tokens/s), after "
                    f"{programs.seconds:.1f} s of compilation"
                )
    if preemption.signal:
        # Too late to stop a step, and not for what the caller does next.
        raise preemption.stopped(total_steps, checkpoints.directory)
    return TrainResult(
        step=total_steps,
        params=state.params,
        checkpoint=checkpoints.directory / str(total_steps),
        metrics=record,
        tokens=meter.all_tokens,
        seconds=meter.all_seconds,
    )


def _describe(config: LlamaConfig) -> str:
    parameters = forward.count_parameters(config.base)
    if not config.lora:
        return f"{parameters:,} parameters"
    return f"{forward.count_parameters(config) - parameters:,} parameters of adapters to {parameters:,}"
