"""Who plays in sweeps beside the baselines: checkpoints, models behind servers, and recordings.

A place is a checkpoint's path, `http://HOST:PORT/v1#MODEL` or `recording:FOLDER`.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentbank_jax.agents.endpoint import Endpoint
from agentbank_jax.agents.recorded_policy import Recording, recording_name
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.contamination import MANIFEST_FILE, TrainingManifest
from agentbank_jax.evaluation.participant import Participant, PlayingCheckpoint, PlayingEndpoint, PlayingRecording
from agentbank_jax.evaluation.sweep_config import BASELINES, SweepConfig

Kind = Literal["checkpoint", "endpoint", "recording"]

RECORDING = "recording:"

_BEST = "@best"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model that will play.

    Fields:
      name: in tables, and folder of its results.
      place: where it is.
      kind: what that is.
      sweeps: the names of those in which it plays.
      load: makes it ready; of a checkpoint this takes its memory.
    """

    name: str
    place: str
    kind: Kind
    sweeps: frozenset[str]
    load: Callable[[], Participant]


def kind_of(place: str) -> Kind:
    """What a place is."""
    if place.startswith(("http://", "https://")):
        return "endpoint"
    return "recording" if place.startswith(RECORDING) else "checkpoint"


def find_participants(
    sweeps: Sequence[SweepConfig],
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    model_name: str | None = None,
    untrained_seed: int = 0,
) -> tuple[Entry, ...]:
    """Says who plays, that of the command line first; checkpoints are not loaded yet, recordings are read.

    Args:
      sweeps: their `models` play in them alone.
      checkpoint: plays in all of them.
      model_name: of `checkpoint`; the name of its run's folder if None.
      untrained_seed: of the fresh weights of the baseline `untrained`.

    Raises:
      AgentBankError: a place that is none, two models of one name, a sweep in which nobody plays, one that asks for
        what only a checkpoint has, or a `base` or manifest of a model that does not play.
    """
    playing: dict[str, set[str]] = {}
    if checkpoint is not None:
        playing[os.fspath(checkpoint)] = {sweep.name for sweep in sweeps}
    for sweep in sweeps:
        for place in sweep.models:
            playing.setdefault(place, set()).add(sweep.name)
            _check_place(sweep, place)
    names = {place: _name_of(place) for place in playing}
    if checkpoint is not None and model_name:
        names[os.fspath(checkpoint)] = model_name
    names = _distinct(names)
    for sweep in sweeps:
        _check(sweep, {place: names[place] for place in playing if sweep.name in playing[place]})
    manifests = _manifests(sweeps, names)
    return tuple(
        Entry(
            name=name,
            place=place,
            kind=kind_of(place),
            sweeps=frozenset(playing[place]),
            load=_loader(place, name, manifests.get(name), untrained_seed),
        )
        for place, name in names.items()
    )


def run_folder(checkpoint: Path) -> Path:
    """The run that a path belongs to: itself, its `checkpoints`, or one step of these."""
    from agentbank_jax.training.checkpoint_files import FOLDER

    for folder in (checkpoint, checkpoint.parent):
        if folder.name == FOLDER:
            return folder.parent
    return checkpoint


def _loader(place: str, name: str, manifest: TrainingManifest | None, untrained_seed: int) -> Callable[[], Participant]:
    kind = kind_of(place)
    if kind == "endpoint":
        endpoint = PlayingEndpoint(endpoint=_endpoint(place), name=name, manifest=manifest)
        return lambda: endpoint
    if kind == "recording":
        path = Path(place.removeprefix(RECORDING)).expanduser()
        recording = PlayingRecording(recording=Recording.read(path), place=str(path), name=name, manifest=manifest)
        return lambda: recording

    def load() -> Participant:
        from agentbank_jax.evaluation.acting_model import ActingModel
        from agentbank_jax.training.best_checkpoint import resolve_checkpoint

        model = ActingModel.load(resolve_checkpoint(place), model_name=name, untrained_seed=untrained_seed)
        return PlayingCheckpoint(model=model, manifest=TrainingManifest.load(model.model_dir / MANIFEST_FILE))

    return load


