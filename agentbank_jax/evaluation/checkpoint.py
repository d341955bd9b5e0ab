"""One call from models to a table and a report.

  evaluate_checkpoint([held_in, held_out], "runs/samoyed_tiny", "runs/samoyed_tiny/evaluation")

The checkpoint's model, the other models and the baselines that each sweep names play the same
episodes over the same code path. Episodes that an earlier call recorded are kept.
"""

import contextlib
import gc
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.agents.recorded_policy import DEPARTURES
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contender import Contender, baseline_contenders
from agentbank_jax.evaluation.cost_tables import detail_table
from agentbank_jax.evaluation.joining import Source
from agentbank_jax.evaluation.participant import Participant, spent
from agentbank_jax.evaluation.participants import Entry, find_participants
from agentbank_jax.evaluation.report import Report, write_report
from agentbank_jax.evaluation.sweep import Progress as Show
from agentbank_jax.evaluation.sweep import run_sweep
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_result import SweepResult
from agentbank_jax.evaluation.tables import success_table
from agentbank_jax.folder_lock import locked
from agentbank_jax.progress import Progress
from agentbank_jax.training.metrics import read_metrics
from agentbank_jax.whole_files import unwritten

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
    checkpoint: str | os.PathLike[str] | None,
    output_dir: str | os.PathLike[str],
    *,
    model_name: str | None = None,
    untrained_seed: int = 0,
    console: "Console | None" = None,
) -> Evaluation:
    """Runs sweeps with a checkpoint, their models and their baselines, prints the tables, writes the report.

    Of several checkpoints one is in memory at a time, and plays all of its sweeps.

    Args:
      sweep_configs: at least one; their names differ.
      checkpoint: a run's folder (its last checkpoint), or the folder of one step; None where others play.
      output_dir: gets the sweeps' results (see `sweep_file`) and the report (see `report.write_report`).
      model_name: column of the table; the name of the run's folder if None.
      untrained_seed: of the fresh weights of the baseline `untrained`.
      console: where to print; standard output if None.

    Raises:
      AgentBankError: an unknown task, a checkpoint that cannot be read, or whose tokenizer or manifest is
        missing or another; a folder that cannot be written, or that another evaluation writes to; whatever
        `participants.find_participants` refuses; a server that refuses or does not answer (what was played is kept).
    """
    from rich.console import Console

    console = console or Console()
    if not console.is_terminal:  # a file's lines may be longer than a terminal's: tables need not be folded
        console.width = max(console.width, 200)
    started = time.perf_counter()
    check_sweeps(sweep_configs)
    entries = find_participants(sweep_configs, checkpoint, model_name=model_name, untrained_seed=untrained_seed)
    with contextlib.ExitStack() as held:
        matches = _Matches(sweep_configs, Path(output_dir), held)
        with Progress("episodes", console) as progress:

            def show(sweep: str, policy: str, done: int, total: int) -> None:
                progress(done / max(total, 1), done, f"{sweep}: {policy}")

            for entry in entries:
                matches.play(entry, show)
            matches.play_baselines(show)
        return _report(sweep_configs, entries, matches, Path(output_dir), time.perf_counter() - started, console)


def _report(
    sweep_configs: Sequence[SweepConfig],
    entries: Sequence[Entry],
    matches: "_Matches",
    output: Path,
    seconds: float,
    console: "Console",
) -> Evaluation:
    """Prints and writes what was found."""
    results = matches.results
    departures = _departures(results)
    names = [entry.name for entry in entries] or [column.name for column in results[0].columns]
    report = Report(
        title=f"{', '.join(names)}: how {'it acts' if len(names) == 1 else 'they act'}",
        facts={**matches.facts, **sweep_facts(sweep_configs, seconds), **departures},
        sources=tuple(Source(run=names[0], result=result) for result in results),
        losses=matches.losses,
    )
    for sheet, _ in report.sheets:
        console.print(success_table(sheet).to_rich())
        console.print(detail_table(sheet).to_rich())
    files = write_report(report, output)
    for line in departures.values():
        console.print(line, highlight=False, soft_wrap=True)
    others = ", ".join(path.name for path in files if path != files.page)
    console.print(f"report: {files.page} and {others}; evaluated in {seconds:.0f} s", highlight=False, soft_wrap=True)
    return Evaluation(results=results, markdown=files.markdown, page=files.page, seconds=seconds)


