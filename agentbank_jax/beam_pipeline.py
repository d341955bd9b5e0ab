"""Files that the workers of an Apache Beam pipeline make, on this machine or on many.

The only module that imports Beam. Workers of another machine do not see this one's folders: where the runner has a
`--temp_location`, they leave their files there.
"""

import contextlib
import io
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol, TypeVar

from agentbank_jax.errors import AgentBankError, did_you_mean, first_line

try:
    import apache_beam as beam
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import (
        DirectOptions,
        GoogleCloudOptions,
        PipelineOptions,
        StandardOptions,
    )
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "apache_beam":
        raise
    raise AgentBankError("--runner needs Apache Beam: pip install 'agentbank_jax[beam]'.") from None

# Stands in a file's place where it cannot be made, and says why.
_REFUSED = ".refused"

# Beam would unzip what ends in .gz.
_AS_IT_IS = CompressionTypes.UNCOMPRESSED


class FileWork(Protocol):
    """A file for a worker to make; its `target` is where it goes."""

    @property
    def target(self) -> str: ...


Work = TypeVar("Work", bound=FileWork)


class BeamPipeline:
    """A runner of Beam with its options, for as many pipelines as are wanted."""

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
        self._flags = [f"--runner={runner}", *options]
        self._place = PipelineOptions(self._flags).view_as(GoogleCloudOptions).temp_location

    @property
    def is_staged(self) -> bool:
        """Whether workers leave their files in a temporary location."""
        return bool(self._place)

    def stage(self, key: str) -> str:
        """Makes a folder in the temporary location.

        Args:
          key: its name, the same for the same files.

        Raises:
          AgentBankError: where it cannot be written.
        """
        folder = f"{self._place.rstrip('/')}/agentbank_jax/{key}"
        try:
            write_file(f"{folder}/.writable", io.BytesIO())
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(first_line(error).split())
            raise AgentBankError(f"--temp_location={self._place}: cannot be written ({reason}).") from None
        return folder

    def make_files(
        self, work: Sequence[Work], make: Callable[[Work], bytes], *, kind: str, at_once: int | None = None
    ) -> str | None:
        """Lets workers make those files that are not there yet.

        Args:
          work: the files.
          make: sent to the workers; gives what a file holds, or raises `AgentBankError`, after which it is not tried
            again.
          kind: what a file is called in messages.
          at_once: the most worker processes of the direct runner.

        Returns:
          Why the first of those that could not be made was not; None where all are there.

        Raises:
          AgentBankError: where Beam refuses its options, or the pipeline leaves a file out.
        """
        left = [item for item in work if not FileSystems.exists(item.target)]
        # Of a pipeline whose end nobody has seen.
        _delete([item.target + _REFUSED for item in left])
        if left:
            self._run(left, make, at_once)
        refused = sorted(name for item in left if FileSystems.exists(name := item.target + _REFUSED))
        if refused:
            reason = read_file(refused[0]).decode()
            _delete(refused)
            return reason
        for item in left:
            if not FileSystems.exists(item.target):
                raise AgentBankError(
                    f"{item.target}: the pipeline ended without this {kind}; expected workers that see this folder, or "
                    f"--temp_location=gs://… that all can read and write. The same command goes on from the other "
                    f"{kind}s."
                )
        return None

    def _run(self, work: Sequence[Work], make: Callable[[Work], bytes], at_once: int | None) -> None:
        options = PipelineOptions(self._flags)
        if at_once is not None:
            direct = options.view_as(DirectOptions)
            # 0 is one for each core.
            direct.direct_num_workers = min(direct.direct_num_workers or os.cpu_count() or 1, at_once)
        try:
            pipeline = beam.Pipeline(options=options)
        except (ImportError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise AgentBankError(f"--runner={self._runner}: Beam refuses it or its options ({reason}).") from None
        # Without a reshuffle all files would be made by the worker that has listed them.
        files = pipeline | "Files" >> beam.Create(list(work)) | "Spread" >> beam.Reshuffle()
        files | "Make" >> beam.Map(_write, make)
        pipeline.run().wait_until_finish()


def _write(work: Work, make: Callable[[Work], bytes]) -> None:
    try:
        content = make(work)
    except AgentBankError as error:
        # An exception would make the runner try it again.
        write_file(work.target + _REFUSED, io.BytesIO(str(error).encode(errors="backslashreplace")))
    else:
        write_file(work.target, io.BytesIO(content))


def write_file(target: str, content: BinaryIO) -> None:
    """Writes a file, which appears under its name only when it is whole."""
    temporary = f"{target}.{uuid.uuid4().hex}"
    with contextlib.closing(FileSystems.create(temporary, compression_type=_AS_IT_IS)) as stream:
        shutil.copyfileobj(content, stream)
    FileSystems.rename([temporary], [target])


def open_file(target: str) -> contextlib.closing[BinaryIO]:
    """Opens a file to read it as it is."""
    return contextlib.closing(FileSystems.open(target, compression_type=_AS_IT_IS))


def read_file(target: str) -> bytes:
    """What a file holds."""
    with open_file(target) as stream:
        return bytes(stream.read())


def is_file(target: str) -> bool:
    """Whether a file is there."""
    return bool(FileSystems.exists(target))


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that it holds."""
    FileSystems.delete([f"{folder}/"])


def _delete(files: Sequence[str]) -> None:
    if found := [file for file in files if FileSystems.exists(file)]:
        FileSystems.delete(found)
