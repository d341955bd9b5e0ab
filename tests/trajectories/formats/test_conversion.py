"""Trajectories come through any two layouts and kinds of file unchanged, whole or not at all."""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.agentbank import row_from_trajectory, write_parquet
from agentbank_jax.trajectories.formats.conversion import convert
from agentbank_jax.trajectories.formats.registry import FORMATS, get_format, read_trajectories
from agentbank_jax.trajectories.rows.files import KINDS
from agentbank_jax.trajectories.rows.writers import ROW_GROUP, write_rows
from agentbank_jax.trajectories.schema import Trajectory, Turn

# What breaks careless readers: line ends of Unicode, signs beyond the first plane, spaces at the
# edges, empty thoughts, fences, escapes, markers of templates, a byte order mark, a null character.
PIECES = (
    "\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r\n", "\n", "\t", " ", "\U0001f600", "e\u0301", "\ufeff", "\x00",
    "Thought: ", "Thought:\nAction: x", "Action: search[a]", "Observation: ", "Final Answer: 4",
    "```python\nprint(1)\n```", "\\n", '"', "\\", "</s>", "[INST]", "{}", "null",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=5).map("".join)
# Each column has one type, as parquet wants it.
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "skill": TEXTS,
        "reward": st.floats(allow_nan=False, allow_infinity=False),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "game_file": TEXTS,
        "regenerated": st.booleans(),
        "tags": st.lists(TEXTS, max_size=2),
        "meta_information": st.fixed_dictionaries({"task_id": st.integers(0, 9), "dataset": TEXTS | st.none()}),
        "odd name \u2028": TEXTS,
    },
)


