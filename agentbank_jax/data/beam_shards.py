"""Shards of a token cache made by Apache Beam, on this machine or on many.

The only module that imports Beam. Workers run `make_shard`, as local processes do, so that the cache
is the same. Those of another machine see neither the bank nor the cache: where the runner has a
`--temp_location`, the files of the bank are copied there, and the shards come back from there.
"""

import contextlib
import io
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agentbank_jax.data.shard_workers import ShardJob
from agentbank_jax.data.token_shards import ShardRecipe, ShardSource, TokenShard, make_shard
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.schema import TrajectoryError
from agentbank_jax.whole_files import whole_file

try:
    import apache_beam as beam
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "apache_beam":
        raise
    raise AgentBankError("--runner needs Apache Beam: pip install 'agentbank_jax[beam]'.") from None

# Stands in a shard's place where its rows cannot be used, and says why.
_REFUSED = ".refused"

# Beam would unzip what ends in .gz.
_AS_IT_IS = CompressionTypes.UNCOMPRESSED


class _Work(NamedTuple):
    """A shard for a Beam worker: its rows, where their file is for the worker, and where the shard goes."""

    source: ShardSource
    file: str
    target: str


class BeamRunner:
    """A `ShardMaker` that is a Beam pipeline."""

    def __init__(self, runner: str, options: Sequence[str] = ()) -> None:
        """Checks the runner.

        Args:
          runner: as Beam names it, such as `DirectRunner` or `DataflowRunner`, or a class with its module.
          options: further pipeline options, such as `--temp_location=gs://bucket/temp`.

        Raises:
          AgentBankError: on an unknown runner.
        """
        known = StandardOptions.KNOWN_RUNNER_NAMES
        if "." not in runner and runner.lower() not in {name.lower() for name in known}:
            raise AgentBankError(f"--runner={runner}: Beam knows no such runner.{did_you_mean(runner, known)}")
        self._runner = runner
        self._options = PipelineOptions([f"--runner={runner}", *options])
        place = self._options.view_as(GoogleCloudOptions).temp_location
        self._staging = f"{place.rstrip('/')}/agentbank_jax" if place else None

    def __call__(self, jobs: Sequence[ShardJob], recipe: ShardRecipe) -> Generator[ShardJob, None, None]:
        """Makes the shards; yields all at the end. What a pipeline that failed has made is not made again.

        Raises:
          AgentBankError: where Beam refuses its options, or the pipeline leaves a shard out.
        """
        work = dict(zip(jobs, self._stage(jobs), strict=True))
        left = {job: item for job, item in work.items() if not FileSystems.exists(item.target)}
        if left:
            self._run(list(left.values()), recipe)
        refused = sorted(item.target for item in left.values() if FileSystems.exists(item.target + _REFUSED))
        if refused:
            reason = _get(refused[0] + _REFUSED).decode()
            self._clear(work.values())
            raise TrajectoryError(reason)
        for job, item in work.items():
            self._take(job, item)
            yield job
        self._clear(work.values())

    def _stage(self, jobs: Sequence[ShardJob]) -> Iterator[_Work]:
        for source, folder in jobs:
            if self._staging is None:
                yield _Work(source, str(source.path), str(folder / source.name))
                continue
            # The folder's name holds the key of what the files contain.
            stage = f"{self._staging}/{folder.name.strip('.')}"
            file = f"{stage}/sources/{uuid.uuid5(uuid.NAMESPACE_URL, str(source.path)).hex}-{source.path.name}"
            if not FileSystems.exists(file):
                with source.path.open("rb") as stream:
                    _put(file, stream)
            yield _Work(source, file, f"{stage}/{source.name}")

    def _run(self, work: list[_Work], recipe: ShardRecipe) -> None:
        try:
            pipeline = beam.Pipeline(options=self._options)
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise AgentBankError(f"--runner={self._runner}: Beam refuses it or its options ({reason}).") from None
        # Without a reshuffle all shards would be made by the worker that has listed them.
        shards = pipeline | "Shards" >> beam.Create(work) | "Spread" >> beam.Reshuffle()
        shards | "Tokenise" >> beam.Map(_make, recipe)
        pipeline.run().wait_until_finish()

    def _take(self, job: ShardJob, item: _Work) -> None:
        """Brings a shard into the job's folder."""
        source, folder = job
        if not FileSystems.exists(item.target):
            raise AgentBankError(
                f"{item.target}: the pipeline ended without this shard; expected workers that see this folder, or "
                "--temp_location=gs://… that all can read and write. The same command goes on from the other shards."
            )
        if self._staging is not None:
            with whole_file(folder / source.name) as temporary:
                temporary.write_bytes(_get(item.target))
                TokenShard.from_file(temporary)

    def _clear(self, work: Iterable[_Work]) -> None:
        if self._staging is not None:
            for folder in {item.target.rpartition("/")[0] for item in work}:
                FileSystems.delete([f"{folder}/"])


def _make(work: _Work, recipe: ShardRecipe) -> None:
    path = work.source.path if work.file == str(work.source.path) else _copy_of(work.file)
    try:
        shard = make_shard(replace(work.source, path=path), recipe)
    except TrajectoryError as error:
        # An exception would make the runner try it again.
        reason = str(error).replace(str(path), str(work.source.path))
        _put(work.target + _REFUSED, io.BytesIO(reason.encode()))
    else:
        _put(work.target, io.BytesIO(shard.to_bytes()))


@cache
def _copy_of(file: str) -> Path:
    """Returns this worker's copy of a file, made once."""
    path = Path(tempfile.mkdtemp(dir=_folder_of_copies().name)) / file.rpartition("/")[2]
    with contextlib.closing(FileSystems.open(file, compression_type=_AS_IT_IS)) as stream, path.open("wb") as copy:
        shutil.copyfileobj(stream, copy)
    return path


@cache
def _folder_of_copies() -> "tempfile.TemporaryDirectory[str]":
    """Returns a folder that ends with this worker."""
    return tempfile.TemporaryDirectory(prefix="agentbank_jax-")


def _put(target: str, content: BinaryIO) -> None:
    """Writes a file, which appears under its name only when it is whole."""
    temporary = f"{target}.{uuid.uuid4().hex}"
    with contextlib.closing(FileSystems.create(temporary, compression_type=_AS_IT_IS)) as stream:
        shutil.copyfileobj(content, stream)
    FileSystems.rename([temporary], [target])


def _get(target: str) -> bytes:
    with contextlib.closing(FileSystems.open(target, compression_type=_AS_IT_IS)) as stream:
        return bytes(stream.read())
