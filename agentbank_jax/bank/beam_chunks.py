"""Chunks of candidates made by Apache Beam, on this machine or on many.

Workers of another machine do not see the bank: where the runner has a `--temp_location`, the chunks come from there.
Published data, and engines, they have of their own, and each first proves that they are the same.
"""

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from agentbank_jax.bank.chunks import Chunk, to_bytes
from agentbank_jax.bank.environment_recipe import EnvironmentRecipe
from agentbank_jax.bank.recipe import Recipe
from agentbank_jax.beam_pipeline import BeamPipeline, delete_folder, is_file, read_file
from agentbank_jax.errors import AgentBankError
from agentbank_jax.whole_files import whole_file

# Recipes that this worker has found to be as they are where the pipeline was started.
_proven: set[str] = set()


class _Work(NamedTuple):
    """A chunk for a Beam worker, and where its file goes."""

    chunk: Chunk
    target: str


class BeamChunks:
    """A `ChunkMaker` that is a Beam pipeline. The chunks are those of `LocalChunks`."""

    def __init__(self, runner: str, options: Sequence[str] = ()) -> None:
        """Checks the runner; arguments and errors as of `BeamPipeline`."""
        self._pipeline = BeamPipeline(runner, options)

    def __call__(self, recipe: Recipe, chunks: Sequence[Chunk], folder: Path) -> Generator[Chunk, None, None]:
        """Makes those chunks that have no file yet; yields all at the end. See `ChunkMaker`.

        Raises:
          AgentBankError: where Beam refuses its options, the recipe or a worker cannot go on, or the pipeline leaves a
            chunk out. What was made by then stays.
        """
        missing = [chunk for chunk in chunks if not (folder / chunk.name).exists()]
        if missing:
            self._make(recipe, missing, folder.absolute())
        yield from chunks

    def close(self) -> None:
        """Nothing goes on between calls."""

    def _make(self, recipe: Recipe, chunks: Sequence[Chunk], folder: Path) -> None:
        parameters = recipe.written_parameters()
        stage = self._pipeline.stage(_key(parameters)) if self._pipeline.is_staged else str(folder)
        work = [_Work(chunk, f"{stage}/{chunk.name}") for chunk in chunks]
        refusal = self._pipeline.make_files(
            work, partial(_content, recipe=recipe, parameters=parameters), kind="chunk", at_once=recipe.at_once
        )
        if self._pipeline.is_staged:
            for chunk, target in work:
                if refusal is None or is_file(target):
                    with whole_file(folder / chunk.name) as temporary:
                        temporary.write_bytes(read_file(target))
            delete_folder(stage)
        if refusal is not None:
            raise AgentBankError(refusal)


def _content(work: _Work, recipe: Recipe, parameters: Mapping[str, Any]) -> bytes:
    return _maker().submit(_make_here, work.chunk, recipe, parameters).result()


@cache
def _maker() -> ThreadPoolExecutor:
    """The one thread of this process that makes chunks: Beam's are many, and engines are for one at a time."""
    return ThreadPoolExecutor(1)


def _make_here(chunk: Chunk, recipe: Recipe, parameters: Mapping[str, Any]) -> bytes:
    key = _key(parameters)
    if key not in _proven:
        _prove(recipe, parameters)
        _proven.add(key)
    return to_bytes(recipe.make(chunk.start, chunk.stop))


def _prove(recipe: Recipe, parameters: Mapping[str, Any]) -> None:
    """Checks that a worker has the data, code and engine of the machine where the pipeline was started."""
    here = recipe.written_parameters()
    differing = sorted(name for name in {*here, *parameters} if here.get(name) != parameters.get(name))
    if differing:
        raise AgentBankError(
            f"{recipe.task}: a worker finds other {' and '.join(differing)} than the machine where the pipeline was "
            "started; expected the same published data in folders of the same names, and the same version of the code, "
            "on all of them."
        )
    if isinstance(recipe, EnvironmentRecipe):
        spec = recipe.spec
        if (missing := spec.missing_engine()) is not None:
            raise AgentBankError(f"{recipe.task}: {spec.name} cannot run on a worker: {missing}.")


def _key(parameters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:32]
