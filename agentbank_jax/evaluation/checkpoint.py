"""One call from a checkpoint to a table and a report.

  evaluate_checkpoint([held_in, held_out], "runs/samoyed_tiny", "runs/samoyed_tiny/evaluation")

The checkpoint's model, and the baselines that each sweep names, play the same episodes over the
same code path. Episodes that an earlier call recorded are kept.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.acting_model import ActingModel
from agentbank_jax.evaluation.contamination import MANIFEST_FILE, TrainingManifest
from agentbank_jax.evaluation.contender import baseline_contenders
from agentbank_jax.evaluation.cost_tables import detail_table
from agentbank_jax.evaluation.joining import Source
from agentbank_jax.evaluation.report import Report, write_report
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import success_table
from agentbank_jax.progress import Progress
from agentbank_jax.training.metrics import read_metrics

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
      output_dir: gets the sweeps' results (see `sweep_file`) and the report (see `report.write_report`).
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
    model = ActingModel.load(checkpoint, model_name=model_name, untrained_seed=untrained_seed)
    manifest = TrainingManifest.load(model.model_dir / MANIFEST_FILE)
    _make_folder(output)
    results = []
    with Progress("episodes", console) as progress:

        def show(sweep: str, policy: str, done: int, total: int) -> None:
            progress(done / max(total, 1), done, f"{sweep}: {policy}")

        for config in sweep_configs:
            contenders = (*model.contenders(config, manifest), *baseline_contenders(config))
            results.append(run_sweep(config, contenders, output, progress=show))
    seconds = time.perf_counter() - started
    report = Report(
        title=f"{model.name}: how it acts",
        facts=model.report_facts(sweep_configs, manifest, seconds),
        sources=tuple(Source(run=model.name, result=result) for result in results),
        losses=tuple(
            (record["step"], record["loss"])
            for record in read_metrics(model.model_dir)
            if math.isfinite(record.get("loss", math.nan))
        ),
    )
    for sheet, _ in report.sheets:
        console.print(success_table(sheet).to_rich())
        console.print(detail_table(sheet).to_rich())
    files = write_report(report, output)
    others = ", ".join(path.name for path in files if path != files.page)
    console.print(f"report: {files.page} and {others}; evaluated in {seconds:.0f} s", highlight=False, soft_wrap=True)
    return Evaluation(results=tuple(results), markdown=files.markdown, page=files.page, seconds=seconds)


def check_sweeps(sweep_configs: Sequence[SweepConfig]) -> None:
    """Finds what is wrong with sweeps before anything long begins.

    Raises:
      AgentBankError: none, two of one name, or an unknown task.
    """
    if not sweep_configs:
        raise AgentBankError("No sweep is configured; expected at least one, as in gin/eval/starter_held_in.gin.")
    names = [config.name for config in sweep_configs]
    if len(set(names)) < len(names):
        raise AgentBankError(f"Sweeps {', '.join(names)}: two have one name; expected a name of its own for each.")
    for config in sweep_configs:
        config.specs()


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
