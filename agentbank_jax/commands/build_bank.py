"""`python scripts/build_bank.py`: a whole recipe, from sources to shards and the card that describes them."""

import argparse
import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentbank_jax.configuration.command_line import add_gin_flags, gin_command_line, split_overrides
from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.runner_flags import add_runner_flag, check_runner, split_pipeline
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from rich.console import Console

    from agentbank_jax.bank.build import BuildResult
    from agentbank_jax.bank.chunks import ChunkMaker
    from agentbank_jax.bank.environment_recipe import EnvironmentRecipe
    from agentbank_jax.data.tfds_bank import FileFormat

_DESCRIPTION = """\
Builds a bank: trajectories in the released layout, as parquet shards, with a card that describes them.
Without --gin_file: the five starter families, and those --task that have a recipe of their own, such as gsm8k. A
finished task with the same parameters is left as it is; a build that was cut short goes on from what it has made."""
_EXAMPLES = """\
examples:
  python scripts/build_bank.py
  python scripts/build_bank.py --trajectories=50000 --seed=1
  python scripts/build_bank.py --task=gsm8k --input=train.jsonl.gz
  python scripts/build_bank.py --gin_file=bank/textworld_express.gin --workers=4
  python scripts/build_bank.py --tfds
  python scripts/build_bank.py --gin_file=mine.gin --runner=DataflowRunner -- --temp_location=gs://bucket/temp"""


# Of a recipe's file, which file systems limit.
_LONGEST_NAME = 120


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit status.

    Raises:
      AgentBankError: on a user's mistake.
      SystemExit: after `--help`.
    """
    own, of_pipeline = split_pipeline(arguments)
    plain, overrides = split_overrides(own)
    options = _parse(plain)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.bank.build import build
    from agentbank_jax.bank.card import refuse_foreign_card, write_card
    from agentbank_jax.commands.console import make_console
    from agentbank_jax.configuration.bank_configuration import (
        BankRequest,
        read_bank,
        refuse_foreign_recipe,
        write_recipe,
    )
    from agentbank_jax.places import DATA_DIR_VARIABLE, data_place, local_path
    from agentbank_jax.progress import Progress

    if options.tfds:
        # What is missing is said before the hours of a build.
        from agentbank_jax.data.tfds_bank import check_format

        check_format(options.tfds)
    output = local_path(data_place(options.output), "--output" if options.output else DATA_DIR_VARIABLE)
    request = BankRequest(
        tasks=tuple(options.task), trajectories=options.trajectories, seed=options.seed, input_path=options.input
    )
    loader, recipes = read_bank(gin_command_line(options, overrides), request, output)
    maker = _chunk_maker(options, of_pipeline)
    console = make_console()
    if options.dry_run:
        for line in _plan(recipes):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        return 0
    kept_recipe = output / "recipes" / f"{_name(options)}.gin"
    refuse_foreign_card(output)
    refuse_foreign_recipe(kept_recipe)
    try:
        with contextlib.closing(maker), Progress("trajectories") as progress:
            results = build(
                recipes,
                output,
                maker=maker,
                progress=lambda task, rows, wanted: progress(rows / wanted if wanted else 1.0, rows, task),
            )
    except (AgentBankError, KeyboardInterrupt):
        # What was paid is worth knowing then, too.
        _print_costs(console, recipes)
        raise
    write_recipe(kept_recipe, loader)
    card = write_card(output)
    _print_tables(console, results, recipes, output)
    console.print(f"described in {card}", highlight=False, soft_wrap=True, markup=False)
    if options.tfds:
        console.print(_prepare_tfds(output, options.tfds), highlight=False, soft_wrap=True, markup=False)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = make_parser("build_bank.py", _DESCRIPTION, _EXAMPLES)
    add_gin_flags(parser, "starter_math/RecipeConfig.trajectories=500")
    add = parser.add_argument
    add("--task", action="append", default=[], metavar="NAME", help="one of the tasks; may be repeated (default: all)")
    add("--trajectories", type=int, metavar="N", help="in total, split evenly over the tasks; of published data at "
        "most so many (default: what the gin files say)")  # fmt: skip
    add("--input", metavar="FILE", help="the training file of the one task's published data, such as GSM8K's "
        "train.jsonl.gz (default: that in BenchmarkConfig.data_dir, or $AGENTBANK_BENCHMARKS)")  # fmt: skip
    add("--output", metavar="FOLDER", help="the bank (default: $AGENTBANK_DATA_DIR, else ./data)")
    add("--seed", type=int, metavar="N", help="chooses instances and wording (default: what the gin files say)")
    add("--workers", type=int, metavar="N", help="processes (default: 2); the result is the same for any")
    add_runner_flag(parser)
    add("--tfds", nargs="?", const="array_record", metavar="FORMAT", choices=("array_record", "tfrecord"),
        help="prepare all tasks of the bank for TensorFlow Datasets, in <output>/tfds: in array_record, which is read "
        "without TensorFlow, or in tfrecord, which tfds.load reads (default of --tfds: array_record)")  # fmt: skip
    add("--dry_run", action="store_true", help="print the plan and end")
    return parse_flags(parser, arguments)


def _chunk_maker(options: argparse.Namespace, of_pipeline: Sequence[str]) -> "ChunkMaker":
    check_runner(options.runner, options.workers, of_pipeline)
    if not options.runner:
        from agentbank_jax.bank.chunks import LocalChunks

        return LocalChunks(2 if options.workers is None else options.workers)
    from agentbank_jax.bank.beam_chunks import BeamChunks

    return BeamChunks(options.runner, of_pipeline)


def _prepare_tfds(output: Path, file_format: "FileFormat") -> str:
    """Prepares all tasks of a bank for TFDS; returns what to tell of it."""
    from agentbank_jax.bank.staging import built_tasks
    from agentbank_jax.data.tfds_bank import FOLDER, prepare
    from agentbank_jax.progress import Progress

    manifests = {task: manifest for task, manifest in built_tasks(output).items() if manifest is not None}
    with Progress("trajectories prepared") as progress:
        prepared = prepare(
            output,
            manifests,
            file_format=file_format,
            progress=lambda task, rows, wanted: progress(rows / wanted, rows, task),
        )
    empty = [task for task, manifest in manifests.items() if not manifest["rows"]]
    left_out = f"; without trajectories, so left out: {', '.join(empty)}" if empty else ""
    return (
        f"for TFDS, as {file_format}, in {output / FOLDER}: {len(prepared)} tasks prepared, "
        f"{len(manifests) - len(empty) - len(prepared)} as they were{left_out}"
    )


def _name(options: argparse.Namespace) -> str:
    """What the recipe that is kept beside the bank is called: a part of a file's tasks is another recipe."""
    files, tasks = [Path(name).stem for name in options.gin_file], options.task
    name = "+".join(files + tasks) or "starter"
    if len(name) <= _LONGEST_NAME:
        return name
    return "+".join([*files, f"{len(tasks)}_tasks", hashlib.sha256(name.encode()).hexdigest()[:8]])


