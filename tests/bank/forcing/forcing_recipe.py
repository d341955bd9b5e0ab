"""A recipe that forces answers: what the endpoint's tests build banks by."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.forcing.answer_forcing import AnswerForcing
from agentbank_jax.bank.outcome import Drop, Outcome
from agentbank_jax.bank.rationales.template_rationales import TemplateRationales
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.bank.replay import conversation, replay
from agentbank_jax.environments import registry
from agentbank_jax.trajectories.schema import Trajectory

_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class ForcingRecipe(Recipe):
    """Forced answers of the named instances of a starter family."""

    task: str
    indices: tuple[int, ...]
    annotator: AnswerForcing
    wanted: int | None = None
    shard_rows: int | None = None
    chunk: int = 12

    @property
    def candidates(self) -> int:  # type: ignore[override]
        return len(self.indices)

    def parameters(self) -> Mapping[str, Any]:
        return {"task": self.task, "indices": list(self.indices), "annotator": dict(self.annotator.facts())}

    def make(self, start: int, stop: int) -> Sequence[Outcome]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self._outcome, self.indices[start:stop]))

    def _outcome(self, index: int) -> Outcome:
        spec = registry.get(self.task)
        instance = spec.instance("train", index)
        return Outcome(item=self._item(spec, instance), fingerprint=instance.fingerprint)

    def _item(self, spec, instance) -> Trajectory | Drop:
        sequence = self.annotator.annotate(spec, instance)
        if isinstance(sequence, Drop):
            return sequence
        actions = [step.action for step in sequence.steps]
        replayed = replay(spec, instance, actions)
        if isinstance(replayed, Drop):
            return replayed
        said = TemplateRationales().write(spec, instance, sequence, replayed.observations)
        if isinstance(said, Drop):
            return said
        return Trajectory(
            id=instance.id,
            task=self.task,
            turns=conversation(replayed, said, actions),
            metadata={"reward": replayed.reward, "annotation": sequence.method, "seed": self.annotator.seed},
        )
