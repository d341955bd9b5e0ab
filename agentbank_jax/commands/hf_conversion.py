"""From a Hugging Face checkpoint to a run's folder, and back."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from agentbank_jax.commands.facts import check_vocabulary, template_facts
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.evaluation.contamination import MANIFEST_FILE
from agentbank_jax.models import forward
from agentbank_jax.models.hf_config import CONFIG_FILE, read_config
from agentbank_jax.models.hf_export import write_checkpoint
from agentbank_jax.models.hf_import import open_checkpoint
from agentbank_jax.models.llama_config import DTYPES, LlamaConfig
from agentbank_jax.models.lora import merge
from agentbank_jax.models.peft_adapter import read_adapter, write_adapter
from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
from agentbank_jax.parallel.sharding import check_model_divisible, state_shardings
from agentbank_jax.training.trained_models import load_adapters, load_for_inference, save_parameters
from agentbank_jax.trajectories.templates.registry import ChatTemplate, get_template
from agentbank_jax.trajectories.tokenizers.files import copied_files
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from agentbank_jax.whole_files import unwritten, whole_folder

MODEL_FILE = "model.gin"


def import_checkpoint(
    weights: Path,
    model_dir: Path,
    *,
    adapter: Path | None = None,
    template: str | None = None,
    dtype: str | None = None,
    fsdp: int = 1,
) -> LlamaConfig:
    """Writes a Hugging Face checkpoint as step 0 of a run.

    Args:
      weights: its folder.
      model_dir: the run's; gets `checkpoints/0`, the tokenizer, an empty `manifest.json`, and the shape of the
        model in `model.gin`.
      adapter: folder of a LoRA adapter in peft's layout, which is merged into the weights.
      template: chat template that the model acts with; the checkpoint's own if None.
      dtype: of the parameters; as stored if None.
      fsdp: devices over which each parameter is split while it is read.

    Returns:
      The model.

    Raises:
      AgentBankError: whatever does not fit; nothing is written then.
    """
    _check_dtype(dtype)
    _check_new(model_dir, "--model_dir")
    model = read_config(weights).model
    found = open_checkpoint(weights, model)
    dtype = dtype or found.dtype
    model = replace(model, dtype=dtype, param_dtype=dtype)
    chosen = _choose_template(weights, template)
    check_vocabulary(chosen.tokenizer, model)
    mesh_config = MeshConfig(data=1, fsdp=fsdp)
    if not 1 <= fsdp <= jax.device_count():
        raise AgentBankError(f"--fsdp={fsdp}: expected 1 to {jax.device_count()}, the number of devices here.")
    check_model_divisible(model, mesh_config.sizes(fsdp))
    mesh = make_mesh(mesh_config, jax.devices()[:fsdp])
    adapted, adapters = read_adapter(adapter, model) if adapter else (model, {})
    params = found.load(state_shardings(mesh, forward.abstract_params(model)), dtype)
    if adapted.lora:
        params = merge(adapted.lora, params, adapters, consume=True)
    try:
        with whole_folder(model_dir) as folder:
            save_parameters(folder, model, params, template_facts(chosen))
            _copy_tokenizer(weights, folder)
            (folder / MANIFEST_FILE).write_text(json.dumps({"tasks": {}}), encoding="utf-8")
            (folder / MODEL_FILE).write_text(_model_gin(model, weights), encoding="utf-8")
    except OSError as error:
        raise unwritten(model_dir, error.strerror) from None
    return model


def export_checkpoint(
    checkpoint: str, out: Path, *, dtype: str | None = None, shard_gb: float = 4.0
) -> tuple[int, int]:
    """Writes a checkpoint of this project as a Hugging Face one; adapters are merged into their weights.

    Args:
      checkpoint: a run's folder, or that of one step.
      out: the folder to write.
      dtype: of the parameters; as they were trained if None.
      shard_gb: most GB of tensors in one file.

    Returns:
      Number of files with weights, and their bytes.

    Raises:
      AgentBankError: whatever does not fit; nothing is written then.
    """
    _check_dtype(dtype)
    _check_new(out, "--out")
    if not 0 < shard_gb < math.inf:
        raise AgentBankError(f"--shard_gb={shard_gb}: expected more than 0, and no more than a disk holds.")
    config, params, metadata = load_for_inference(checkpoint, dtype=dtype)
    model_dir, facts = metadata["model_dir"], metadata["facts"]
    tokenizer = _trained_tokenizer(metadata)
    try:
        with whole_folder(out) as folder:
            files = write_checkpoint(
                folder,
                replace(config, param_dtype=dtype or config.param_dtype),
                params,
                bos_id=tokenizer.bos_id,
                stop_ids=facts["stop_ids"],
                shard_bytes=int(shard_gb * 1e9),
            )
            _copy_tokenizer(model_dir, folder)
            return len(files), sum(file.stat().st_size for file in files)
    except OSError as error:
        raise unwritten(out, error.strerror, "choose another folder with --out") from None


def export_adapter(checkpoint: str, out: Path) -> tuple[int, int]:
    """Writes the adapters of a checkpoint alone, in peft's layout, with the tokenizer; their weights are not read.

    Args:
      checkpoint: folder of a run that trained adapters, or that of one step.
      out: the folder to write.

    Returns:
      Number of files with weights, and their bytes.

    Raises:
      AgentBankError: whatever does not fit; nothing is written then.
    """
    _check_new(out, "--out")
    config, adapters, metadata = load_adapters(checkpoint)
    _trained_tokenizer(metadata)
    base = Path(metadata["base"])
    if (base / CONFIG_FILE).is_file() and read_config(base).model.rope_scaling != config.rope_scaling:
        raise AgentBankError(
            f"--adapter: {metadata['path']} was trained with rope_scaling={config.rope_scaling!r}, which the "
            f"config.json of its weights, {base}, does not have: peft would compute something else; export it merged."
        )
    try:
        with whole_folder(out) as folder:
            file = write_adapter(folder, config, adapters, base=metadata["base"])
            _copy_tokenizer(metadata["model_dir"], folder)
            return 1, file.stat().st_size
    except OSError as error:
        raise unwritten(out, error.strerror, "choose another folder with --out") from None


def _trained_tokenizer(metadata: dict[str, Any]) -> Tokenizer:
    tokenizer = Tokenizer.load(metadata["model_dir"])
    if metadata["facts"].get("tokenizer_sha256") != tokenizer.fingerprint:
        raise AgentBankError(
            f"{tokenizer.name}: not the tokenizer with which {metadata['path']} was trained; put that one back."
        )
    return tokenizer


def _choose_template(weights: Path, name: str | None) -> ChatTemplate:
    tokenizer = Tokenizer.load(weights)
    if name is None and tokenizer.settings.chat_template is None:
        raise AgentBankError(
            f"{weights}: its tokenizer has no chat template; say with --template which one the model is to act with: "
            "llama2, codellama or llama3."
        )
    return get_template(name or "hf", tokenizer)


def _model_gin(model: LlamaConfig, weights: Path) -> str:
    """The model's shape for a gin file; how it computes is left to the recipe."""
    lines = [f"LlamaConfig.{name} = {value!r}" for name, value in model.shape_facts.items()]
    lines.append(f"LlamaConfig.max_position_embeddings = {model.max_position_embeddings}")
    return f"# The shape of {weights.name}, as its config.json has it.\n" + "\n".join(lines) + "\n"


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name, file in copied_files(source).items():
        shutil.copyfile(file, target / name)


def _check_dtype(dtype: str | None) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise AgentBankError(f"--dtype={dtype} is no known type.{did_you_mean(dtype, DTYPES)}")


def _check_new(folder: Path, flag: str) -> None:
    if folder.resolve() == Path.cwd():
        raise AgentBankError(f"{flag}={folder}: is the current folder; expected one that does not exist yet.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AgentBankError(f"{folder}: exists already; choose another folder with {flag}, or delete it.")
