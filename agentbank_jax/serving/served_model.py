"""What a server serves: a run, a Hugging Face folder, an adapter on a base, or a tiny made model."""

import json
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import jax
from jax.sharding import Mesh

from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import CONFIG_FILE as HF_CONFIG
from agentbank_jax.models.hf_config import read_config
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.models.llama_config import DTYPES, LlamaConfig
from agentbank_jax.models.lora import merge
from agentbank_jax.models.peft_adapter import CONFIG_FILE as ADAPTER_CONFIG
from agentbank_jax.models.peft_adapter import read_adapter
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import check_model_divisible, state_shardings
from agentbank_jax.training.trained_models import load_for_inference
from agentbank_jax.trajectories.schema import Trajectory, Turn
from agentbank_jax.trajectories.templates.registry import ChatTemplate, Llama2Template, get_template
from agentbank_jax.trajectories.templates.trained import trained_template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.trajectories.tokenizers.vocabulary import train_vocabulary

MADE = "made-tiny"
"""The name of the model that needs no checkpoint."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model, and how it is spoken to.

    Fields:
      name: under which clients ask for it.
      config, params: without adapters.
      template: of its conversations.
    """

    name: str
    config: LlamaConfig
    params: forward.Params
    template: ChatTemplate

    @property
    def tokenizer(self) -> Tokenizer:
        return self.template.tokenizer


def load_served_model(
    checkpoint: str | None,
    *,
    name: str | None = None,
    adapter: str | None = None,
    template: str | None = None,
    dtype: str | None = None,
    mesh: Mesh | None = None,
) -> ServedModel:
    """Loads what is to be served.

    Args:
      checkpoint: the folder of a run or of one of its steps, or `RUN@best`; the folder of a Hugging Face checkpoint;
        or the folder of an adapter of `peft`, whose `base_model_name_or_path` is such a folder. None makes a tiny
        model whose weights are random.
      name: under which clients ask for it; the name of the folder if None.
      adapter: the folder of an adapter for `checkpoint`.
      template: of a Hugging Face checkpoint; its own if None. A run has the one that it was trained with.
      dtype: of the parameters; as they are stored if None.
      mesh: over which the parameters lie; the first device if None.

    Raises:
      AgentBankError: it cannot be read, or its parts do not fit.
    """
    if dtype is not None and dtype not in DTYPES:
        raise AgentBankError(f"--dtype={dtype} is no known type.{did_you_mean(dtype, DTYPES)}")
    mesh = mesh or _first_device()
    if checkpoint is None:
        for flag, value in (("adapter", adapter), ("template", template)):
            if value is not None:
                raise AgentBankError(f"--{flag}={value}: belongs to a checkpoint; name one with --checkpoint=PATH.")
        return made_model(name or MADE, dtype=dtype, mesh=mesh)
    folder = Path(checkpoint).expanduser()
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / HF_CONFIG).is_file():
        if adapter is not None:
            raise AgentBankError(f"--checkpoint={checkpoint} is an adapter itself; expected its base beside --adapter.")
        served = _hugging_face(_base_of(folder), folder, template, dtype, mesh)
        return replace(served, name=name or folder.resolve().name)
    if (folder / HF_CONFIG).is_file():
        served = _hugging_face(folder, Path(adapter).expanduser() if adapter else None, template, dtype, mesh)
        return replace(served, name=name or Path(adapter or checkpoint).expanduser().resolve().name)
    for flag, value in (("adapter", adapter), ("template", template)):
        if value is not None:
            raise AgentBankError(
                f"--{flag}={value}: {checkpoint} is no Hugging Face checkpoint (it has no {HF_CONFIG}); a run of this "
                "project brings its own, leave the flag out."
            )
    return _run(checkpoint, name, dtype, mesh)


