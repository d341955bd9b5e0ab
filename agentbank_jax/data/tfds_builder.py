"""The released AgentBank data as a TensorFlow Datasets builder, one config for each released one.

    import tensorflow_datasets as tfds
    import agentbank_jax.data.tfds_builder

    tfds.load("agentbank/gsm8k", split="train")

The files are those of the data folder (`$AGENTBANK_DATA_DIR`, or `./data`), else of TFDS's manual
directory; nothing is downloaded.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from agentbank_jax.data.declarations import TaskDeclaration, get_mixture, get_task
from agentbank_jax.data.sources import task_files
from agentbank_jax.data.tfds_examples import examples, features
from agentbank_jax.places import DATA_DIR_VARIABLE, data_place
from agentbank_jax.trajectories.formats.registry import read_trajectories


def _config_of(name: str) -> tfds.core.BuilderConfig:
    task = get_task(name)
    return tfds.core.BuilderConfig(name=task.config, description=f"skill {task.skill}, {task.action_space} actions")


class AgentBank(tfds.core.GeneratorBasedBuilder):
    """Trajectories as they were released: without the instruction that a task adds in training.

    Examples are as of `tfds_examples.features`, in the order of the files.
    """

    name = "agentbank"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "The files of Solaris99/AgentBank as they are."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download it with: hf download Solaris99/AgentBank --repo-type dataset --local-dir data, and set "
        "AGENTBANK_DATA_DIR to that folder, run in the folder above it, or name it as TFDS's manual directory."
    )
    # TFDS 4.9.10 looks for it with importlib_resources, which it does not require.
    code_path = epath.Path(__file__)
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        _config_of(name) for name in get_mixture("agentbank_all").rates
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="AgentBank: interaction trajectories for the fine-tuning of language agents.",
            features=features(),
            homepage="https://huggingface.co/datasets/Solaris99/AgentBank",
            license="Apache-2.0",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        task = get_task(self.builder_config.name)
        data_dir = data_place()
        if DATA_DIR_VARIABLE not in os.environ and not Path(data_dir, task.config).is_dir():
            # TFDS says how to fill it where it is empty.
            data_dir = os.fspath(dl_manager.manual_dir)
        return {"train": self._generate_examples(task, data_dir)}

    def _generate_examples(self, task: TaskDeclaration, data_dir: str) -> Iterator[tuple[int, dict[str, Any]]]:
        rows = read_trajectories(task_files(task, data_dir), format=task.layout, task=task.name)
        return examples(trajectory for _, trajectory in rows)
