"""One call from a checkpoint to a table and a report.

  evaluate_checkpoint([held_in, held_out], "runs/samoyed_tiny", "runs/samoyed_tiny/evaluation")

The checkpoint's model, and the baselines that each sweep names, play the same episodes over the
same code path. Episodes that an earlier call recorded are kept.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from agentbank_jax.agents.model_policy import ModelPolicy
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import MANIFEST_FILE, TrainingManifest
from agentbank_jax.evaluation.report import Report, write_report
from agentbank_jax.evaluation.sweep import Contender, SweepConfig, SweepResult, baseline_contenders, run_sweep
from agentbank_jax.evaluation.tables import detail_table, success_table
from agentbank_jax.generation.engine import Engine
from agentbank_jax.models import forward
from agentbank_jax.models.llama import LlamaConfig
from agentbank_jax.progress import Progress
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.training.trained_models import load_for_inference
from agentbank_jax.trajectories.templates.registry import ChatTemplate, get_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `evaluate_checkpoint` made.

    Fields:
      results: one per sweep, in the order given.
      markdown, page: the report's files.
      seconds: wall time.
    """

    results: tuple[SweepResult, ...]
    markdown: Path
    page: Path
    seconds: float


def evaluate_checkpoint(
    sweep_configs: Sequence[SweepConfig],
    checkpoint: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    model_name: str | None = None,
    untrained_seed: int = 0,
    console: "Console | None" = None,
) -> Evaluation:
    """Runs sweeps with a checkpoint and their baselines, prints the tables, writes the report.

    Args:
      sweep_configs: at least one; their names differ.
      checkpoint: a run's folder (its last checkpoint), or the folder of one step.
      output_dir: gets `<sweep>/<model>/<task>.jsonl`, `report.md` and `report.html`.
      model_name: column of the table; the name of the run's folder if None.
      untrained_seed: of the fresh weights of the baseline `untrained`.
      console: where to print; standard output if None.

    Raises:
      AgentBankError: an unknown task, a checkpoint that cannot be read, or whose tokenizer or manifest is
        missing or another; a folder that cannot be written. Nothing is written then.
    """
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:  # a file's lines may be longer than a terminal's: tables need not be folded
        console.width = max(console.width, 120)
    started = time.perf_counter()
    check_sweeps(sweep_configs)
    output = Path(output_dir)
    model = _LoadedModel.load(checkpoint, model_name=model_name, untrained_seed=untrained_seed)
    manifest = TrainingManifest.load(model.model_dir / MANIFEST_FILE)
    _make_folder(output)
    results = []
    with Progress("episodes", console) as progress:

        def show(sweep: str, policy: str, done: int, total: int) -> None:
            progress(done / total, done, f"{sweep}: {policy}")

        for config in sweep_configs:
            contenders = (*model.contenders(config), *baseline_contenders(config))
            results.append(run_sweep(config, contenders, output, manifest=manifest, progress=show))
    seconds = time.perf_counter() - started
    for result in results:
        console.print(success_table(result).to_rich())
        console.print(detail_table(result).to_rich())
    report = Report(
        title=f"{model.name}: how it acts",
        facts=model.report_facts(sweep_configs, manifest, seconds),
        model=model.name,
        results=tuple(results),
        losses=tuple(
            (record["step"], record["loss"])
            for record in read_metrics(model.model_dir)
            if math.isfinite(record.get("loss", math.nan))
        ),
    )
    markdown, page = write_report(report, output)
    console.print(f"report: {page} and {markdown.name}; evaluated in {seconds:.0f} s", highlight=False, soft_wrap=True)
    return Evaluation(results=tuple(results), markdown=markdown, page=page, seconds=seconds)


def check_sweeps(sweep_configs: Sequence[SweepConfig]) -> None:
    """Finds what is wrong with sweeps before anything long begins.

    Raises:
      AgentBankError: none, two of one name, or an unknown task.
    """
    if not sweep_configs:
        raise AgentBankError("No sweep is configured; expected at least one, as in gin/eval/held_in.gin.")
    names = [config.name for config in sweep_configs]
    if len(set(names)) < len(names):
        raise AgentBankError(f"Sweeps {', '.join(names)}: two have one name; expected a name of its own for each.")
    for config in sweep_configs:
        config.specs()


