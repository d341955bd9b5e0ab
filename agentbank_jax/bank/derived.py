"""Annotating by derivation: the actions of a generated problem follow from the answer that it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import expert_plan
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.registry import EnvironmentSpec


@dataclass(frozen=True, kw_only=True)
class DerivedAnnotator:
    """Takes the steps that the environment itself derives, with their intents and slots."""

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        return ActionSequence(steps=tuple(expert_plan(spec, instance)), method="derived")

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "derived"}
