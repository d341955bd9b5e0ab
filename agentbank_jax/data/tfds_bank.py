"""A built bank as a dataset of TensorFlow Datasets, with a config for each task.

    import tensorflow_datasets as tfds

    tfds.data_source("built_bank/starter_math", data_dir="data/tfds", split="train")

Files of ArrayRecord are written and read without TensorFlow, in any order; `tfds.load` reads those of TFRecord alone.
"""

import contextlib
import importlib.util
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from agentbank_jax.errors import AgentBankError
from agentbank_jax.folder_lock import locked
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from agentbank_jax.whole_files import replace_folder

try:
    import tensorflow_datasets as tfds
except ModuleNotFoundError as error:
    if error.name != "tensorflow_datasets":
        raise
    raise AgentBankError("--tfds needs TensorFlow Datasets: pip install tensorflow-datasets.") from None

from etils import epath

from agentbank_jax.data.tfds_examples import examples, features

FileFormat = Literal["array_record", "tfrecord"]

DATASET = "built_bank"
FOLDER = "tfds"
"""In the bank's folder: what TFDS calls `data_dir`."""
LAYOUT = "1.0.0"
"""The dataset's version: that of the examples, not of what they hold."""

_STAGING = ".building"

_PACKAGES = {"array_record": "array_record", "tfrecord": "tensorflow"}


@dataclass(eq=False)
class _TaskConfig(tfds.core.BuilderConfig):
    """A task of a bank: its shards, and its manifest."""

    files: tuple[Path, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    file_format: str = ""

    @property
    def metadata(self) -> dict[str, Any]:
        """What tells whether a prepared config is of these trajectories."""
        return {"file_format": self.file_format, "manifest": self.manifest}


class _BuiltBank(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The trajectories of a task, in their order; examples are as of `tfds_examples.features`."""

    name = DATASET
    VERSION = tfds.core.Version(LAYOUT)
    RELEASE_NOTES: ClassVar[dict[str, str]] = {LAYOUT: "The trajectories as they were built."}
    # TFDS 4.9.10 looks for it with importlib_resources, which it does not require.
    code_path = epath.Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description="Interaction trajectories for the fine-tuning of language agents, built with agentbank_jax.",
            features=features(),
            license=config.manifest["parameters"]["licence"],
            metadata=tfds.core.MetadataDict(config.metadata),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        return examples(read_trajectories(self.builder_config.files, self.builder_config.name))


def check_format(file_format: FileFormat) -> None:
    """Checks that files of a format can be written.

    Raises:
      AgentBankError: where a package is missing.
    """
    package = _PACKAGES[file_format]
    if importlib.util.find_spec(package) is None:
        raise AgentBankError(f"--tfds={file_format} needs {package}: pip install {package}.")


def prepare(
    bank: Path,
    manifests: Mapping[str, Mapping[str, Any]],
    *,
    file_format: FileFormat,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[str]:
    """Prepares the tasks of a bank under `bank/tfds`, each whole or not at all.

    What is there already, of the same trajectories and in the same format, is left as it is. What is there of tasks
    that the bank has no more is deleted.

    Args:
      bank: the folder.
      manifests: of its tasks, by the names of their folders.
      file_format: of the files.
      progress: called with task, trajectories so far, and all of them, before and after each that is prepared.

    Returns:
      The tasks that were prepared; those without trajectories are none.

    Raises:
      AgentBankError: where a package is missing, nothing can be written, or another program builds in the folder.
    """
    check_format(file_format)
    root, report = bank / FOLDER, progress or (lambda task, rows, wanted: None)
    with locked(bank, "build_bank.py", "--output or AGENTBANK_DATA_DIR"):
        try:
            return list(_prepare_all(bank, manifests, file_format, report))
        except OSError as error:
            raise AgentBankError(f"{root}: cannot be written ({error.strerror or error}).") from None
        finally:
            shutil.rmtree(root / _STAGING, ignore_errors=True)


def _prepare_all(
    bank: Path, manifests: Mapping[str, Mapping[str, Any]], file_format: FileFormat, report: Callable[..., None]
) -> Iterator[str]:
    staging, place = bank / FOLDER / _STAGING, bank / FOLDER / DATASET
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for folder in place.iterdir() if place.exists() else ():
        if folder.name not in manifests or not manifests[folder.name]["rows"]:
            # Renamed first: half of it would count as whole.
            os.replace(folder, staging / f".{folder.name}")
    for task, manifest in manifests.items():
        config = _TaskConfig(
            name=task,
            description=_description(manifest),
            files=tuple(bank / task / shard["name"] for shard in manifest["shards"]),
            manifest=manifest,
            file_format=file_format,
        )
        final, rows = place / task / LAYOUT, manifest["rows"]
        if rows and not _is_prepared(final, config):
            report(task, 0, rows)
            _prepare(config, staging, final)
            report(task, rows, rows)
            yield task


def _prepare(config: _TaskConfig, staging: Path, final: Path) -> None:
    # A class of its own: TFDS warns of configs that its builder does not list.
    class OfTask(_BuiltBank, skip_registration=True):  # type: ignore[call-arg]
        name = DATASET
        BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [config]

    builder = OfTask(config=config.name, data_dir=staging, file_format=config.file_format)
    tfds.disable_progress_bar()
    # TFDS tells of a folder that is about to be renamed.
    with contextlib.redirect_stdout(io.StringIO()), _same_bytes():
        builder.download_and_prepare()
    final.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(Path(os.fspath(builder.data_path)), final)


@contextlib.contextmanager
def _same_bytes() -> Iterator[None]:
    """Lets the same examples give the same bytes: TFDS 4.9.10 leaves the order of their fields to chance."""
    serializer = tfds.core.ExampleSerializer
    as_it_was = serializer.serialize_example
    serializer.serialize_example = lambda self, example: self.get_tf_example(example).SerializeToString(
        deterministic=True
    )
    try:
        yield
    finally:
        serializer.serialize_example = as_it_was


def _is_prepared(folder: Path, config: _TaskConfig) -> bool:
    try:
        found = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == config.metadata)


def _description(manifest: Mapping[str, Any]) -> str:
    facts = manifest["parameters"]
    return (
        f"{manifest['rows']:,} trajectories, skill {facts['skill']}, {facts['action_space']} actions, found by "
        f"{facts['annotation']}; {manifest['assistant_turns']:,} turns of the agent."
    )