class _Matches:
    """Sweeps that are played by one model after the other.

    Fields:
      facts: what the report says of the models; of several, each is named.
      losses: (step, training loss) of the first that was trained here.
    """

    def __init__(self, configs: Sequence[SweepConfig], output: Path, held: contextlib.ExitStack) -> None:
        self.facts: dict[str, str] = {}
        self.losses: tuple[tuple[float, float], ...] = ()
        self._configs, self._output, self._held, self._taken = configs, output, held, False
        self._models: dict[str, list[Contender]] = {config.name: [] for config in configs}
        self._untrained: dict[str, list[Contender]] = {config.name: [] for config in configs}
        self._results: dict[str, SweepResult] = {}
        self._named: list[str] = []

    @property
    def results(self) -> tuple[SweepResult, ...]:
        return tuple(self._results[config.name] for config in self._configs)

    def play(self, entry: Entry, show: Show) -> None:
        """Loads a model and lets it play; its memory is free afterwards."""
        self._play(entry, entry.load(), show)
        # Engine and policy refer to one another.
        gc.collect()

    def _play(self, entry: Entry, participant: Participant, show: Show) -> None:
        self._take_folder()
        self._note(entry, participant.facts())
        if participant.run is not None and not self.losses:
            self.losses = tuple(
                (record["step"], record["loss"])
                for record in read_metrics(participant.run)
                if math.isfinite(record.get("loss", math.nan))
            )
        for config in self._configs:
            if config.name not in entry.sweeps:
                continue
            models, untrained = self._models[config.name], self._untrained[config.name]
            # The untrained twin is that of the first checkpoint.
            asked = replace(config, baselines=()) if untrained else config
            for contender in participant.contenders(asked):
                (untrained if contender.name == "untrained" else models).append(contender)
            self._run(config, (*models, *untrained), show)
            for contenders in (models, untrained):
                contenders[:] = map(spent, contenders)

    def play_baselines(self, show: Show) -> None:
        """Lets those play that need no model."""
        self._take_folder()
        for config in self._configs:
            models = (*self._models[config.name], *self._untrained[config.name])
            self._run(config, (*models, *baseline_contenders(config)), show)

    def _take_folder(self) -> None:
        """Keeps others from writing there. Not before something can play: an error would leave a folder."""
        if not self._taken:
            _make_folder(self._output)
            self._held.enter_context(locked(self._output, "evaluate.py", "--model_dir"))
            self._taken = True

    def _run(self, config: SweepConfig, contenders: Sequence[Contender], show: Show) -> None:
        earlier = self._results.get(config.name)
        self._results[config.name] = run_sweep(config, contenders, self._output, earlier=earlier, progress=show)

    def _note(self, entry: Entry, facts: dict[str, str]) -> None:
        if not self._named:
            self.facts = facts
        else:
            if len(self._named) == 1:
                self.facts = {f"{self._named[0]}: {name}": value for name, value in self.facts.items()}
            self.facts |= {f"{entry.name}: {name}": value for name, value in facts.items()}
        self._named.append(entry.name)


def sweep_facts(sweeps: Sequence[SweepConfig], seconds: float) -> dict[str, str]:
    """What a report says of how models acted."""
    return {
        "agent": "; ".join(dict.fromkeys(f"{', '.join(sweep.agents)}, {sweep.decoding()}" for sweep in sweeps)),
        "limits": "; ".join(
            f"{sweep.name}: {sweep.max_new_tokens} tokens a reply, "
            + (f"{sweep.max_length} a conversation, " if sweep.max_length else "")
            + f"{sweep.max_unparseable} unparseable replies in a row"
            for sweep in sweeps
        ),
        "evaluated in": f"{seconds:.0f} s",
    }


def _departures(results: Sequence[SweepResult]) -> dict[str, str]:
    """Says where environments told something else than in the recording that was played."""
    lines = []
    for result in results:
        for task in result.tasks:
            for column, records in task.records.items():
                departed = sum(bool(record.figures.get(DEPARTURES)) for record in records)
                if departed:
                    lines.append(
                        f"{column}, {task.facts.name}: in {departed} of {len(records)} episodes the environment said "
                        f"something else than in the recording"
                    )
    return {DEPARTURES: "; ".join(lines)} if lines else {}


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
        raise unwritten(path, error.strerror) from error