@st.composite
def trajectories(draw: st.DrawFn, *, masked: bool, named: bool) -> Trajectory:
    turns = [Turn.system(draw(TEXTS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        turns += [Turn.user(draw(TEXTS)), Turn.assistant(draw(TEXTS), trained=not masked or draw(st.booleans()))]
    if named:
        turns = [replace(turn, speaker=draw(TEXTS | st.none())) for turn in turns]
    identifier = draw(TEXTS.filter(bool))
    return Trajectory(
        id=identifier, task=draw(st.sampled_from(["t", "u"])), turns=tuple(turns), metadata=draw(METADATA)
    )


def write(path: Path, made: list[Trajectory], layout: str) -> None:
    rows = [(get_format(layout).row_from_trajectory(each), each.id) for each in made]
    kind = next(kind for kind in KINDS if path.name.endswith(kind))
    write_rows(path, kind, rows, get_format(layout).messages, get_format(layout).message_types)


def read(path: Path, layout: str = "auto") -> list[Trajectory]:
    return [trajectory for _, trajectory in read_trajectories(path, format=layout)]


def make_trajectories(count: int, **metadata: Any) -> list[Trajectory]:
    turns = (
        Turn.user("q \u2028"),
        Turn.assistant("Thought: \nAction: a"),
        Turn.user("Observation: b"),
        Turn.assistant("c"),
    )
    return [Trajectory(id=f"t/{n}", task="t", turns=turns, metadata={"seed": n, **metadata}) for n in range(count)]


@pytest.mark.parametrize(("source", "target"), itertools.product(FORMATS, repeat=2))
def test_any_trajectory_comes_through_any_two_layouts_unchanged(source: str, target: str) -> None:
    masked = get_format(source).has_mask and get_format(target).has_mask
    named = get_format(source).has_speakers and get_format(target).has_speakers

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(trajectories(masked=masked, named=named), min_size=1, max_size=3),
        st.sampled_from(KINDS),
        st.sampled_from(KINDS),
    )
    def come_through(made: list[Trajectory], kind: str, other: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder / f"a{kind}", made, source)
            convert([folder / f"a{kind}"], folder / f"b{other}", to=target, format=source)
            assert read(folder / f"b{other}", target) == made
            convert([folder / f"b{other}"], folder / f"c{kind}", to=source, format=target)
            assert read(folder / f"c{kind}", source) == made

    come_through()


ARGUMENTS = st.dictionaries(TEXTS, TEXTS | st.integers(0, 9) | st.lists(TEXTS, max_size=2), max_size=3)


@st.composite
def tool_rows(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """A row of OpenAI messages with calls of tools, and what the tools answer, in the order of the calls."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(TEXTS)}]
    answers = []
    for step in range(draw(st.integers(1, 2))):
        calls = []
        for number in range(draw(st.integers(1, 3))):
            arguments: Any = draw(ARGUMENTS)
            if draw(st.booleans()):
                arguments = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
            function = {"name": draw(st.sampled_from(["search", "click"])), "arguments": arguments}
            calls.append({"id": f"{step}/{number}", "type": "function", "function": function})
        message = {"role": "assistant", "content": draw(TEXTS | st.none()), "tool_calls": calls}
        messages.append({**message, "weight": draw(st.sampled_from([0, 1])), "name": draw(st.none() | TEXTS)})
        results = [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXTS)} for call in calls]
        answers += [result["content"] for result in results]
        messages += draw(st.permutations(results))
    messages.append({"role": "assistant", "content": draw(TEXTS)})
    return {"id": "a", "messages": messages, "task": "t"}, answers


@pytest.mark.parametrize("target", FORMATS)
def test_calls_of_tools_come_through_every_layout_as_the_turns_that_they_become(target: str) -> None:
    layout = get_format(target)

    @settings(max_examples=25, deadline=None)
    @given(tool_rows(), st.sampled_from(KINDS))
    def come_through(made: tuple[dict[str, Any], list[str]], kind: str) -> None:
        row, answers = made
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "a.jsonl").write_text(json.dumps(row))
            (before,) = read(folder / "a.jsonl", "openai")
            observations = [turn.content.removeprefix("Observation: ") for turn in before.turns[2::2]]
            assert observations == [answer.removeprefix("Observation: ") for answer in answers]
            convert([folder / "a.jsonl"], folder / f"b{kind}", to=target, lossy=True)
            assert read(folder / f"b{kind}", target) == [layout.without_losses(before)]

    come_through()


@pytest.mark.parametrize(("kind", "other"), itertools.product(KINDS, repeat=2))
def test_every_kind_of_file_becomes_every_other(tmp_path: Path, kind: str, other: str) -> None:
    made = make_trajectories(3, reward=1.0, game_file="x\u2028y", meta_information={"task_id": 1, "environment": "e"})
    write(tmp_path / f"a{kind}", made, "agentbank")
    assert convert([tmp_path / f"a{kind}"], tmp_path / f"b{other}", to="openai").trajectories == 3
    assert read(tmp_path / f"b{other}") == made


def test_lines_are_one_row_each_even_for_readers_that_split_at_every_line_end(tmp_path: Path) -> None:
    made = [
        replace(each, turns=(Turn.user("a\u2028b\u2029c\x85d\x0be"), Turn.assistant("r")))
        for each in make_trajectories(2)
    ]
    write(tmp_path / "a.jsonl", made, "openai")
    assert len((tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert read(tmp_path / "a.jsonl") == made
    # Others write them as they are.
    rows = [json.dumps(get_format("openai").row_from_trajectory(each), ensure_ascii=False) for each in made]
    (tmp_path / "b.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert read(tmp_path / "b.jsonl") == made


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_a_row(tmp_path: Path) -> None:
    rows = [json.dumps(row_from_trajectory(each)) for each in make_trajectories(2)]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + f"[{','.join(rows)}]".encode())
    assert read(tmp_path / "a.jsonl") == read(tmp_path / "a.json") == make_trajectories(2)


# Of more rows than a parquet writer holds at once.
MANY = ROW_GROUP + 10


def test_a_parquet_file_is_the_same_written_row_by_row_or_at_once(tmp_path: Path) -> None:
    import pyarrow as pa

    made = make_trajectories(MANY, skill="math")
    write_parquet(tmp_path / "a.parquet", made)
    message = pa.struct([("from", pa.string()), ("value", pa.string())])
    types = [("id", pa.string()), ("conversations", pa.list_(message)), ("task", pa.string())]
    schema = pa.schema([*types, ("skill", pa.string()), ("seed", pa.int64())])
    table = pa.Table.from_pylist([row_from_trajectory(each) for each in made], schema=schema)
    pq.write_table(table, tmp_path / "b.parquet", compression="zstd", row_group_size=ROW_GROUP)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_columns_and_masks_that_appear_late_do_not_get_lost(tmp_path: Path) -> None:
    made = make_trajectories(MANY, early={"a": 1})
    late = {"early": {"b": "x"}, "late": "y", "reward": 0.5}
    untrained = (*made[-1].turns[:1], Turn.assistant("a", trained=False), *made[-1].turns[2:])
    made[-1] = replace(made[-1], turns=untrained, metadata={**made[-1].metadata, **late})
    write(tmp_path / "a.jsonl", made, "openai")
    convert([tmp_path / "a.jsonl"], tmp_path / "b.parquet", to="openai")
    found = read(tmp_path / "b.parquet")
    # A struct of parquet has all fields in all rows.
    assert found[-1].turns == untrained and found[-1].metadata == {**made[-1].metadata, "early": {"a": None, "b": "x"}}
    assert found[0].turns == made[0].turns and found[0].metadata == {"seed": 0, "early": {"a": 1, "b": None}}
    assert len(found) == MANY and sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.parquet"]


def test_a_column_whose_type_changes_late_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    made = make_trajectories(MANY, extra=1)
    made[-2] = replace(made[-2], metadata={"extra": "x"})
    write(tmp_path / "a.jsonl", made, "openai")
    with pytest.raises(AgentBankError, match=rf"a\.jsonl, row {MANY - 2}, field extra: .*; expected int64"):
        convert([tmp_path / "a.jsonl"], tmp_path / "b.parquet", to="openai")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("target", ["agentbank", "sharegpt"])
def test_a_mask_that_would_be_lost_is_counted_and_refused_unless_lossy(tmp_path: Path, target: str) -> None:
    made = make_trajectories(5)
    for number in (1, 3):
        turns = tuple(replace(turn, trained=False) for turn in made[number].turns)
        made[number] = replace(made[number], turns=turns)
    write(tmp_path / "a.jsonl", made, "agentinstruct")
    with pytest.raises(
        AgentBankError, match=r"mask of an untrained turn \(4 in 2 trajectories\).*--lossy.*--to=openai"
    ):
        convert([tmp_path / "a.jsonl"], tmp_path / "new" / "b.jsonl", to=target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    result = convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", to=target, lossy=True)
    assert result.losses.parts == {"the mask of an untrained turn": 4}
    assert read(tmp_path / "b.jsonl") == make_trajectories(5)


def test_a_column_that_means_something_else_in_the_target_is_refused_unless_lossy(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(2, system="linux"), "openai")
    with pytest.raises(AgentBankError, match=r"--to=sharegpt would lose the metadata 'system' \(2 in 2 trajectories\)"):
        convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", to="sharegpt")
    convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", to="sharegpt", lossy=True)
    assert read(tmp_path / "b.jsonl") == make_trajectories(2)


@pytest.mark.parametrize("layout", FORMATS)
def test_keys_of_messages_that_are_not_read_are_counted_and_refused_unless_lossy(tmp_path: Path, layout: str) -> None:
    rows = [get_format(layout).row_from_trajectory(each) for each in make_trajectories(3)]
    for row, said in zip(rows, ({"refusal": "No.", "odd": [1]}, {"refusal": None, "odd": []}, {}), strict=True):
        for message in row[get_format(layout).messages][:2]:
            message |= said
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = {"to": "agentinstruct", "format": layout}
    with pytest.raises(
        AgentBankError,
        match=r"would lose the key 'odd' of a message \(2 in 1 trajectories\), the key 'refusal' .*; leave that out",
    ):
        convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    result = convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", lossy=True, **arguments)
    assert result.losses.parts == {"the key 'odd' of a message": 2, "the key 'refusal' of a message": 2}
    assert read(tmp_path / "b.jsonl") == make_trajectories(3)


@pytest.mark.parametrize("kind", [kind.removeprefix(".") for kind in KINDS])
def test_a_folder_gets_shards_that_read_as_one_bank(tmp_path: Path, kind: str) -> None:
    made = make_trajectories(7)
    write(tmp_path / "a.jsonl", made, "openai")
    bank = tmp_path / "data" / "t"
    assert convert([tmp_path / "a.jsonl"], bank, to="agentbank", kind=kind, shard_rows=3).files == 3
    assert sorted(path.name for path in bank.iterdir()) == [f"train-0000{n}-of-00003.{kind}" for n in range(3)]
    # A folder is an input too.
    convert([bank], tmp_path / "b.jsonl", to="openai")
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()


def test_a_slash_at_the_end_makes_a_folder_of_a_name_with_a_dot(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(2), "openai")
    convert([tmp_path / "a.jsonl"], f"{tmp_path}/bank.v2/", to="agentbank")
    assert read(tmp_path / "bank.v2" / "train-00000-of-00001.parquet") == make_trajectories(2)


def test_released_files_with_extra_columns_keep_them_in_every_layout(tmp_path: Path) -> None:
    rows = [
        {
            "id": "alfworld_0",
            "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}],
            "game_file": "valid/x.tw-pddl",
            "meta_information": {"dataset": "d", "environment": "e", "regenerate_thought": False, "task_id": 3},
        }
    ]
    (tmp_path / "alfworld").mkdir()
    path = tmp_path / "alfworld" / "train-00000-of-00001.json"
    path.write_text(json.dumps(rows))
    for layout, kind in itertools.product(FORMATS, KINDS):
        output = tmp_path / f"{layout}{kind}"
        convert([path], output, to=layout)
        (trajectory,) = read(output)
        # The config's folder is the task.
        assert trajectory.task == "alfworld"
        assert trajectory.metadata == {name: rows[0][name] for name in ("game_file", "meta_information")}


def test_rows_without_an_id_or_a_task_get_them_from_their_file(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}
    (tmp_path / "chats.v2.jsonl").write_text(f"{json.dumps({**row, 'id': 7})}\n{json.dumps({**row, 'task': 'own'})}\n")
    assert [(each.id, each.task) for each in read(tmp_path / "chats.v2.jsonl")] == [("7", "chats"), ("chats/1", "own")]
    convert([tmp_path / "chats.v2.jsonl"], tmp_path / "b.jsonl", to="openai", task="named")
    assert [each.task for each in read(tmp_path / "b.jsonl")] == ["named", "named"]


def test_files_in_several_layouts_become_one(tmp_path: Path) -> None:
    made = make_trajectories(len(FORMATS))
    for trajectory, layout in zip(made, sorted(FORMATS), strict=True):
        write(tmp_path / f"{layout}.json", [trajectory], layout)
    convert([str(tmp_path / "*.json")], tmp_path / "all.parquet", to="openai")
    assert read(tmp_path / "all.parquet") == made


def test_a_folder_of_two_kinds_of_files_is_refused_and_none_is_passed_over(tmp_path: Path) -> None:
    for name in ("train-0.jsonl", "train-0.json"):
        write(tmp_path / "bank" / name, make_trajectories(1), "openai")
    with pytest.raises(AgentBankError, match=r"bank: holds files of 2 kinds \(train\*.json, train\*.jsonl\)"):
        convert([tmp_path / "bank"], tmp_path / "all.jsonl", to="openai")
    convert([str(tmp_path / "bank" / "train*")], tmp_path / "all.jsonl", to="openai")
    assert len(read(tmp_path / "all.jsonl")) == 2


def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(2), "openai")
    write(tmp_path / "b.jsonl", make_trajectories(1), "openai")
    with pytest.raises(AgentBankError, match=r"b\.jsonl: exists; .*--overwrite"):
        convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", to="openai")
    convert([tmp_path / "a.jsonl"], tmp_path / "b.jsonl", to="openai", overwrite=True)
    # An input can be replaced too: it is read before the output takes its place.
    convert([tmp_path / "a.jsonl"], tmp_path / "a.jsonl", to="sharegpt", overwrite=True)
    assert read(tmp_path / "a.jsonl", "sharegpt") == read(tmp_path / "b.jsonl") == make_trajectories(2)
    bank = tmp_path / "bank"
    convert([tmp_path / "a.jsonl"], bank, to="agentbank", shard_rows=1, on_error="skip")
    with pytest.raises(AgentBankError, match=r"bank: holds skipped\.jsonl; .*--overwrite"):
        convert([tmp_path / "a.jsonl"], bank, to="agentbank")
    convert([bank], bank, to="agentbank", overwrite=True)
    assert [path.name for path in bank.iterdir()] == ["train-00000-of-00001.parquet"]


def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(2), "openai")
    bank = tmp_path / "bank"
    bank.mkdir()
    (bank / "manifest.json").write_text("{}")
    with pytest.raises(AgentBankError, match=r"holds manifest\.json, which no conversion wrote"):
        convert([tmp_path / "a.jsonl"], bank, to="agentbank", overwrite=True)
    assert [path.name for path in bank.iterdir()] == ["manifest.json"]


def test_what_is_replaced_stays_when_the_conversion_fails(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(2), "openai")
    before = (tmp_path / "a.jsonl").read_bytes()
    with open(tmp_path / "a.jsonl", "ab") as file:
        file.write(b"{\n")
    convert([tmp_path / "a.jsonl"], tmp_path / "bank", to="agentbank", on_error="skip", shard_rows=1)
    shards = sorted(path.name for path in (tmp_path / "bank").iterdir())
    for output in (tmp_path / "a.jsonl", tmp_path / "bank"):
        with pytest.raises(AgentBankError, match="row 2"):
            convert([tmp_path / "a.jsonl"], output, to="agentbank", overwrite=True)
    assert (tmp_path / "a.jsonl").read_bytes() == before + b"{\n"
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == shards
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "bank"]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(2), "openai")
    with pytest.raises(AgentBankError, match=r"a\.jsonl/b\.jsonl: cannot be written"):
        convert([tmp_path / "a.jsonl"], tmp_path / "a.jsonl" / "b.jsonl", to="openai")
    # As on a full disk: what has been written of the file goes again.
    script = (
        "import resource, signal, sys; from agentbank_jax.trajectories.formats.conversion import convert\n"
        "from agentbank_jax.errors import AgentBankError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: convert([sys.argv[1]], sys.argv[2], to='openai')\n"
        "except AgentBankError as error: print(error)"
    )
    for name in ("b.jsonl", "b.parquet", "bank"):
        command = [sys.executable, "-c", script, str(tmp_path / "a.jsonl"), str(tmp_path / "new" / name)]
        result = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
        assert re.search(rf"{name}: cannot be written \(.*File too large", result.stdout), result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(9), "openai")

    def interrupt(fraction: float, count: int) -> None:
        if count == 5:
            raise KeyboardInterrupt

    for name in ("b.jsonl.gz", "b.parquet", "bank"):
        with pytest.raises(KeyboardInterrupt):
            convert([tmp_path / "a.jsonl"], tmp_path / "new" / name, to="sharegpt", progress=interrupt, shard_rows=None)
        assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("kind", KINDS)
def test_progress_grows_to_the_whole(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}{kind}", make_trajectories(20), "openai")
    seen: list[tuple[float, int]] = []
    convert([str(tmp_path / f"*{kind}")], tmp_path / "out.jsonl", to="openai", progress=lambda *each: seen.append(each))
    assert seen == sorted(seen) and len(seen) == 40 and seen[-1][1] == 40
    assert all(0 <= fraction <= 1 for fraction, _ in seen)


@pytest.mark.parametrize(
    ("source", "target"), [(".jsonl", ".parquet"), (".parquet", ".jsonl.gz"), (".jsonl.gz", ".json")]
)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, source: str, target: str) -> None:
    def rows(count: int) -> Iterator[tuple[dict[str, Any], str]]:
        for number in range(count):
            turns = (Turn.user(f"{number} " * 300), Turn.assistant("r"))
            yield get_format("openai").row_from_trajectory(Trajectory(id=f"{number}", task="t", turns=turns)), "x"

    peaks = []
    for count in (500, 8 * ROW_GROUP):
        path = tmp_path / f"{count}{source}"
        write_rows(path, source, rows(count), "messages", get_format("openai").message_types)
        script = (
            "import resource, sys; from agentbank_jax.trajectories.formats.conversion import convert\n"
            "convert([sys.argv[1]], sys.argv[2], to='sharegpt')\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
        )
        command = [sys.executable, "-c", script, str(path), str(tmp_path / f"out{count}{target}")]
        peaks.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    # The larger file holds 60 MB of text. A row group of it may be held, several times over.
    assert peaks[1] - peaks[0] < 50, peaks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "opneai"}, "no layout is called 'opneai'. Did you mean 'openai'?"),
        ({"format": "share"}, "no layout is called 'share'. Did you mean 'sharegpt'?"),
        ({"on_error": "skipp"}, "--on_error=skipp is unknown. Did you mean 'skip'?"),
        ({"shard_rows": 3}, "--shard_rows=3: "),
        ({"kind": "json"}, "--kind=json: "),
        ({"output": "bank", "kind": "parket"}, "--kind=parket is unknown. Did you mean 'parquet'?"),
        ({"output": "bank", "shard_rows": 0}, "--shard_rows=0: expected at least 1"),
        ({"output": "b.txt"}, "b.txt: unknown kind of file"),
        ({"output": "skipped.jsonl", "on_error": "skip"}, "skipped.jsonl: the skipped rows are listed there"),
        ({"output": "b.jsonl.zst"}, "unknown kind of file"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_read(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    write(tmp_path / "a.jsonl", make_trajectories(1), "openai")
    options = {"to": "openai", "output": "b.jsonl", **arguments}
    with pytest.raises(AgentBankError) as raised:
        convert([tmp_path / "a.jsonl"], tmp_path / options.pop("output"), **options)
    assert message in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_real_bank_comes_back_byte_for_byte(tmp_path: Path) -> None:
    if not os.environ.get("AGENTBANK_TEST_DATA"):
        pytest.skip("AGENTBANK_TEST_DATA is not set; it names the folder of real benchmark files")
    from agentbank_jax.environments.benchmark_data import BenchmarkConfig
    from tests.bank.made import build_in, recipe_of

    source = Path(os.environ["AGENTBANK_TEST_DATA"]) / "gsm8k" / "train.jsonl.gz"
    benchmarks = BenchmarkConfig(paths={"gsm8k/train": str(source)})
    recipe = recipe_of("gsm8k", annotator="reformatting", trajectories=600, benchmarks=benchmarks)
    (result,) = build_in(tmp_path / "data", [recipe])
    shard = result.folder / "train-00000-of-00001.parquet"
    for layout, kind in zip(sorted(FORMATS), KINDS, strict=False):
        convert([result.folder], tmp_path / f"b{kind}", to=layout)
        convert([tmp_path / f"b{kind}"], tmp_path / layout, to="agentbank")
        assert (tmp_path / layout / shard.name).read_bytes() == shard.read_bytes()


@pytest.mark.parametrize(
    "name", ["gsm8k/test_dev_half.jsonl", "hotpotqa/distractor_dev_half.jsonl.gz", "intercode_bash/filesystem_1.json"]
)
def test_real_files_that_hold_no_conversations_are_told_so(tmp_path: Path, name: str) -> None:
    if not os.environ.get("AGENTBANK_TEST_DATA"):
        pytest.skip("AGENTBANK_TEST_DATA is not set; it names the folder of real benchmark files")
    path = Path(os.environ["AGENTBANK_TEST_DATA"]) / name
    with pytest.raises(AgentBankError, match=r"row 0: columns .*; expected the column messages or conversations"):
        convert([path], tmp_path / "b.jsonl", to="openai")
    with pytest.raises(AgentBankError, match=r"no trajectory in .*skipped rows"):
        convert([path], tmp_path / "b.jsonl", to="openai", on_error="skip")
    assert list(tmp_path.iterdir()) == []
