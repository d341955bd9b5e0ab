"""The arena's sweeps while a model is trained, in the same process."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from agentbank_jax.errors import AgentBankError
from agentbank_jax.evaluation.acting_model import ActingModel, check_name
from agentbank_jax.evaluation.contamination import TrainingManifest
from agentbank_jax.evaluation.sweep_config import SweepConfig
from agentbank_jax.evaluation.sweep_values import play, value_names
from agentbank_jax.models import forward, lora
from agentbank_jax.models.llama_config import LlamaConfig
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.trajectories.templates.registry import ChatTemplate

FOLDER = "arena"
"""In a run's folder: the episodes by step."""


class Arena:
    """An `Evaluator` that lets the model act, on the first device; baselines do not play.

    It yields what `sweep_values` names. Episodes are kept in `<model_dir>/arena/<step>`, so that a run that was killed
    meanwhile plays only the others; those of the last step where the report of the run finds them.

    Fields:
      every: steps between measurements.
      names: of the values.
    """

    def __init__(
        self,
        sweeps: Sequence[SweepConfig],
        config: LlamaConfig,
        template: ChatTemplate,
        model_dir: Path,
        *,
        manifest: TrainingManifest,
        every: int,
        last_step: int,
        last_folder: Path,
    ) -> None:
        """Makes ready.

        Args:
          sweeps: at least one.
          config: the model that is trained.
          template: with which it is.
          model_dir: of the run.
          manifest: what it is trained on.
          every: steps between measurements.
          last_step: of the run, whose episodes go to
          last_folder: where the sweeps after training look for them.

        Raises:
          AgentBankError: several processes train the model, or its folder is called as a baseline is.
        """
        if jax.process_count() > 1:
            raise AgentBankError(
                f"EvalConfig.sweep_every={every}: {jax.process_count()} processes train the model, and only one alone "
                "can let it act; expected 0, and beside the job: python evaluate.py "
                f"--gin_file=eval/starter_held_in.gin --watch={model_dir}"
            )
        check_name(model_dir.name, model_dir)
        self.every, self.names = every, value_names(sweeps)
        self._sweeps, self._config, self._template, self._model_dir = sweeps, config, template, model_dir
        self._manifest, self._last_step, self._last_folder = manifest, last_step, last_folder

    def evaluate(self, step: int, params: forward.Params) -> Iterator[tuple[str, float]]:
        """Plays what is not yet recorded."""
        if self._config.lora:
            adapters, base = lora.split(params)
            params = lora.merge(self._config.lora, base, adapters)
        # What is computed for one device alone lies on no other part of the run's mesh.
        with jax.set_mesh(make_mesh(MeshConfig(), jax.devices()[:1])):
            model = ActingModel(
                name=self._model_dir.name,
                model_dir=self._model_dir,
                step=step,
                config=self._config.base,
                params=params,
                template=self._template,
            )
            folder = self._last_folder if step == self._last_step else self._model_dir / FOLDER / str(step)
            values = play(self._sweeps, model, folder, manifest=self._manifest)
        yield from values.items()