def _endpoint(place: str) -> Endpoint:
    try:
        import httpx2  # noqa: F401 - what asks it, imported only when it plays
    except ModuleNotFoundError as error:
        raise AgentBankError(
            f"{place}: {error.name} is not installed; expected pip install 'agentbank_jax[endpoint]'."
        ) from None
    return Endpoint.parse(place)


def _check_place(sweep: SweepConfig, place: str) -> None:
    """Checks that a checkpoint is there, which is read only when the models before it have played."""
    path = Path(place.removesuffix(_BEST)).expanduser()
    if kind_of(place) == "checkpoint" and not path.is_dir():
        beside = [each.name for each in path.parent.iterdir() if each.is_dir()] if path.parent.is_dir() else []
        raise AgentBankError(
            f"sweep '{sweep.name}': models names {place}, which is no folder; expected a checkpoint, "
            f"http://HOST:PORT/v1#MODEL or {RECORDING}FOLDER.{did_you_mean(path.name, beside)}"
        )


def _name_of(place: str) -> str:
    kind = kind_of(place)
    if kind == "endpoint":
        return _endpoint(place).name
    if kind == "recording":
        return recording_name(Path(place.removeprefix(RECORDING)).expanduser())
    return run_folder(Path(place.removesuffix(_BEST)).expanduser().absolute()).name


def _distinct(names: Mapping[str, str]) -> dict[str, str]:
    """Tells several checkpoints of one run apart by their steps.

    Raises:
      AgentBankError: two models still have one name, or one has a baseline's.
    """
    count = Counter(names.values())
    distinct = dict(names)
    for place, name in names.items():
        if count[name] > 1 and kind_of(place) == "checkpoint":
            path = Path(place.removesuffix(_BEST)).expanduser().absolute()
            if place.endswith(_BEST):
                distinct[place] = f"{name}-best"
            elif run_folder(path) != path and path.name.isdigit():
                distinct[place] = f"{name}-{path.name}"
    for place, name in distinct.items():
        if name in BASELINES or not name or name.startswith(".") or "/" in name:
            raise AgentBankError(
                f"A model cannot be called '{name}', as that of {place} would be; rename its folder, or serve it under "
                "another name."
            )
        others = [other for other in distinct if distinct[other] == name and other != place]
        if others:
            raise AgentBankError(
                f"{place} and {others[0]} would both be called '{name}' in tables and folders; rename one of the two."
            )
    return distinct


def _check(sweep: SweepConfig, names: Mapping[str, str]) -> None:
    """Checks that a sweep can be played by the models of these places and by its baselines."""
    where = f"sweep '{sweep.name}'"
    kinds = {place: kind_of(place) for place in names}
    if "untrained" in sweep.baselines and "checkpoint" not in kinds.values():
        raise AgentBankError(
            f"no checkpoint is named, and {where} asks for the baseline 'untrained', which has the shape of one; "
            "expected --checkpoint=PATH, such as runs/samoyed_tiny, or --watch=MODEL_DIR, or other baselines: "
            f"--gin.{sweep.name}/SweepConfig.baselines=\"['oracle']\"."
        )
    if not names and not sweep.baselines:
        raise AgentBankError(f"{where}: nobody plays; expected --checkpoint=PATH, or names in models or baselines.")
    others = [place for place, kind in kinds.items() if kind != "checkpoint"]
    if sweep.choose_actions and others:
        raise AgentBankError(f"{where}: choose_actions needs a checkpoint, and {others[0]} is none.")
    known = (*names.values(), *sweep.baselines)
    if sweep.base is not None and sweep.base not in known:
        raise AgentBankError(f"{where}: base='{sweep.base}' does not play.{did_you_mean(sweep.base, known)}")


def _manifests(sweeps: Sequence[SweepConfig], names: Mapping[str, str]) -> dict[str, TrainingManifest]:
    without = [name for place, name in names.items() if kind_of(place) != "checkpoint"]
    found = {}
    for sweep in sweeps:
        for name, path in sweep.manifests.items():
            if name not in without:
                raise AgentBankError(
                    f"sweep '{sweep.name}': manifests names '{name}'; expected a model behind a server or a recording "
                    f"that plays (a checkpoint brings its own).{did_you_mean(name, without)}"
                )
            found[name] = TrainingManifest.load(Path(path).expanduser())
    return found
