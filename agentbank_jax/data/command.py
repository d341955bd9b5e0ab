"""The commands about data: `train_vocabulary.py`, `cache_tasks.py` and `inspect_mixture.py`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentbank_jax.configuration.command_line import add_gin_flags, gin_command_line, split_overrides
from agentbank_jax.configuration.flag_parser import make_parser, parse_flags
from agentbank_jax.configuration.runner_flags import add_runner_flag, check_runner, split_pipeline
from agentbank_jax.errors import AgentBankError

if TYPE_CHECKING:
    from pathlib import Path

    from agentbank_jax.data.shard_workers import ShardMaker
    from agentbank_jax.data.token_cache import TokenCache
    from agentbank_jax.trajectories.templates.registry import ChatTemplate


def train_vocabulary(arguments: Sequence[str]) -> int:
    """Trains the vocabulary of a mixture; returns the exit status."""
    parser = _parser("train_vocabulary.py", "Trains a SentencePiece vocabulary on the trajectories of a mixture.")
    parser.add_argument("--vocab_size", type=int, default=3500, metavar="N", help="pieces (default: 3500)")
    parser.add_argument("--out", metavar="FILE", help="default: vocabulary/<mixture>.model in the data folder")
    options = _parse(parser, arguments)
    # Imported only now: --help need not wait for them.
    from agentbank_jax.data.vocabularies import train_mixture_vocabulary, vocabulary_path
    from agentbank_jax.places import local_path

    begin = time.perf_counter()
    out = local_path(options.out, "--out") if options.out else vocabulary_path(options.mixture, options.data_dir)
    tokenizer = train_mixture_vocabulary(options.mixture, options.data_dir, vocab_size=options.vocab_size, out=out)
    print(f"{out}: {tokenizer.vocab_size:,} pieces in {time.perf_counter() - begin:.1f} s")
    return 0


def cache_tasks(arguments: Sequence[str]) -> int:
    """Makes the token cache of a mixture; returns the exit status."""
    parser = _parser("cache_tasks.py", "Tokenises the trajectories of a mixture, as training would at its start.\n"
        "What was cut short goes on from the shards that are complete.")  # fmt: skip
    _add_tokens(parser)
    add = parser.add_argument
    add("--workers", type=int, metavar="N", help="processes (default: one for each core, or none where there is little "
        "to do); the cache is the same for any")  # fmt: skip
    add_runner_flag(parser)
    own, of_pipeline = split_pipeline(arguments)
    options = _parse(parser, own)
    begin = time.perf_counter()
    cache, _ = _open_cache(options, _shard_maker(options, of_pipeline))
    print(f"{len(cache):,} trajectories, {int(cache.lengths.sum()):,} tokens in {time.perf_counter() - begin:.1f} s")
    if cache.too_long():
        print(f"{cache.too_long()} (--over_long={options.over_long})")
    return 0


def _shard_maker(options: argparse.Namespace, of_pipeline: Sequence[str]) -> "ShardMaker":
    check_runner(options.runner, options.workers, of_pipeline)
    if not options.runner:
        from agentbank_jax.data.shard_workers import LocalWorkers

        return LocalWorkers(options.workers)
    from agentbank_jax.data.beam_shards import BeamRunner

    return BeamRunner(options.runner, of_pipeline)


def inspect_mixture(arguments: Sequence[str]) -> int:
    """Shows what a mixture holds; returns the exit status."""
    parser = _parser(
        "inspect_mixture.py",
        "Shows a mixture's rates, counts, token statistics, lengths, packing and contamination, and\n"
        "examples as the model sees them: trained tokens stand in \u27e6 \u27e7.",
    )
    _add_tokens(parser)
    add = parser.add_argument
    add("--pack_length", type=int, action="append", metavar="N", help="tokens of a row for which the packing is shown; "
        "may be repeated (default: --max_length)")  # fmt: skip
    add("--examples", type=int, default=1, metavar="N", help="of each task (default: 1)")
    add("--seed", type=int, default=0, metavar="N", help="chooses the examples and the order packed (default: 0)")
    add("--html", metavar="FILE", help="write all of it as one HTML page too")
    add("--json", metavar="FILE", help="write all of it as JSON too")
    options = _parse(parser, arguments)
    if options.seed < 0:
        raise AgentBankError(f"--seed={options.seed}: expected 0 or more.")
    cache, template = _open_cache(options)

    import json

    from rich.console import Console
    from rich.text import Text

    from agentbank_jax.data.inspection import inspect_cache
    from agentbank_jax.data.inspection_page import to_html
    from agentbank_jax.data.inspection_text import render
    from agentbank_jax.whole_files import write_output

    inspection = inspect_cache(
        cache,
        template,
        lengths=options.pack_length or [options.max_length],
        examples=options.examples,
        seed=options.seed,
    )
    # No figure is cut: not in a file, nor in a narrow terminal, which breaks the lines itself.
    console = Console(width=max(_LEAST_WIDTH, Console().width if sys.stdout.isatty() else 0), highlight=False)
    for part in render(inspection):
        # Long lines of texts are the terminal's to break.
        console.print(part, soft_wrap=isinstance(part, Text))
    for name, path, content in (
        ("html", options.html, to_html),
        ("json", options.json, lambda inspection: json.dumps(inspection.to_json(), indent=1, ensure_ascii=False)),
    ):
        if path:
            write_output(f"--{name}", path, content(inspection))
            console.print(f"{name}: {path}", soft_wrap=True, markup=False)
    return 0


# The widest table of an inspection, which holds all that is known of the counts.
_LEAST_WIDTH = 120

# What a gin file may say in a flag's place, and the values where neither says anything.
_DEFAULTS = {
    "mixture": "starter",
    "data_dir": None,
    "tokenizer": None,
    "template": "llama2",
    "train_on": "all",
    "train_thoughts": True,
    "max_length": 1024,
    "over_long": "drop",
    "cache_dir": None,
}


def _parser(program: str, description: str) -> argparse.ArgumentParser:
    parser = make_parser(program, description, f"example: python scripts/{program} --mixture=starter")
    add_gin_flags(parser, "DataConfig.mixture=starter")
    parser.add_argument("--mixture", metavar="NAME", help="a mixture or task (default: what the gin files say, else "
        "starter; so for all flags of the data)")  # fmt: skip
    parser.add_argument(
        "--data_dir",
        metavar="FOLDER",
        help="where the bank is, a folder or gs://… (default: $AGENTBANK_DATA_DIR, else ./data)",
    )
    return parser


def _add_tokens(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tokenizer", metavar="PATH", help="a SentencePiece model, a tokenizer.json or a checkpoint's folder "
        "(default: vocabulary/<mixture>.model in the data folder)")  # fmt: skip
    add("--template", metavar="NAME", help="a chat template: llama2, codellama, llama3 or hf, the "
        "checkpoint's own (default: llama2)")  # fmt: skip
    add("--train_on", metavar="TURNS", help="which assistant turns are trained: all, or the last "
        "(default: all)")  # fmt: skip
    add("--train_thoughts", action=argparse.BooleanOptionalAction, help="whether Thoughts are trained (default: yes)")
    add("--max_length", type=int, metavar="N", help="tokens of a packed row (default: 1024)")
    add("--over_long", metavar="POLICY", help="what becomes of longer trajectories: drop, "
        "truncate_at_turn or split_at_turn (default: drop)")  # fmt: skip
    add("--cache_dir", metavar="FOLDER", help="default: token_cache in the data folder")


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    plain, overrides = split_overrides(arguments)
    options = parse_flags(parser, plain)
    given = {name: value for name in _DEFAULTS if (value := getattr(options, name, None)) is not None}
    if options.gin_file or overrides:
        given = _with_gin(options, overrides, given)
    for name, default in _DEFAULTS.items():
        setattr(options, name, given.get(name, default))
    from agentbank_jax.data.declarations import get_mixture, get_task
    from agentbank_jax.data.remote import fetch_tasks
    from agentbank_jax.places import data_place

    # An unknown name is the first thing to say, before any file that is missing on its account.
    tasks = [get_task(name) for name in get_mixture(options.mixture).rates]
    options.data_dir = fetch_tasks(data_place(options.data_dir), tasks)
    return options


def _with_gin(
    options: argparse.Namespace, overrides: tuple[tuple[str, str], ...], given: dict[str, Any]
) -> dict[str, Any]:
    """Returns the values of gin's `DataConfig`, flags before bindings."""
    # They bring the trainer, which the other commands about data need not wait for.
    from agentbank_jax.configuration import bindings
    from agentbank_jax.configuration.configuration import read_data, read_gin
    from agentbank_jax.configuration.run_config import DataConfig

    read_gin(
        gin_command_line(options, overrides),
        unused_macros=True,
    )
    values = dict(given)
    if "tokenizer" in given:
        # A flag's path begins at the current folder, gin's at the data folder.
        values["tokenizer"] = os.path.abspath(given["tokenizer"])
    for name in ("mixture", "tokenizer"):
        if name not in values and not bindings.is_bound(DataConfig, name):
            values[name] = _DEFAULTS[name] or ""
    data = read_data(**values)
    tokenizer = data.tokenizer_path() if data.tokenizer else None
    return {**vars(data), "data_dir": data.data_place(), "cache_dir": data.cache_path(), "tokenizer": tokenizer}


