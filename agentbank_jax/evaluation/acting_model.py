"""A trained model with all that acting needs."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from agentbank_jax.agents.model_policy import ModelPolicy
from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.contender import Contender, hash_of
from agentbank_jax.evaluation.sweep_config import BASELINES, SweepConfig
from agentbank_jax.generation.engine import Engine
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.training.trained_models import load_for_inference
from agentbank_jax.trajectories.templates.registry import ChatTemplate
from agentbank_jax.trajectories.templates.trained import trained_template


@dataclass(kw_only=True)
class ActingModel:
    """A model, its template, and where it comes from.

    Fields:
      name: column of tables, and folder of results.
      model_dir: of the run.
      step: optimizer steps done.
      config, params: without adapters, on the first device: weights of every origin share their compiled programs.
      template: of training and acting.
      untrained_seed: of the fresh weights of the baseline `untrained`.

    Raises:
      AgentBankError: it is called as a baseline is.
    """

    name: str
    model_dir: Path
    step: int
    config: LlamaConfig
    params: forward.Params
    template: ChatTemplate
    untrained_seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.name, self.model_dir)
        self.params = jax.device_put(self.params, jax.devices()[0])

    @classmethod
    def load(
        cls, checkpoint: str | os.PathLike[str], *, model_name: str | None = None, untrained_seed: int = 0
    ) -> "ActingModel":
        """Loads a checkpoint.

        Args:
          checkpoint: a run's folder (its last checkpoint), or the folder of one step.
          model_name: the name of the run's folder if None.
          untrained_seed: see above.

        Raises:
          AgentBankError: it cannot be read, or its tokenizer is missing or another.
        """
        config, params, metadata = load_for_inference(checkpoint)
        model_dir = Path(metadata["model_dir"])
        return cls(
            name=model_name or model_dir.name,
            model_dir=model_dir,
            step=int(metadata["step"]),
            config=config,
            params=params,
            template=trained_template(model_dir, metadata.get("facts", {})),
            untrained_seed=untrained_seed,
        )

    def contenders(self, sweep: SweepConfig, manifest: TrainingManifest) -> tuple[Contender, ...]:
        """The model, trained on what a manifest says, and its untrained twin where the sweep asks for it."""
        template = [self.template.fingerprint, self.template.tokenizer.fingerprint]
        limits: list[Any] = [sweep.max_new_tokens, sweep.max_length or self.config.max_position_embeddings]
        if sweep.temperature or sweep.choose_actions:
            limits.append(sweep.decoding())

        def contender(
            name: str, weights: str, params: Callable[[], forward.Params], seen: TrainingManifest
        ) -> Contender:
            return Contender(
                name=name,
                identity=hash_of([self.config.shape_facts, weights, template, limits]),
                make=lambda: self._policy(name, params(), sweep),
                manifest=seen,
            )

        chosen = [contender(self.name, _digest(self.params), lambda: self.params, manifest)]
        if "untrained" in sweep.baselines:
            weights = f"seed {self.untrained_seed}, initializer_range {self.config.initializer_range}"
            chosen.append(contender("untrained", weights, self._fresh, TrainingManifest()))
        return tuple(chosen)

    def _fresh(self) -> forward.Params:
        return jax.device_put(forward.init(self.config, self.untrained_seed), jax.devices()[0])

    def _policy(self, name: str, params: forward.Params, sweep: SweepConfig) -> ModelPolicy:
        engine = Engine(
            self.config,
            params,
            stop_ids=self.template.stop_ids,
            tokenizer=self.template.tokenizer,
            slots=sweep.slots,
            max_length=sweep.max_length,
        )
        return ModelPolicy(
            engine,
            self.template,
            max_new_tokens=sweep.max_new_tokens,
            sampling=sweep.sampling(),
            choose_actions=sweep.choose_actions,
            capacity=sweep.episodes_at_once,
            vocab_size=self.template.tokenizer.vocab_size,
            name=name,
        )

    def facts(self, manifest: TrainingManifest) -> dict[str, str]:
        """What a report says of the model."""
        config = self.config
        return {
            "checkpoint": f"{self.name}, step {self.step:,}",
            "model": f"{forward.count_parameters(config):,} parameters: {config.num_layers} layers, "
            f"width {config.hidden_size}, {config.num_heads} heads, vocabulary {config.vocab_size:,}",
            "longest conversation": f"{config.max_position_embeddings:,} tokens",
            "trained on": manifest.describe(),
            "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()}), jax {jax.__version__}",
        }


def check_name(name: str, model_dir: Path) -> None:
    """Raises AgentBankError where a model is called as a baseline is."""
    if name in BASELINES:
        raise AgentBankError(f"A model cannot be called '{name}', as a baseline is; rename its folder {model_dir}.")


def _digest(params: forward.Params) -> str:
    """SHA-256 of all weights, array by array."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