def _plan(recipes: "Sequence[EnvironmentRecipe]") -> list[str]:
    lines = []
    for recipe in recipes:
        facts = recipe.parameters()
        source = "problems without end" if recipe.candidates is None else f"{recipe.candidates:,} problems"
        wanted = "all" if recipe.wanted is None else f"{recipe.wanted:,}"
        lines.append(
            f"{recipe.task} ({facts['skill']}, {facts['action_space']}): {wanted} of {source} of {recipe.environment}, "
            f"by {type(recipe.annotator).__name__}, Thoughts by {type(recipe.rationales).__name__}, "
            f"filters: {', '.join(each['filter'] for each in facts['filters']) or 'none'}"
        )
    return lines


def _print_tables(
    console: "Console", results: "Sequence[BuildResult]", recipes: "Sequence[EnvironmentRecipe]", output: Path
) -> None:
    from rich.table import Table

    # Turns are the assistant's, on average.
    table = Table("task", "trajectories", "turns", "dropped", "seconds", title=f"in {output}", title_justify="left")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for result in results:
        mean = result.assistant_turns / result.rows if result.rows else 0.0
        state = "as it was" if result.reused else f"{result.seconds:.1f}"
        dropped = sum(result.drops.values())
        table.add_row(result.task, f"{result.rows:,}", f"{mean:.2f}", f"{dropped:,}", state)
    console.print(table)
    reasons = Table("task", "dropped because", "candidates", "share")
    for result in results:
        candidates = result.rows + sum(result.drops.values())
        for reason, count in sorted(result.drops.items(), key=lambda pair: (-pair[1], pair[0])):
            reasons.add_row(result.task, reason, f"{count:,}", f"{100 * count / candidates:.2f} %")
    if reasons.row_count:
        console.print(reasons)
        console.print("Each is listed in the drops.jsonl beside the shards.")
    else:
        console.print("Nothing was dropped.")
    _print_costs(console, recipes)


def _print_costs(console: "Console", recipes: "Sequence[EnvironmentRecipe]") -> None:
    for line in _costs(recipes):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _costs(recipes: "Sequence[EnvironmentRecipe]") -> list[str]:
    """What language models have cost these tasks, over all builds with their caches."""
    teachers = [getattr(part, "teacher", None) for each in recipes for part in (each.annotator, each.rationales)]
    lines = []
    for path, account in dict.fromkeys((each.cache, each.account) for each in teachers if each is not None):
        if not path.exists():  # a finished bank needs none
            continue
        from agentbank_jax.bank.forcing.call_cache import CallCache

        with contextlib.closing(CallCache(path)) as cache:
            cost = cache.costs().get(account)
        if cost is not None:
            lines.append(
                f"{account}: {cost.requests:,} requests, {cost.prompt_tokens:,} tokens told, "
                f"{cost.completion_tokens:,} written; {cost.cached:,} replies from the cache {path}, in all its builds"
            )
    return lines