@dataclass(kw_only=True)
class _LoadedModel:
    """A checkpoint with all that acting needs."""

    name: str
    model_dir: Path
    step: int
    config: LlamaConfig
    params: forward.Params
    template: ChatTemplate
    untrained_seed: int

    @classmethod
    def load(cls, checkpoint: str | os.PathLike[str], *, model_name: str | None, untrained_seed: int) -> "_LoadedModel":
        config, params, metadata = load_for_inference(checkpoint)
        model_dir = Path(metadata["model_dir"])
        tokenizer = Tokenizer.load(model_dir)
        facts: Mapping[str, Any] = metadata.get("facts", {})
        saved = facts.get("tokenizer_sha256", tokenizer.fingerprint)
        if saved != tokenizer.fingerprint:
            raise AgentBankError(
                f"{tokenizer.name}: hash {tokenizer.fingerprint[:12]}…; expected {str(saved)[:12]}…, "
                "with which the checkpoint was trained. Put that tokenizer back."
            )
        trained_with = str(facts.get("template", "llama2/1"))
        template = get_template(trained_with.split("/")[0], tokenizer)
        # What stands behind a space only says what was trained.
        if trained_with.split(" ")[0] != template.fingerprint:
            raise AgentBankError(
                f"{tokenizer.name}: its chat template is '{template.fingerprint}' now; expected "
                f"'{trained_with.split(' ')[0]}', with which the checkpoint was trained. Put that tokenizer's files "
                "back, or use the version of this project that it was trained with."
            )
        name = model_name or model_dir.name
        if name in ("untrained", "random", "oracle"):
            raise AgentBankError(f"A model cannot be called '{name}', as a baseline is; rename its folder {model_dir}.")
        return cls(
            name=name,
            model_dir=model_dir,
            step=int(metadata["step"]),
            config=config,
            # One committed device for weights of every origin, so that all share their compiled programs.
            params=jax.device_put(params, jax.devices()[0]),
            template=template,
            untrained_seed=untrained_seed,
        )

    def contenders(self, sweep: SweepConfig) -> tuple[Contender, ...]:
        """The model, and its untrained twin where the sweep asks for it."""
        template = [self.template.fingerprint, self.template.tokenizer.fingerprint]
        limits = [sweep.max_new_tokens, sweep.max_length or self.config.max_position_embeddings]

        def contender(name: str, weights: str, params: Callable[[], forward.Params]) -> Contender:
            return Contender(
                name=name,
                identity=_hash([self.config.shape_facts, weights, template, limits]),
                make=lambda: self._policy(name, params(), sweep),
            )

        chosen = [contender(self.name, _digest(self.params), lambda: self.params)]
        if "untrained" in sweep.baselines:
            weights = f"seed {self.untrained_seed}, initializer_range {self.config.initializer_range}"
            chosen.append(contender("untrained", weights, self._fresh))
        return tuple(chosen)

    def _fresh(self) -> forward.Params:
        return jax.device_put(forward.init(self.config, self.untrained_seed), jax.devices()[0])

    def _policy(self, name: str, params: forward.Params, sweep: SweepConfig) -> ModelPolicy:
        engine = Engine(
            self.config, params, stop_ids=self.template.stop_ids, slots=sweep.slots, max_length=sweep.max_length
        )
        return ModelPolicy(
            engine,
            self.template,
            max_new_tokens=sweep.max_new_tokens,
            vocab_size=self.template.tokenizer.vocab_size,
            name=name,
        )

    def report_facts(self, sweeps: Sequence[SweepConfig], manifest: TrainingManifest, seconds: float) -> dict[str, str]:
        config = self.config
        trained = ", ".join(f"{task} ({len(ids):,})" for task, ids in manifest.ids.items())
        return {
            "checkpoint": f"{self.name}, step {self.step:,}",
            "model": f"{forward.count_parameters(config):,} parameters: {config.num_layers} layers, "
            f"width {config.hidden_size}, {config.num_heads} heads, vocabulary {config.vocab_size:,}",
            "trained on": trained or "nothing that is listed",
            "agent": "ReAct, greedy decoding",
            "limits": "; ".join(
                f"{sweep.name}: {sweep.max_new_tokens} tokens a reply, "
                f"{sweep.max_length or config.max_position_embeddings} a conversation, "
                f"{sweep.max_unparseable} unparseable replies in a row"
                for sweep in sweeps
            ),
            "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()}), jax {jax.__version__}",
            "evaluated in": f"{seconds:.0f} s",
        }


def _digest(params: forward.Params) -> str:
    """SHA-256 of all weights, array by array."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _hash(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise AgentBankError(
            f"{path}: cannot write results ({error.strerror}); expected a folder that can be written, "
            "choose another with --model_dir."
        ) from error
