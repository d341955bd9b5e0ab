"""A sweep on the disk: `sweep.json` says what it is, and beside it each column has a folder of JSON-lines files.

<folder>/<sweep>/sweep.json
<folder>/<sweep>/<model>/<agent>/<task>.jsonl
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.results import ResultFile
from agentbank_jax.evaluation.sweep_result import Column, SweepResult, TaskFacts, TaskResult
from agentbank_jax.whole_files import unwritten, whole_file

SWEEP_FILE = "sweep.json"
VERSION = 1


def result_path(folder: Path, sweep: str, column: Column, task: str) -> Path:
    """Where a column's episodes in a task are."""
    return folder / sweep / column.model / column.agent / f"{task}.jsonl"


def write_sweep(result: SweepResult, folder: Path) -> None:
    """Writes what a sweep is, whole or not at all; its episodes are in files of their own.

    Raises:
      AgentBankError: the folder cannot be written.
    """
    path = folder / result.name / SWEEP_FILE
    content = {
        "version": VERSION,
        "name": result.name,
        "split": result.split,
        "answers": result.answers,
        "seeds": result.seeds,
        "first_index": result.first_index,
        "base": result.base,
        "columns": [dataclasses.asdict(column) for column in result.columns],
        "tasks": [
            {
                **dataclasses.asdict(task.facts),
                "not_run": task.not_run,
                "contaminated": sorted(task.contaminated),
            }
            for task in result.tasks
        ],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise unwritten(path, error.strerror) from error


def read_sweep(folder: Path, progress: Callable[[float, int], None] | None = None) -> SweepResult:
    """Reads a sweep and what is recorded of it; a sweep that was stopped has fewer episodes than it will have.

    Args:
      folder: of the sweep, with `sweep.json`.
      progress: told after each file the part that has been read, 0 to 1, and the episodes so far.

    Raises:
      AgentBankError: there is no sweep, or one of another version.
    """
    path = folder / SWEEP_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise AgentBankError(f"{path}: version {content['version']!r}; expected {VERSION}. Run the sweep again.")
        result = SweepResult(
            name=content["name"],
            split=content["split"],
            answers=content["answers"],
            seeds=tuple(content["seeds"]),
            first_index=content["first_index"],
            base=content["base"],
            columns=tuple(Column(**column) for column in content["columns"]),
            tasks=tuple(
                TaskResult(
                    not_run=task.pop("not_run"),
                    contaminated=frozenset(task.pop("contaminated")),
                    facts=TaskFacts(**task),
                )
                for task in content["tasks"]
            ),
        )
    except OSError as error:
        raise AgentBankError(f"{path}: cannot be read ({error.strerror}); expected the folder of a sweep.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentBankError(f"{path}: {type(error).__name__} {error}; expected what a sweep wrote.") from None
    episodes = 0
    files = [(task, column) for task in result.tasks for column in result.columns]
    for number, (task, column) in enumerate(files, start=1):
        if task.not_run is None:
            records = ResultFile(result_path(folder.parent, folder.name, column, task.facts.name)).read()
            # A file may also hold episodes of an earlier sweep of the same name, which played more.
            task.add(column, [records[place] for place in result.places(task) if place in records])
            episodes += len(task.records[column.name])
        if progress:
            progress(number / len(files), episodes)
    return result
