"""Who takes part in a sweep."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from agentbank_jax.agents.policy import OraclePolicy, Policy, RandomPolicy
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.sweep_config import SweepConfig


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A policy that takes part in a sweep.

    Fields:
      name: in tables, and folder of the results.
      identity: changes whenever its behaviour may: results of another identity are not reused.
      make: makes the policy; not called where every episode is already recorded.
      manifest: what it was trained on.
      agents: whether it is driven by each agent of the sweep, or by the first alone.
    """

    name: str
    identity: str
    make: Callable[[], Policy]
    manifest: TrainingManifest = field(default_factory=TrainingManifest)
    agents: bool = True


def baseline_contenders(config: SweepConfig) -> tuple[Contender, ...]:
    """The baselines that need no model, as far as the sweep asks for them."""
    known = {
        "random": Contender(
            name="random",
            identity="random/2",
            make=lambda: RandomPolicy(capacity=config.episodes_at_once),
            agents=False,
        ),
        "oracle": Contender(
            name="oracle",
            identity="oracle/1",
            make=lambda: OraclePolicy(capacity=config.episodes_at_once),
            agents=False,
        ),
    }
    return tuple(known[name] for name in config.baselines if name in known)


def hash_of(facts: object) -> str:
    """A short name for facts that can be JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