def _open_cache(options: argparse.Namespace, make: "ShardMaker | None" = None) -> "tuple[TokenCache, ChatTemplate]":
    from agentbank_jax.data.declarations import get_mixture, get_task
    from agentbank_jax.data.sources import task_files
    from agentbank_jax.data.token_cache import build_cache
    from agentbank_jax.data.vocabularies import vocabulary_path
    from agentbank_jax.places import local_path
    from agentbank_jax.progress import Progress
    from agentbank_jax.trajectories.templates.registry import TemplateOptions, get_template
    from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer

    cache_dir = local_path(options.cache_dir, "--cache_dir") if options.cache_dir else options.data_dir / "token_cache"
    for name in get_mixture(options.mixture).rates:
        task_files(get_task(name), options.data_dir)
    path = options.tokenizer or vocabulary_path(options.mixture, options.data_dir)
    if not options.tokenizer and not os.path.isfile(path):
        raise AgentBankError(_missing_vocabulary(path, options))
    chosen = TemplateOptions(train_on=options.train_on, train_thoughts=options.train_thoughts)
    template = get_template(options.template, Tokenizer.load(path), chosen)
    with Progress("trajectories tokenised") as progress:
        cache = build_cache(
            options.mixture,
            template,
            max_length=options.max_length,
            data_dir=options.data_dir,
            cache_dir=cache_dir,
            over_long=options.over_long,
            make=make,
            progress=progress,
        )
    return cache, template


def _missing_vocabulary(path: "Path", options: argparse.Namespace) -> str:
    others = ", ".join(map(str, sorted(path.parent.glob("*.model"))))
    return (
        f"{path}: no tokenizer, which the mixture '{options.mixture}' expects there; train it with: python "
        f"scripts/train_vocabulary.py --mixture={options.mixture} --data_dir={options.data_dir}, or name one with "
        f"--tokenizer=PATH{f' (found: {others})' if others else ''}."
    )
