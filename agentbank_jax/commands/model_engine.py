"""What the commands that generate have in common: flags that name a model, and the engine made of it."""

import argparse
from typing import TYPE_CHECKING

from agentbank_jax.errors import AgentBankError, did_you_mean

if TYPE_CHECKING:
    from agentbank_jax.generation.engine import Engine
    from agentbank_jax.serving.served_model import ServedModel

WEIGHTS = ("stored", "int8")


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `load_engine` reads."""
    add = parser.add_argument
    add("--checkpoint", metavar="PATH", help="a run's folder, of which the last checkpoint is taken, RUN@best, the "
        "folder of one step, or of a Hugging Face checkpoint, or of an adapter of peft")  # fmt: skip
    add("--adapter", metavar="FOLDER", help="a LoRA adapter in peft's layout for a Hugging Face checkpoint")
    add("--template", metavar="NAME", help="chat template of a Hugging Face checkpoint: llama2, codellama, llama3 or "
        "hf (default: hf, its own)")  # fmt: skip
    add("--dtype", metavar="TYPE", help="of the parameters: float32, bfloat16 or float16 (default: as stored)")
    add("--weights", default="stored", metavar="KIND", help="int8 keeps the kernels in int8 (default: stored)")
    add("--tensor", type=int, default=1, metavar="N", help="devices over which heads and columns are divided "
        "(default: 1)")  # fmt: skip
    add("--fsdp", type=int, default=1, metavar="N", help="devices over which parameters are divided, and gathered "
        "where they are used (default: 1)")  # fmt: skip
    add("--max_length", type=int, metavar="N", help="tokens of the longest conversation (default: the model's)")


def check_model_flags(options: argparse.Namespace) -> None:
    """Checks what can be known before JAX is imported.

    Raises:
      AgentBankError: a number below 1, or unknown weights.
    """
    for name in ("tensor", "fsdp"):
        if getattr(options, name) < 1:
            raise AgentBankError(f"--{name}={getattr(options, name)}: expected at least 1.")
    if options.weights not in WEIGHTS:
        raise AgentBankError(f"--weights={options.weights} is no known kind.{did_you_mean(options.weights, WEIGHTS)}")


def load_engine(options: argparse.Namespace, *, slots: int, name: str | None = None) -> "tuple[Engine, ServedModel]":
    """Loads the model that the flags name, and makes an engine that uses it up.

    Raises:
      AgentBankError: it cannot be read, does not fit the flags, or there are too few devices.
    """
    import jax

    from agentbank_jax.generation.engine import Engine
    from agentbank_jax.parallel.mesh import MeshConfig, make_mesh
    from agentbank_jax.serving.served_model import load_served_model
    from agentbank_jax.training.compilation_cache import enable_compilation_cache

    count = options.tensor * options.fsdp
    if count > len(jax.devices()):
        raise AgentBankError(
            f"--tensor={options.tensor} --fsdp={options.fsdp} take {count} devices; expected no more than the "
            f"{len(jax.devices())} that are here."
        )
    mesh = make_mesh(MeshConfig(fsdp=options.fsdp, tensor=options.tensor), jax.devices()[:count])
    enable_compilation_cache()
    model = load_served_model(
        options.checkpoint,
        name=name,
        adapter=options.adapter,
        template=options.template,
        dtype=options.dtype,
        mesh=mesh,
    )
    engine = Engine(
        model.config,
        model.params,
        stop_ids=model.template.stop_ids,
        tokenizer=model.tokenizer,
        slots=slots,
        max_length=options.max_length,
        weights="int8" if options.weights == "int8" else "",
        consume=True,
        mesh=mesh if count > 1 else None,
    )
    return engine, model
