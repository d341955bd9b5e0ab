"""The weights that a run starts from: another run's, or a Hugging Face checkpoint's."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jax.sharding import Mesh

from agentbank_jax.commands.facts import check_same_shape
from agentbank_jax.configuration.configuration import TrainingConfiguration
from agentbank_jax.errors import AgentBankError
from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.parallel.mesh import make_mesh
from agentbank_jax.parallel.sharding import check_divisible, state_shardings
from agentbank_jax.training.trained_models import load_for_inference
from agentbank_jax.trajectories.templates.registry import ChatTemplate
from agentbank_jax.trajectories.tokenizers.files import FAST_FILE, SENTENCEPIECE_FILE


@dataclass(frozen=True, kw_only=True)
class StartingWeights:
    """Weights that were found to fit a run.

    Fields:
      folder: of the Hugging Face checkpoint, or of the other run's step.
      load: gives them over the mesh of the run, in its type.
    """

    folder: Path
    load: Callable[[], forward.Params]


def starting_weights(
    checkpoint: str | None, training: TrainingConfiguration, template: ChatTemplate
) -> StartingWeights | None:
    """Finds the weights to start from; `--checkpoint` goes before `RunConfig.weights`.

    Returns:
      None where the run starts from fresh ones.

    Raises:
      AgentBankError: where they do not fit the run, or it trains adapters and there are none.
    """
    if not checkpoint and not training.run.weights:
        if training.model.lora:
            raise AgentBankError(
                "LoraConfig.projections is set, but no weights that the adapters could belong to; expected "
                "--checkpoint=PATH of a run, or a Hugging Face checkpoint in --gin.RunConfig.weights."
            )
        return None
    mesh = make_mesh(training.mesh)
    train, length = training.train, training.data.max_length
    check_divisible(training.model, dict(mesh.shape), train.batch_size, length, train.accumulate, training.mesh.rules)
    return (
        _from_run(checkpoint, training, template, mesh) if checkpoint else _from_hugging_face(training, template, mesh)
    )


def _from_run(checkpoint: str, training: TrainingConfiguration, template: ChatTemplate, mesh: Mesh) -> StartingWeights:
    config, params, metadata = load_for_inference(
        checkpoint, dtype=training.model.param_dtype, mesh=mesh, rules=training.mesh.rules
    )
    check_same_shape(config, training.model.base, f"--checkpoint={checkpoint}")
    saved = metadata["facts"].get("tokenizer_sha256")
    if saved != template.tokenizer.fingerprint:
        raise AgentBankError(
            f"--checkpoint={checkpoint}: it was trained with another tokenizer than {training.data.tokenizer}; "
            "use the one beside it: --gin.DataConfig.tokenizer=<its run>, as ./runs/NAME."
        )
    if training.model.lora and metadata.get("base"):
        # Merged on other devices they would not be the same bit for bit.
        raise AgentBankError(
            f"--checkpoint={checkpoint}: holds adapters itself; write the weights that they make first (python "
            f"scripts/export_hf.py --checkpoint={checkpoint} --out=FOLDER), and take --gin.RunConfig.weights=FOLDER."
        )
    return StartingWeights(folder=metadata["path"], load=lambda: params)


def _from_hugging_face(training: TrainingConfiguration, template: ChatTemplate, mesh: Mesh) -> StartingWeights:
    folder = training.run.weights_path()
    assert folder is not None
    found, model = read_config(folder), training.model.base
    check_same_shape(found.model, model, f"RunConfig.weights={training.run.weights}")
    if found.sliding_window is not None and found.sliding_window < model.max_position_embeddings:
        raise AgentBankError(
            f"LlamaConfig.max_position_embeddings={model.max_position_embeddings}, but the tokens of {folder} see only "
            f"the last {found.sliding_window} (sliding_window), which is not built: expected at most so many."
        )
    _check_tokenizer(folder, training, template)
    weights = open_checkpoint(folder, model)
    shardings = state_shardings(mesh, forward.abstract_params(model), training.mesh.rules)
    return StartingWeights(folder=folder, load=lambda: weights.load(shardings, model.param_dtype))


def _check_tokenizer(folder: Path, training: TrainingConfiguration, template: ChatTemplate) -> None:
    """Raises AgentBankError where the tokenizer is none of those beside the weights, if there are any."""
    beside = [folder / name for name in (FAST_FILE, SENTENCEPIECE_FILE) if (folder / name).is_file()]
    if beside and template.tokenizer.model not in [file.read_bytes() for file in beside]:
        raise AgentBankError(
            f"DataConfig.tokenizer={training.data.tokenizer} is another tokenizer than the one of {folder}, with which "
            f"these weights were trained; expected --gin.DataConfig.tokenizer={_as_given(folder)}."
        )


def _as_given(folder: Path) -> str:
    """A path that `DataConfig.tokenizer` takes as it is."""
    return f"{folder}" if folder.is_absolute() else f"./{folder}"
