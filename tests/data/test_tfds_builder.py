"""The TFDS builder holds the released configs, and gives back what their files hold."""

import json
from pathlib import Path

import pytest

tfds = pytest.importorskip("tensorflow_datasets")

from agentbank_jax.data.declarations import MissingFilesError, get_mixture  # noqa: E402
from agentbank_jax.data.tfds_builder import AgentBank  # noqa: E402
from agentbank_jax.trajectories.formats.agentbank import write_parquet  # noqa: E402
from agentbank_jax.trajectories.schema import ROLES, Trajectory  # noqa: E402
from tests.trajectories.fake import make_trajectory  # noqa: E402


@pytest.fixture
def trajectories() -> list[Trajectory]:
    """Rows with the columns that the released config has beside the others."""
    made = [make_trajectory(number, exchanges=1 + number % 3, system=False, task="alfworld") for number in range(7)]
    return [
        Trajectory(id=each.id, task=each.task, turns=each.turns, metadata={"game_file": f"valid/ü/{each.id}.tw-pddl"})
        for each in made
    ]


def write(folder: Path, trajectories: list[Trajectory]) -> Path:
    write_parquet(folder / "alfworld/train-00000-of-00002.parquet", trajectories[:4])
    write_parquet(folder / "alfworld/train-00001-of-00002.parquet", trajectories[4:])
    return folder


def read_back(dataset: object) -> list[Trajectory]:
    found = []
    for row in dataset.as_numpy_iterator():  # type: ignore[attr-defined]
        turns = row["turns"]
        columns = (turns["role"].tolist(), turns["content"].tolist(), turns["trained"].tolist())
        found.append((row["id"].decode(), row["task"].decode(), list(zip(*columns, strict=True)), row["metadata"]))
    return found


def expected(trajectories: list[Trajectory]) -> list[object]:
    return [
        (
            each.id,
            each.task,
            [(ROLES.index(turn.role), turn.content.encode(), turn.trained) for turn in each.turns],
            json.dumps(each.metadata, ensure_ascii=False).encode(),
        )
        for each in trajectories
    ]


def test_each_released_config_is_one_of_the_builder() -> None:
    assert list(AgentBank.builder_configs) == list(get_mixture("agentbank_all").rates)
    assert tfds.builder_cls("agentbank") is AgentBank


def test_it_loads_what_the_files_hold_in_their_order(
    trajectories: list[Trajectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTBANK_DATA_DIR", str(write(tmp_path / "bank", trajectories)))
    dataset, info = tfds.load("agentbank/alfworld", split="train", data_dir=tmp_path / "tfds", with_info=True)
    assert read_back(dataset) == expected(trajectories)
    assert info.splits["train"].num_examples == 7 and info.features["turns"]["role"].names == list(ROLES)
    # Once built, the files are no longer needed.
    monkeypatch.delenv("AGENTBANK_DATA_DIR")
    assert len(read_back(tfds.load("agentbank/alfworld", split="train[2:5]", data_dir=tmp_path / "tfds"))) == 3


def test_the_files_may_be_in_the_current_folder_or_in_the_manual_directory(
    trajectories: list[Trajectory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTBANK_DATA_DIR", raising=False)
    write(tmp_path / "here/data", trajectories)
    write(tmp_path / "manual", trajectories[::-1])
    (tmp_path / "there").mkdir()
    for folder, order in (("here", 1), ("there", -1)):
        monkeypatch.chdir(tmp_path / folder)
        builder = AgentBank(config="alfworld", data_dir=tmp_path / f"tfds_{folder}")
        config = tfds.download.DownloadConfig(manual_dir=tmp_path / "manual")
        builder.download_and_prepare(download_config=config)
        assert read_back(builder.as_dataset(split="train")) == expected(trajectories[::order])


def test_missing_files_say_how_to_get_them_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBANK_DATA_DIR", str(tmp_path / "bank"))
    with pytest.raises(MissingFilesError, match=r"hf download Solaris99/AgentBank"):
        tfds.load("agentbank/iqa", split="train", data_dir=tmp_path / "tfds")
    monkeypatch.delenv("AGENTBANK_DATA_DIR")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"hf download Solaris99/AgentBank"):
        tfds.load("agentbank/iqa", split="train", data_dir=tmp_path / "tfds")
    assert not list((tmp_path / "tfds").rglob("*.tfrecord*"))
