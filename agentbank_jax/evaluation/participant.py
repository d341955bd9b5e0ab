"""A model that is ready to play in sweeps: a checkpoint, one behind a server, or a recording."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from agentbank_jax.agents.endpoint import Endpoint
from agentbank_jax.agents.recorded_policy import RecordedPolicy, Recording
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.contender import Contender, hash_of
from agentbank_jax.evaluation.sweep_config import SweepConfig

UNKNOWN = "unknown: no manifest says it (SweepConfig.manifests)"


class Participant(Protocol):
    """A model that is ready to play.

    Fields:
      run: the folder of its training; None where there is none.
    """

    @property
    def run(self) -> Path | None: ...

    def contenders(self, sweep: SweepConfig) -> tuple[Contender, ...]:
        """It, and its untrained twin where the sweep asks for that."""

    def facts(self) -> dict[str, str]:
        """What a report says of it."""


@dataclass(frozen=True, kw_only=True)
class PlayingCheckpoint:
    """The model of a checkpoint; its `model` is an `ActingModel`, whose module imports JAX."""

    model: Any
    manifest: TrainingManifest

    @property
    def run(self) -> Path | None:
        folder: Path = self.model.model_dir
        return folder

    def contenders(self, sweep: SweepConfig) -> tuple[Contender, ...]:
        contenders: tuple[Contender, ...] = self.model.contenders(sweep, self.manifest)
        return contenders

    def facts(self) -> dict[str, str]:
        facts: dict[str, str] = self.model.facts(self.manifest)
        return facts


@dataclass(frozen=True, kw_only=True)
class PlayingEndpoint:
    """A model behind a server; without a manifest nobody knows what it was trained on."""

    endpoint: Endpoint
    name: str
    manifest: TrainingManifest | None
    run: Path | None = None

    def contenders(self, sweep: SweepConfig) -> tuple[Contender, ...]:
        from agentbank_jax.agents.endpoint_policy import STOP, EndpointPolicy

        identity = ["endpoint/1", str(self.endpoint), STOP, sweep.max_new_tokens, sweep.temperature, sweep.top_p]
        return (
            Contender(
                name=self.name,
                identity=hash_of(identity),
                make=lambda: EndpointPolicy(
                    self.endpoint,
                    max_new_tokens=sweep.max_new_tokens,
                    sampling=sweep.sampling(),
                    capacity=sweep.episodes_at_once,
                    name=self.name,
                ),
                manifest=self.manifest or TrainingManifest(),
            ),
        )

    def facts(self) -> dict[str, str]:
        trained = self.manifest.describe() if self.manifest else UNKNOWN
        return {"model": f"{self.endpoint.model} at {self.endpoint.base_url}", "trained on": trained}


@dataclass(frozen=True, kw_only=True)
class PlayingRecording:
    """The replies of recorded episodes, driven by the first agent of a sweep alone."""

    recording: Recording
    place: str
    name: str
    manifest: TrainingManifest | None
    run: Path | None = None

    def contenders(self, sweep: SweepConfig) -> tuple[Contender, ...]:
        return (
            Contender(
                name=self.name,
                identity=hash_of(["recording/1", self.recording.fingerprint]),
                make=lambda: RecordedPolicy(self.recording, name=self.name, capacity=sweep.episodes_at_once),
                manifest=self.manifest or TrainingManifest(),
                agents=False,
            ),
        )

    def facts(self) -> dict[str, str]:
        trained = self.manifest.describe() if self.manifest else UNKNOWN
        return {"model": f"{self.recording.episodes:,} recorded episodes of {self.place}", "trained on": trained}


def spent(contender: Contender) -> Contender:
    """The same without its policy, whose memory may be given to another."""
    name = contender.name  # a closure over the contender would keep what it holds

    def gone() -> Any:
        raise AssertionError(f"{name} has played")

    return replace(contender, make=gone)
