"""What a run needs from the user before it can start, and how a user gets it."""

import os
from collections import defaultdict
from pathlib import Path

from agentbank_jax.configuration.run_config import DataConfig, RunConfig
from agentbank_jax.data.declarations import MissingFilesError, get_mixture, get_task
from agentbank_jax.data.sources import task_files
from agentbank_jax.errors import AgentBankError


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
    folder = data.data_path()
    by_remedy: dict[str, list[str]] = defaultdict(list)
    own: list[str] = []
    for name in get_mixture(data.mixture).rates:
        task = get_task(name)
        try:
            task_files(task, folder)
        except MissingFilesError as error:
            if task.files:
                own.append(f"bank: {error}")
            else:
                by_remedy[task.remedy_for(folder)].append(task.config)
    return [*(f"bank: {', '.join(names)} in {folder}; {remedy}" for remedy, names in by_remedy.items()), *own]


def _missing_tokenizer(data: DataConfig) -> list[str]:
    path = data.tokenizer_path()
    return [] if path.exists() else [f"tokenizer: {path}; {data.tokenizer_remedy}"]


def _missing_weights(run: RunConfig) -> list[str]:
    path = run.weights_path()
    if path is None:
        return []
    unread = (
        "this version cannot read Hugging Face weights yet: start from a checkpoint of this project with "
        "--gin.RunConfig.weights=None --checkpoint=PATH, or from fresh weights without the latter"
    )
    return [f"weights: {path}; {unread}" if path.is_dir() else f"weights: {path}; {run.weights_remedy}; {unread}"]
