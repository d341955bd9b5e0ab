"""What a run needs from the user before it can start, and how a user gets it."""

import os
from collections import defaultdict
from pathlib import Path

from agentbank_jax.configuration.run_config import DataConfig, RunConfig
from agentbank_jax.data.declarations import MissingFilesError, TaskDeclaration, get_mixture, get_task
from agentbank_jax.data.remote import has_path, has_training_files, remedy_for
from agentbank_jax.data.sources import task_files
from agentbank_jax.errors import AgentBankError
from agentbank_jax.places import is_remote


class MissingRequirementError(AgentBankError):
    """Data, tokenizer or weights that are not there; one line each, with the remedy."""


def missing_requirements(data: DataConfig, run: RunConfig) -> list[str]:
    """Returns a line for each thing that is missing; empty where training can start.

    Raises:
      AgentBankError: where the mixture does not exist.
    """
    return [*_missing_banks(data), *_missing_tokenizer(data), *_missing_weights(run)]


def check_requirements(data: DataConfig, run: RunConfig) -> None:
    """Raises MissingRequirementError where anything is missing."""
    missing = missing_requirements(data, run)
    if missing:
        raise MissingRequirementError(
            "this run cannot start yet; missing:\n" + "\n".join(f"  {line}" for line in missing)
        )


def check_writable(folder: Path, flag: str) -> None:
    """Makes a folder and writes to it, so that a run need not find out at its first checkpoint.

    Raises:
      AgentBankError: where it cannot be written; names the flag that chooses another.
    """
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise AgentBankError(
            f"{folder} cannot be written ({error.strerror}); expected a folder that can, choose one with {flag}."
        ) from None


def _missing_banks(data: DataConfig) -> list[str]:
    place = data.data_place()
    by_remedy: dict[str, list[str]] = defaultdict(list)
    own: list[str] = []
    for name in get_mixture(data.mixture).rates:
        task = get_task(name)
        if task.files:
            own += _missing_own_files(task, place)
        elif not has_training_files(place, task.config):
            by_remedy[remedy_for(task, place)].append(task.config)
        elif not is_remote(place):
            task_files(task, place)  # raises where the shards are not one complete set
    return [*(f"bank: {', '.join(names)} in {place}; {remedy}" for remedy, names in by_remedy.items()), *own]


def _missing_own_files(task: TaskDeclaration, place: str) -> list[str]:
    if is_remote(place):
        missing = [name for name in task.files_in_data_dir if not has_path(place, name)]
        return [f"bank: {name} in {place}; {remedy_for(task, place)}" for name in missing]
    try:
        task_files(task, place)
    except MissingFilesError as error:
        return [f"bank: {error}"]
    return []


def _missing_tokenizer(data: DataConfig) -> list[str]:
    path = data.tokenizer_path()
    is_there = path.exists() or (data.tokenizer_lies_with_data() and has_path(data.data_place(), data.tokenizer))
    return [] if is_there else [f"tokenizer: {path}; {data.tokenizer_remedy}"]


def _missing_weights(run: RunConfig) -> list[str]:
    path = run.weights_path()
    if path is None or path.is_dir():
        return []
    remedy = run.weights_remedy or "expected the folder of a Hugging Face checkpoint"
    return [f"weights: {path}; {remedy}, or start from a run's weights with --checkpoint=PATH"]
