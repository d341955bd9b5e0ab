"""The flags that every entry point has; light to import, so that `--help` answers at once."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.errors import AgentBankError
from agentbank_jax.parallel.distributed import DistributedConfig

_GIN_PREFIX = "--gin."


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What the user asked for.

    Fields:
      gin_files: names of gin files, later ones over earlier ones.
      overrides: (gin name, text of the value), applied after all files.
      gin_search_paths: folders looked in for gin files, after the current one.
      allow_imports: whether gin files may import modules that are not this project's.
      model_dir: where the run lives; None means the program's default.
      checkpoint: a checkpoint, or the folder of a run, to start from or to evaluate.
      watch: the folder of a run whose checkpoints are evaluated as they appear.
      watch_newest: of several new ones the newest alone.
      seed: overrides the gin files' seed.
      dry_run: say what would be done, and do nothing.
      distributed: which processes run together.
      allow_change: facts that may differ from those of the checkpoint that a training goes on from.
    """

    gin_files: tuple[str, ...]
    overrides: tuple[tuple[str, str], ...] = ()
    gin_search_paths: tuple[str, ...] = ()
    allow_imports: bool = False
    model_dir: str | None = None
    checkpoint: str | None = None
    watch: str | None = None
    watch_newest: bool = False
    seed: int | None = None
    dry_run: bool = False
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    allow_change: tuple[str, ...] = ()


def parse_command_line(
    program: str,
    description: str,
    arguments: Sequence[str],
    *,
    example: str,
    checkpoint_help: str,
    model_dir_default: str,
    trains: bool = False,
) -> CommandLine:
    """Reads flags.

    Args:
      program: name shown in messages.
      description: first lines of `--help`.
      arguments: `sys.argv[1:]`.
      example: a command shown at the end of `--help`.
      checkpoint_help: what `--checkpoint` means to this program.
      model_dir_default: where it works without `--model_dir`, in words.
      trains: whether it takes the flags of training, or those of watching one.

    Raises:
      AgentBankError: on an unknown or malformed flag, or where no gin file is named.
      SystemExit: after `--help`, with status 0.
    """
    parser = make_parser(program, description, f"example: {example}")
    add = parser.add_argument
    add_gin_flags(parser, "TrainConfig.steps=100")
    add("--model_dir", metavar="FOLDER", help=f"where the run lives (default: {model_dir_default})")
    add("--checkpoint", metavar="PATH", help=checkpoint_help)
    if not trains:
        add("--watch", metavar="MODEL_DIR", help="evaluate every checkpoint of a run that is being trained, until it "
            "ends")  # fmt: skip
        add("--watch_newest", action="store_true", help="with --watch: leave out a checkpoint where a newer one is "
            "there")  # fmt: skip
    add("--seed", type=int, metavar="N", help="seed of weights, data order and episodes")
    add("--dry_run", action="store_true", help="print the plan and end")
    add_distributed_flags(parser)
    if trains:
        add("--allow_change", action="append", metavar="NAME[,NAME…]", help="facts that may differ from those of the "
            "checkpoint to go on from, as the refusal names them; may be repeated")  # fmt: skip

    plain, overrides = split_overrides(arguments)
    known = parse_flags(parser, plain)
    if not known.gin_file:
        raise AgentBankError(f"no gin file is named; for example: {example}")
    return replace(
        gin_command_line(known, overrides),
        model_dir=known.model_dir,
        checkpoint=known.checkpoint,
        watch=None if trains else known.watch,
        watch_newest=not trains and known.watch_newest,
        seed=known.seed,
        dry_run=known.dry_run,
        distributed=DistributedConfig(
            coordinator_address=known.coordinator_address,
            num_processes=known.num_processes,
            process_id=known.process_id,
            initialization_timeout=known.initialization_timeout,
        ),
        allow_change=split_list(known.allow_change or ()) if trains else (),
    )


def add_distributed_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `DistributedConfig`."""
    group = parser.add_argument_group(
        "several hosts", "Found by itself on Cloud TPU, SLURM, Kubernetes and Open MPI; elsewhere for every process:"
    )
    add = group.add_argument
    add("--coordinator_address", metavar="HOST:PORT", help="where process 0 listens; any free port of its host")
    add("--num_processes", type=int, metavar="N", help="how many processes there are; 1 runs alone")
    add("--process_id", type=int, metavar="N", help="which of them this is, from 0")
    add("--initialization_timeout", type=int, metavar="SECONDS", help="within which all must have come up (default: "
        "%(default)s)", default=DistributedConfig.initialization_timeout)  # fmt: skip


def gin_command_line(flags: argparse.Namespace, overrides: tuple[tuple[str, str], ...]) -> CommandLine:
    """What the flags of `add_gin_flags`, parsed, and the overrides of `split_overrides` ask for."""
    return CommandLine(
        gin_files=tuple(flags.gin_file),
        overrides=overrides,
        gin_search_paths=split_list(flags.gin_search_paths),
        allow_imports=flags.allow_imports,
    )


def add_gin_flags(parser: argparse.ArgumentParser, example: str) -> None:
    """Adds `--gin_file`, `--gin.NAME`, `--gin_search_paths` and `--allow_imports`.

    Args:
      parser: gets them.
      example: a binding, for `--help`.
    """
    add = parser.add_argument
    add("--gin_file", action="append", default=[], metavar="NAME", help="a gin file: in the current folder, "
        "in --gin_search_paths, or among the shipped ones; may be repeated")  # fmt: skip
    add("--gin.NAME", dest="gin_override", metavar="VALUE", help=f"bind one gin name, such as --gin.{example}; "
        "after all files")  # fmt: skip
    add("--gin_search_paths", action="append", default=[], metavar="FOLDER[,FOLDER…]",
        help="more folders to look for gin files in")  # fmt: skip
    add("--allow_imports", action="store_true", help="let the gin files import any module, which runs its code: for "
        "files that you trust")  # fmt: skip


def split_list(values: Sequence[str]) -> tuple[str, ...]:
    """Returns the parts of all values of a flag that may be repeated, and joined by commas."""
    return tuple(part for parts in values for part in parts.split(",") if part)


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Takes `--gin.NAME=VALUE` and `--gin.NAME VALUE` out of the arguments."""
    plain: list[str] = []
    overrides: list[tuple[str, str]] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith(_GIN_PREFIX):
            plain.append(argument)
            continue
        name, equals, value = argument.removeprefix(_GIN_PREFIX).partition("=")
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise AgentBankError(f"{argument} has no value; expected --gin.{name}=VALUE.")
            value = following
        overrides.append((name, value))
    return plain, tuple(overrides)
