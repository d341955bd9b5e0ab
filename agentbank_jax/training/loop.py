"""The training loop."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from agentbank_jax.errors import AgentBankError
from agentbank_jax.folder_lock import locked
from agentbank_jax.models import forward
from agentbank_jax.models.attention import BACKENDS
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.models.lora import fingerprint
from agentbank_jax.models.partitioning import set_rules
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import batch_sharding, check_divisible, put_batch, state_shardings, with_shardings
from agentbank_jax.training.checkpoints import Checkpoints
from agentbank_jax.training.compilation_cache import enable_compilation_cache
from agentbank_jax.training.flops import FORMULA, flops_per_token, peak_flops
from agentbank_jax.training.loss import gathers, trained_capacity
from agentbank_jax.training.meter import Meter
from agentbank_jax.training.metrics import MetricsWriter
from agentbank_jax.training.optimizer import OptimizerConfig, learning_rate_schedule, make_optimizer
from agentbank_jax.training.programs import Programs
from agentbank_jax.training.progress import TrainingProgress, duration
from agentbank_jax.training.state import TrainState, abstract_state, make_init
from agentbank_jax.training.step import jit_train_step, make_train_step
from agentbank_jax.training.train_config import TrainConfig
from agentbank_jax.trajectories.tokenizers.files import copied_files
from agentbank_jax.whole_files import whole_file

OPERATIVE_CONFIG = "operative_config.gin"
BATCH_KEYS = ("tokens", "targets", "loss_weights", "positions", "segment_ids")

logger = logging.getLogger(__name__)


class Batches(Protocol):
    """What the loop reads: the batch of a step is a pure function of the step's number."""

    batch_size: int
    length: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the data."""

    @property
    def fingerprint(self) -> str:
        """Differs where any batch differs."""

    def iterator(self, start_step: int) -> Iterator[Mapping[str, np.ndarray]]:
        """This process's rows of the batches from a step on, without end.

        Each is an array [batch_size / processes, length] per key of `BATCH_KEYS`.
        """


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
    progress: TrainingProgress | None = None,
) -> TrainResult:
    """Trains a model or its adapters, or goes on where a run in the same folder stopped.

    A run that was killed and started again with the same arguments ends with the same parameters,
    bit for bit, as one that was not.

    Args:
      model_config, train_config, optimizer_config, mesh_config: the settings; `batches.batch_size` must be
        `train_config.batch_size`.
      batches: the data (see `Batches`).
      model_dir: gets `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `manifest.json`, the tokenizer.
      facts: what must be the same when the run goes on or the model is used, as JSON values: `template`,
        `tokenizer_sha256`, `stop_ids`, … The fingerprint of the data and the model's shape are added.
      manifest: what the model was trained on (tasks and trajectory ids), written to `manifest.json`.
      operative_config: the resolved gin configuration, written to `operative_config.gin`.
      tokenizer_path: the tokenizer to copy beside the checkpoints, a file or a folder with one.
      initial_params: gives the parameters to start from instead of fresh ones; not called by a run that goes on, unless
        it trains adapters, which belong to these parameters.
      base: where they lie, the folder of a Hugging Face checkpoint or of a run's step; a run that trains adapters needs
        it, because its checkpoints hold the adapters alone.
      progress: where to tell how it goes; a bar or lines on standard error by default.

    Raises:
      AgentBankError: settings that do not fit each other, the devices or the run in `model_dir`, or a
        folder that cannot be written.
    """
    # ---- settings ---------------------------------------------------------------------------------------------
    mesh, rules = make_mesh(mesh_config), mesh_config.rules
    check_divisible(
        model_config, dict(mesh.shape), train_config.batch_size, batches.length, train_config.accumulate, rules
    )
    if batches.batch_size != train_config.batch_size:
        raise AgentBankError(
            f"The data comes in batches of {batches.batch_size} rows, but TrainConfig.batch_size is "
            f"{train_config.batch_size}: make them equal."
        )
    if batches.length > model_config.max_position_embeddings:
        raise AgentBankError(
            f"Rows of {batches.length} tokens are longer than the model's max_position_embeddings="
            f"{model_config.max_position_embeddings}: shorten the rows or raise it."
        )
    if model_config.lora and (initial_params is None or base is None):
        raise AgentBankError(
            "LoraConfig is set, but no weights that its adapters could belong to: name them with RunConfig.weights or "
            "--checkpoint."
        )
    total_steps = train_config.total_steps(batches.steps_per_epoch)
    folder = Path(model_dir)
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
        frozen = _placed(initial_params(), model_config.param_dtype, frozen_shardings)
        facts["base_fingerprint"] = fingerprint(frozen)
        initial_params = None
    rows = batch_sharding(mesh, rules)
    gather = gathers(train_config.loss, mesh.size)
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
    bounds_segments = BACKENDS[run_config.attention].bounds_segments

    with (
        locked(folder, "train.py", "--model_dir"),
        Checkpoints(
            folder,
            keep=train_config.keep_checkpoints,
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
        restored = checkpoints.restore(with_shardings(abstract, shardings), train_config.allow_change)
        if restored:
            state, start_step = restored.state, int(restored.data["step"])
            if start_step > total_steps:
                raise AgentBankError(
                    f"The run in {folder} has done {start_step} steps, and {total_steps} are configured: expected at "
                    "least as many (TrainConfig.steps or epochs), or another --model_dir."
                )
        else:
            state, start_step = _fresh_state(model_config, train_config, optimizer, shardings, initial_params), 0

        # Only now: a run that may not go on leaves the folder as it was.
        _write_files(folder, manifest, operative_config, tokenizer_path)

        # ---- steps --------------------------------------------------------------------------------------------
        record: dict[str, float] = {}
        tokens_seen, seconds = 0, 0.0
        if start_step < total_steps:
            # Measured on one device, so not where the mesh of all is set.
            peak, source = (train_config.peak_flops, "as configured") if train_config.peak_flops else peak_flops()
        progress = progress or TrainingProgress(total_steps, start_step)
        with MetricsWriter(folder, start_step=start_step) as writer, progress, jax.set_mesh(mesh), set_rules(rules):
            progress.say(
                f"{_describe(model_config)}, {total_steps} steps of "
                f"{train_config.batch_size} x {batches.length} tokens, {batches.steps_per_epoch} steps an epoch"
                + (f"; goes on after step {start_step}" if restored else "")
            )
            if start_step < total_steps:
                progress.say(f"{FORMULA}; peak {peak / 1e9:,.0f} GFLOP/s a device ({source})")
                shape = (batches.batch_size, batches.length)
                meter = Meter(flops_per_token(model_config, batches.length), peak * mesh.size, total_steps, shape)
                data = batches.iterator(start_step)
                pending: tuple[int, dict[str, jax.Array]] | None = None
                for step in range(start_step + 1, total_steps + 1):
                    host_batch = {key: np.asarray(value) for key, value in next(data).items()}
                    capacity = _capacity(host_batch["loss_weights"], train_config.accumulate) if gather else None
                    max_segments = int(host_batch["segment_ids"].max()) if bounds_segments else 0
                    batch = put_batch(host_batch, rows, shape)
                    program, compiling = programs.get(capacity, max_segments, state, batch, frozen)
                    meter.exclude(compiling)
                    # A transfer that is not written out, such as of a Python number, would be paid at every step.
                    with jax.transfer_guard("disallow"):
                        state, metrics = program(state, batch, frozen)
                    # The metrics of the step before are read while this one runs.
                    if pending:
                        record = _tell(pending, meter, writer, progress, train_config.log_every, total_steps) or record
                    pending = step, metrics
                    due = train_config.checkpoint_every and step % train_config.checkpoint_every == 0
                    if due or step == total_steps:
                        # What a run that goes on from here must find is written first.
                        record = _tell(pending, meter, writer, progress, train_config.log_every, total_steps) or record
                        pending = None
                        checkpoints.save(state, step, batches.fingerprint)
                if pending:
                    record = _tell(pending, meter, writer, progress, train_config.log_every, total_steps) or record
                seconds, tokens_seen = meter.all_seconds, meter.all_tokens
                progress.say(
                    f"trained {total_steps - start_step} steps, {tokens_seen:,} tokens in {duration(seconds)} "
                    f"({tokens_seen / seconds:,.0f} tokens/s), after {programs.seconds:.1f} s of compilation"
                )
    return TrainResult(
        step=total_steps,
        params=state.params,
        checkpoint=checkpoints.directory / str(total_steps),
        metrics=record,
        tokens=tokens_seen,
        seconds=seconds,
    )


def _capacity(loss_weights: np.ndarray, accumulate: int) -> int:
    return max(trained_capacity(loss_weights[part::accumulate]) for part in range(accumulate))


def _tell(
    pending: tuple[int, dict[str, jax.Array]],
    meter: Meter,
    writer: MetricsWriter,
    progress: TrainingProgress,
    log_every: int,
    total_steps: int,
) -> dict[str, float] | None:
    """Reads a finished step's metrics; at the end of an interval writes and returns its record."""
    step, metrics = pending[0], jax.device_get(pending[1])
    meter.add(metrics)
    progress.advance(step)
    if step % log_every and step != total_steps:
        return None
    values = meter.record(step, metrics)
    writer.write(step, values)
    progress.report(step, values)
    return values


def _fresh_state(model_config, train_config, optimizer, shardings, initial_params) -> TrainState:
    if initial_params is None:
        init = jax.jit(make_init(model_config, optimizer), out_shardings=shardings)
        return init(jnp.int32(train_config.seed))
    params = _placed(initial_params(), model_config.param_dtype, shardings.params)
    opt_state = jax.jit(optimizer.init, out_shardings=shardings.opt_state)(params)
    return TrainState(jax.device_put(jnp.int32(0), shardings.step), params, opt_state)


def _placed(params: forward.Params, dtype: str, shardings: Any) -> forward.Params:
    return jax.tree.map(lambda leaf, sharding: jax.device_put(jnp.asarray(leaf, dtype), sharding), params, shardings)


def _describe(config: LlamaConfig) -> str:
    parameters = forward.count_parameters(config.base)
    if not config.lora:
        return f"{parameters:,} parameters"
    return f"{forward.count_parameters(config) - parameters:,} parameters of adapters to {parameters:,}"


def _write_files(
    folder: Path,
    manifest: Mapping[str, Any] | None,
    operative_config: str | None,
    tokenizer_path: str | os.PathLike | None,
) -> None:
    """Writes what lies beside the checkpoints of a run."""
    try:
        if manifest is not None:
            with whole_file(folder / "manifest.json") as path:
                path.write_text(json.dumps(manifest), encoding="utf-8")
        if operative_config is not None:
            with whole_file(folder / OPERATIVE_CONFIG) as path:
                path.write_text(operative_config, encoding="utf-8")
        if tokenizer_path is not None:
            for name, file in copied_files(tokenizer_path).items():
                with whole_file(folder / name) as path:
                    shutil.copyfile(file, path)
    except OSError as error:
        raise AgentBankError(
            f"Cannot write to {folder} ({error.strerror}): make room, or choose a folder that you may write with "
            "--model_dir."
        ) from error
