"""Shards of a token cache made by Apache Beam, on this machine or on many.

Workers run `make_shard`, as local processes do, so that the cache
is the same. Those of another machine see neither the bank nor the cache: where the runner has a
`--temp_location`, the files of the bank are copied there, and the shards come back from there.
"""

import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from agentbank_jax.beam_pipeline import BeamPipeline, delete_folder, is_file, open_file, read_file, write_file
from agentbank_jax.data.shard_workers import ShardJob
from agentbank_jax.data.token_shards import ShardRecipe, ShardSource, TokenShard, make_shard
from agentbank_jax.trajectories.schema import TrajectoryError
from agentbank_jax.whole_files import whole_file


class _Work(NamedTuple):
    """A shard for a Beam worker: its rows, where their file is for the worker, and where the shard goes."""

    source: ShardSource
    file: str
    target: str


class BeamRunner:
    """A `ShardMaker` that is a Beam pipeline."""

    def __init__(self, runner: str, options: Sequence[str] = ()) -> None:
        """Checks the runner; arguments and errors as of `BeamPipeline`."""
        self._pipeline = BeamPipeline(runner, options)

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]:
        """Makes the shards; yields all at the end. What a pipeline that failed has made is not made again.

        Raises:
          TrajectoryError: on rows that cannot be used.
          AgentBankError: where Beam refuses its options, or the pipeline leaves a shard out.
        """
        work = dict(zip(jobs, self._stage(jobs), strict=True))
        refusal = self._pipeline.make_files(list(work.values()), partial(_make, recipe=recipe), kind="shard")
        if refusal is not None:
            self._clear(work.values())
            raise TrajectoryError(refusal)
        for job, item in work.items():
            self._take(job, item)
            yield job
        self._clear(work.values())

    def _stage(self, jobs: Sequence[ShardJob]) -> Iterator[_Work]:
        if not self._pipeline.is_staged:
            for source, folder in jobs:
                yield _Work(source, str(source.path), str(folder / source.name))
            return
        # A folder's name holds the key of what its files contain.
        stages = {folder: self._pipeline.stage(folder.name.strip(".")) for folder in {folder for _, folder in jobs}}
        for source, folder in jobs:
            stage = stages[folder]
            file = f"{stage}/sources/{uuid.uuid5(uuid.NAMESPACE_URL, str(source.path)).hex}-{source.path.name}"
            if not is_file(file):
                with source.path.open("rb") as stream:
                    write_file(file, stream)
            yield _Work(source, file, f"{stage}/{source.name}")

    def _take(self, job: ShardJob, item: _Work) -> None:
        """Brings a shard into the job's folder."""
        source, folder = job
        if self._pipeline.is_staged:
            with whole_file(folder / source.name) as temporary:
                temporary.write_bytes(read_file(item.target))
                TokenShard.from_file(temporary)

    def _clear(self, work: Iterable[_Work]) -> None:
        if self._pipeline.is_staged:
            for folder in {item.target.rpartition("/")[0] for item in work}:
                delete_folder(folder)


def _make(work: _Work, recipe: ShardRecipe) -> bytes:
    path = work.source.path if work.file == str(work.source.path) else _copy_of(work.file)
    try:
        return make_shard(replace(work.source, path=path), recipe).to_bytes()
    except TrajectoryError as error:
        raise TrajectoryError(str(error).replace(str(path), str(work.source.path))) from None


@cache
def _copy_of(file: str) -> Path:
    """Returns this worker's copy of a file, made once."""
    path = Path(tempfile.mkdtemp(dir=_folder_of_copies().name)) / file.rpartition("/")[2]
    with open_file(file) as stream, path.open("wb") as copy:
        shutil.copyfileobj(stream, copy)
    return path


@cache
def _folder_of_copies() -> "tempfile.TemporaryDirectory[str]":
    """Returns a folder that ends with this worker."""
    return tempfile.TemporaryDirectory(prefix="agentbank_jax-")
