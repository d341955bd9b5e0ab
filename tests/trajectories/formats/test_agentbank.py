"""The released layout is read and written without loss, and bad rows are named."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentbank_jax.trajectories.formats.agentbank import read_trajectories, row_from_trajectory, write_parquet
from agentbank_jax.trajectories.schema import Trajectory, TrajectoryError, Turn


def make_trajectory(number: int = 0, **metadata: object) -> Trajectory:
    return Trajectory(
        id=f"gsm8k_{number}",
        task="gsm8k",
        turns=(
            Turn.user(f"What is {number} + 1?\u2028 Think."),
            Turn.assistant(f"Thought: add\nAction: {number} + 1"),
            Turn.user(f"Observation: {number + 1}"),
            Turn.assistant(f"Thought: done\nFinal Answer: {number + 1}"),
        ),
        metadata=metadata,
    )


ROW = row_from_trajectory(make_trajectory())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    trajectories = [make_trajectory(n, skill="math", reward=1.0, difficulty=2, seed=n, game="g") for n in range(5)]
    assert write_parquet(tmp_path / "new" / "train-00000-of-00001.parquet", trajectories) == 5
    assert list(read_trajectories(str(tmp_path / "new" / "*.parquet"), "gsm8k")) == trajectories


def test_the_same_trajectories_give_the_same_bytes(tmp_path: Path) -> None:
    trajectories = [make_trajectory(n, reward=1.0) for n in range(5)]
    write_parquet(tmp_path / "a.parquet", trajectories)
    write_parquet(tmp_path / "b.parquet", iter(trajectories))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_released_files_with_extra_columns_keep_them_as_metadata(tmp_path: Path) -> None:
    rows = [{"id": "a", "conversations": ROW["conversations"], "game_file": "valid/x.tw-pddl", "other": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    (trajectory,) = read_trajectories(tmp_path / "x.parquet", "alfworld")
    assert trajectory.metadata == {"game_file": "valid/x.tw-pddl"}
    assert trajectory.task == "alfworld"


def test_the_instruction_becomes_the_system_turn(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [make_trajectory()])
    (trajectory,) = read_trajectories(tmp_path / "x.parquet", "gsm8k", "Use the calculator.")
    assert trajectory.turns[0] == Turn.system("Use the calculator.")
    assert trajectory.turns[1:] == make_trajectory().turns


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.json.gz", "x.jsonl.gz"])
def test_json_and_json_lines_read_like_parquet(tmp_path: Path, name: str) -> None:
    rows = [row_from_trajectory(make_trajectory(n)) for n in range(3)]
    text = (
        json.dumps(rows)
        if ".jsonl" not in name
        else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
    data = text.encode("utf-8")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert list(read_trajectories(tmp_path / name, "gsm8k")) == [make_trajectory(n) for n in range(3)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": None}, "field id"),
        ({"id": ""}, "field id"),
        ({"conversations": None}, "field conversations"),
        ({"conversations": []}, "field conversations"),
        ({"conversations": "hello"}, "field conversations"),
        ({"conversations": ["hello"]}, r"field conversations\[0\]"),
        ({"conversations": [{"from": "robot", "value": "x"}]}, r"conversations\[0\].from"),
        ({"conversations": [{"from": "human", "value": None}]}, r"conversations\[0\].value"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "expected an assistant turn"),
        ({"conversations": [{"from": "gpt", "value": "x"}]}, "expected 'user'"),
    ],
)
def test_a_bad_row_is_named_by_file_row_and_field(tmp_path: Path, change: dict[str, object], field: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}) + "\n")
    with pytest.raises(TrajectoryError, match=rf"x\.jsonl, row 1.*{field}"):
        list(read_trajectories(path, "gsm8k"))


def test_bad_files_are_named(tmp_path: Path) -> None:
    for name, content, message in [
        ("x.parquet", b"not parquet", "cannot be read as parquet"),
        ("x.json", b"{", "not JSON"),
        ("x.json", b"{}", "expected a list"),
        ("x.jsonl", b"[1]\n", "row 0"),
        ("x.jsonl", b'{"id": "a"\n', "line 1: not JSON"),
        ("x.jsonl", b"\xff\xfe", "UTF-8"),
        ("x.jsonl.gz", b"plain", "cannot be read"),
        ("x.txt", b"", "unknown kind"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TrajectoryError, match=f"{name}.*{message}"):
            list(read_trajectories(tmp_path / name, "t"))
    with pytest.raises(TrajectoryError, match=r"no such file"):
        list(read_trajectories(tmp_path / "none-*.parquet", "t"))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "y.parquet")
    with pytest.raises(TrajectoryError, match=r"column conversations is missing"):
        list(read_trajectories(tmp_path / "y.parquet", "t"))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match=r"reward"):
        write_parquet(tmp_path / "x.parquet", [make_trajectory(reward="high")])
    untrained = Trajectory(id="u", task="t", turns=(Turn.user("a"), Turn.assistant("b", trained=False)))
    with pytest.raises(TrajectoryError, match=r"not trained"):
        write_parquet(tmp_path / "x.parquet", [untrained])
    assert list(tmp_path.iterdir()) == []