def _first_device() -> Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def _run(checkpoint: str, name: str | None, dtype: str | None, mesh: Mesh) -> ServedModel:
    config, params, metadata = load_for_inference(checkpoint, dtype=dtype, mesh=mesh)
    return ServedModel(
        name=name or metadata["model_dir"].name,
        config=replace(config, dtype=dtype or config.dtype, param_dtype=dtype or config.param_dtype),
        params=params,
        template=trained_template(metadata["model_dir"], metadata.get("facts", {})),
    )


def _hugging_face(
    folder: Path, adapter: Path | None, template: str | None, dtype: str | None, mesh: Mesh
) -> ServedModel:
    config = read_config(folder).model
    found = open_checkpoint(folder, config)
    dtype = dtype or found.dtype
    config = replace(config, dtype=dtype, param_dtype=dtype)
    tokenizer = Tokenizer.load(folder)
    if template is None and tokenizer.settings.chat_template is None:
        raise AgentBankError(
            f"{folder}: its tokenizer has no chat template; say with --template how the model is spoken to: llama2, "
            "codellama or llama3."
        )
    chosen = get_template(template or "hf", tokenizer)
    if tokenizer.vocab_size > config.vocab_size:
        raise AgentBankError(
            f"{tokenizer.name} has {tokenizer.vocab_size} pieces, and the model rows for {config.vocab_size}; expected "
            "the tokenizer of these weights."
        )
    adapted, adapters = read_adapter(adapter, config) if adapter else (config, {})
    check_model_divisible(config, dict(mesh.shape))
    params = found.load(state_shardings(mesh, forward.abstract_params(config)), dtype)
    if adapted.lora:
        params = merge(adapted.lora, params, adapters, consume=True)
    return ServedModel(name=folder.resolve().name, config=config, params=params, template=chosen)


def _base_of(adapter: Path) -> Path:
    """The folder of the weights that an adapter says it belongs to."""
    try:
        named = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise AgentBankError(f"{adapter / ADAPTER_CONFIG}: cannot be read ({error}); expected a JSON object.") from None
    for folder in (Path(str(named)).expanduser(), adapter / str(named)):
        if named and (folder / HF_CONFIG).is_file():
            return folder
    raise AgentBankError(
        f"{adapter}: belongs to {named!r}, which is no folder of a Hugging Face checkpoint here; name it: "
        f"--checkpoint=FOLDER --adapter={adapter}."
    )


def made_model(name: str = MADE, *, dtype: str | None = None, mesh: Mesh | None = None) -> ServedModel:
    """Makes a tiny model with random weights, always the same, and a small vocabulary: to try the interface with."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = train_vocabulary(_made_texts(), 512, os.path.join(folder, "made.model"))
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        max_position_embeddings=2048,
        dtype=dtype or "float32",
        param_dtype=dtype or "float32",
    )
    mesh = mesh or _first_device()
    check_model_divisible(config, dict(mesh.shape))
    params = jax.device_put(forward.init(config, 0), state_shardings(mesh, forward.abstract_params(config)))
    return ServedModel(name=name, config=config, params=params, template=get_template("llama2", tokenizer))


_OBJECTS = "cup lamp key book plate apple".split()  # noqa: SIM905
_PLACES = "shelf desk drawer kitchen sink garden".split()  # noqa: SIM905


def _made_texts() -> list[str]:
    texts = []
    for number, (thing, place) in enumerate((thing, place) for thing in _OBJECTS for place in _PLACES):
        turns = (
            Turn.system("You are an agent. Act with go to, take, look or search[query], and answer at the end."),
            Turn.user(f"Find the {thing} and say where it is. There are {number} rooms."),
            Turn.assistant(f"Thought: I look at the {place} first.\nAction: go to {place} {number % 7}"),
            Turn.user(f"Observation: On the {place} you see a {thing} and {number + 2} more things."),
            Turn.assistant(f"Thought: The {thing} is there.\nFinal Answer: on the {place}"),
        )
        texts += Llama2Template.render(Trajectory(id=str(number), task="made", turns=turns))
    return texts
