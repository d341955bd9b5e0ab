"""`python scripts/compile_topology.py`: whether a recipe fits a TPU pod, known before the pod is rented."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentbank_jax.configuration.command_line import add_gin_flags, gin_command_line, split_overrides
from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from agentbank_jax.parallel.topology import Topology
    from agentbank_jax.training.compiled import CompiledStep

DOES_NOT_FIT = 1

_DESCRIPTION = """\
Compiles the training step of gin files for a TPU topology, with the TPU's own compiler, on a host without
TPUs. Neither weights nor data are needed. Prints what each chip holds, computes and sends, and whether it fits;
the exit status is 1 where it does not. Needs: pip install 'agentbank_jax[topology]'"""
_EXAMPLES = """\
examples:
  python scripts/compile_topology.py --gin_file=samoyed_7b.gin --topology=v5e-16
  python scripts/compile_topology.py --gin_file=samoyed_13b.gin --topology=v5p:2x2x4 --search"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    parser = make_parser("compile_topology.py", _DESCRIPTION, _EXAMPLES)
    add_gin_flags(parser, "LlamaConfig.remat=\"'full'\"")
    add = parser.add_argument
    add("--topology", required=True, metavar="NAME", help="as Cloud TPU calls it (v5e-16, v5p-8, v6e-256; a v5p's "
        "number counts cores, two a chip) or as the compiler does (v5e:4x4, v5p:2x2x1)")  # fmt: skip
    add("--search", action="store_true", help="find the largest batch that fits, and the rematerialisation that costs "
        "least for it")  # fmt: skip
    add("--json", metavar="FILE", help="write the figures as JSON too; - prints nothing else")
    plain, overrides = split_overrides(arguments)
    options = parse_flags(parser, plain)
    if not options.gin_file:
        raise AgentBankError("no gin file is named; for example: --gin_file=samoyed_7b.gin")
    # Imported only now: --help need not wait for them.
    import jax

    from agentbank_jax.configuration.configuration import read_gin, read_training
    from agentbank_jax.parallel.topology import parse_topology

    topology = parse_topology(options.topology)
    # The pod is another host's: here the arrays that tracing needs are the CPU's.
    jax.config.update("jax_platforms", "cpu")
    read_gin(gin_command_line(options, overrides))
    training = read_training()

    from agentbank_jax.commands.topology_search import compile_recipe, search_recipe

    quiet = options.json == "-"
    if not quiet:
        slices = f"{training.mesh.slices} slices of " if training.mesh.slices > 1 else ""
        print(f"topology          {slices}{topology}", flush=True)
    if options.search:
        steps, best = search_recipe(training, topology, _Progress())
    else:
        best = compile_recipe(training, topology)
        steps = (best,)
    if not quiet:
        _print(best, options.search)
    if options.json:
        _write_json(options.json, topology, training.mesh.slices, steps, best)
    return 0 if best and best.fits else DOES_NOT_FIT


class _Progress:
    """Tells on the error output how a search goes on, a line a step."""

    def begins(self, policy: str, batch_size: int) -> None:
        print(f"{policy:10} {batch_size:6,} rows: ", end="", file=sys.stderr, flush=True)

    def ends(self, step: "CompiledStep") -> None:
        print(f"{step.verdict()} ({step.seconds:.0f} s)", file=sys.stderr, flush=True)


def _print(best: "CompiledStep | None", search: bool) -> None:
    if best is None:
        print(
            "verdict           no batch fits with any rematerialisation: take a larger topology or a mesh of more parts"
        )
        return
    if search:
        print(
            f"found             --gin.TrainConfig.batch_size={best.batch_size} "
            f"--gin.TrainConfig.accumulate={best.accumulate} --gin.LlamaConfig.remat=\"'{best.remat}'\""
        )
    print("mesh              " + " x ".join(f"{name}={size}" for name, size in best.mesh.items()))
    print(
        f"tokens per step   {best.batch_size * best.length:,}: {best.batch_size} rows of {best.length:,}, "
        f"{best.accumulate} micro-batch{'es' if best.accumulate > 1 else ''}"
    )
    for line in best.lines():
        print(line)


def _write_json(
    file: str, topology: "Topology", slices: int, steps: "Sequence[CompiledStep]", best: "CompiledStep | None"
) -> None:
    from agentbank_jax.whole_files import write_output

    text = json.dumps(
        {
            "topology": topology.cloud_name,
            "compiler_name": topology.compiler_name,
            "chips": topology.chips * slices,
            "slices": slices,
            "best": best.to_json() if best else None,
            "steps": [step.to_json() for step in steps],
        },
        indent=1,
    )
    if file == "-":
        print(text)
        return
    write_output("--json", file, text + "\n")
