"""Finds the sweeps that a report is about: the files of evaluations, without the models that played."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.joining import Source
from agentbank_jax.evaluation.sweep_file import SWEEP_FILE, read_sweep
from agentbank_jax.places import is_remote

_EVALUATIONS = "evaluation*"


def read_sources(folders: Sequence[str]) -> tuple[Source, ...]:
    """Reads the sweeps of folders: each that of a sweep, of an evaluation's output, or of a run.

    Raises:
      AgentBankError: a folder is not there or holds no sweep, or a sweep cannot be read.
    """
    found = find_sweeps(folders)
    names = _run_names(found)
    return tuple(Source(run=names[path.parent], result=read_sweep(path)) for path in found)


def find_sweeps(folders: Sequence[str]) -> list[Path]:
    """Returns the folders of the sweeps, each once; folders and errors as `read_sources`."""
    return list(dict.fromkeys(path.resolve() for folder in folders for path in _sweeps(folder)))


def _sweeps(name: str) -> list[Path]:
    """The folders of sweeps in a folder, itself included."""
    if is_remote(name):
        raise AgentBankError(f"{name}: only local folders are read; copy it to one first.")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        siblings = [str(path) for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
        raise AgentBankError(f"{name}: no such folder.{did_you_mean(name, siblings)}")
    for pattern in (SWEEP_FILE, f"*/{SWEEP_FILE}", f"{_EVALUATIONS}/*/{SWEEP_FILE}"):
        if found := sorted(folder.glob(pattern)):
            return [path.parent for path in found]
    raise AgentBankError(
        f"{name}: holds no sweep; expected the output of evaluate.py (with <sweep>/{SWEEP_FILE}), or a run's folder "
        f"(with {_EVALUATIONS}/<sweep>/{SWEEP_FILE})."
    )


def _run_names(sweeps: Sequence[Path]) -> dict[Path, str]:
    """What the run of each output is called: as its folder, with as many above it as tell sweeps of one name apart."""
    outputs = {path.parent for path in sweeps}
    names = {path: path.parent.name if path.match(_EVALUATIONS) else path.name for path in outputs}
    for length in range(2, max((len(path.parts) for path in outputs), default=0) + 1):
        clashes = Counter((names[path.parent], path.name) for path in sweeps)
        for path in sweeps:
            if clashes[names[path.parent], path.name] > 1:
                names[path.parent] = "/".join(path.parent.parts[-length:])
    return names
