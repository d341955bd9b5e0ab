"""Every malformed row and file is named by file, row and field, can be skipped, and leaves nothing behind."""

import copy
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.conversion import convert

TALK = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]
GOOD: dict[str, dict[str, Any]] = {
    "agentbank": {"id": "a", "conversations": TALK},
    "sharegpt": {"conversations": TALK},
    "openai": {
        "messages": [
            {"role": "user", "content": "q"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
            {"role": "assistant", "content": "r"},
        ]
    },
    "agentinstruct": {"id": "a", "conversations": [{**TALK[0], "loss": None}, {**TALK[1], "loss": True}]},
}

MISSING = object()


def change(layout: str, path: str, value: object) -> bytes:
    """The layout's good row with the value at a path such as `messages.1.content` replaced, as a line of JSON."""
    row: Any = copy.deepcopy(GOOD[layout])
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner = row
    for part in parents:
        inner = inner[part]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(row).encode()


# (layout, line, field, what was expected). A field of None: the line is no row at all.
BAD_ROWS: list[tuple[str, bytes, str | None, str]] = [
    ("agentbank", b"{", None, "not JSON"),
    ("agentbank", b'{"id": "a"} {"id": "b"}', None, "not JSON"),
    ("agentbank", b"[" * 100_000, None, "not JSON"),
    ("agentbank", b'{"id": ' + b"1" * 5000 + b"}", None, "not JSON"),
    ("agentbank", b'{"id": "\xff"}', None, "not UTF-8"),
    ("agentbank", '{"id": "é"}'.encode("utf-16"), None, "not UTF-8"),
    ("agentbank", b"[1]", None, "expected an object"),
    ("agentbank", b"null", None, "expected an object"),
    ("agentbank", b'"text"', None, "expected an object"),
    ("agentbank", b"{}", "id", "expected a non-empty string"),
    ("agentbank", change("agentbank", "id", ""), "id", "expected a non-empty string"),
    ("agentbank", change("agentbank", "id", True), "id", "expected a non-empty string"),
    ("agentbank", change("agentbank", "id", ["a"]), "id", "expected a non-empty string"),
    ("agentbank", change("agentbank", "id", "\ud800"), "id", "expected text without lone surrogates"),
    ("agentbank", change("agentbank", "task", 3), "task", "expected a non-empty string"),
    ("agentbank", change("agentbank", "id", {"a": "x" * 9999}), "id", "expected a non-empty string"),
    ("agentbank", b'{"id": ' + b"[" * 900 + b"]" * 900 + b"}", "id", "expected a non-empty string"),
    ("agentbank", change("agentbank", "note", "\ud800"), "note", "expected text without lone surrogates"),
    ("agentbank", change("agentbank", "note", {"a": ["\udfff"]}), "note", "expected text without lone surrogates"),
    ("agentbank", change("agentbank", "note", {"\udfff": 1}), "note", "expected text without lone surrogates"),
    ("agentbank", change("agentbank", "\ud800", 1), "\\ud800", "expected text without lone surrogates"),
    ("agentbank", b'{"id": "a\xed\xa0\x80"}', None, "not UTF-8"),
    ("agentbank", b"\x00" * 9, None, "not JSON"),
    ("agentbank", b'{"id": "a"}\r{"id": "b"}', None, "not JSON"),
    ("agentbank", change("agentbank", "conversations", [None, [None]]), "conversations[0]", "expected an object"),
    (
        "openai",
        change("openai", "messages.1.tool_calls.0.function.arguments", "[" * 9999),
        "messages[1].tool_calls[0].function.arguments",
        "expected a JSON object",
    ),
    ("agentbank", change("agentbank", "conversations", MISSING), "conversations", "expected a non-empty list"),
    ("agentbank", change("agentbank", "conversations", []), "conversations", "expected a non-empty list"),
    ("agentbank", change("agentbank", "conversations", "q"), "conversations", "expected a non-empty list"),
    ("agentbank", change("agentbank", "conversations", {"from": "human"}), "conversations", "a non-empty list"),
    ("agentbank", change("agentbank", "conversations.1", "r"), "conversations[1]", "expected an object"),
    ("agentbank", change("agentbank", "conversations.1", None), "conversations[1]", "expected an object"),
    ("agentbank", change("agentbank", "conversations.0.from", "tool"), "conversations[0].from", "expected 'human'"),
    ("agentbank", change("agentbank", "conversations.0.from", MISSING), "conversations[0].from", "expected 'human'"),
    ("agentbank", change("agentbank", "conversations.1.value", None), "conversations[1].value", "a string"),
    ("agentbank", change("agentbank", "conversations.1.value", 4), "conversations[1].value", "a string"),
    ("agentbank", change("agentbank", "conversations.1.value", "\udfff"), "conversations[1].value", "surrogates"),
    ("agentbank", change("agentbank", "conversations.0.from", "gpt"), "conversations", "expected 'user'"),
    ("agentbank", change("agentbank", "conversations.1.from", "human"), "conversations", "expected 'assistant'"),
    ("agentbank", change("agentbank", "conversations", TALK[:1]), "conversations", "expected an assistant turn"),
    ("sharegpt", change("sharegpt", "conversations.0.from", "robot"), "conversations[0].from", "expected a speaker"),
    ("sharegpt", change("sharegpt", "conversations.0.from", {}), "conversations[0].from", "expected a speaker"),
    ("sharegpt", change("sharegpt", "system", 3), "system", "expected a string"),
    ("sharegpt", change("sharegpt", "conversations", TALK[1:]), "conversations", "expected 'user'"),
    ("sharegpt", change("sharegpt", "conversations.1.from", "function_call"), "conversations[1].value", "as JSON"),
    (
        "sharegpt",
        change("sharegpt", "conversations.1", {"from": "function_call", "value": '[{"name": "f"}]'}),
        "conversations[1].value",
        "expected a call",
    ),
    (
        "sharegpt",
        change("sharegpt", "conversations.1", {"from": "function_call", "value": '{"arguments": {}}'}),
        "conversations[1].value.name",
        "expected a string",
    ),
    (
        "sharegpt",
        json.dumps({"system": "a", "conversations": [{"from": "system", "value": "b"}, *TALK]}).encode(),
        "conversations[0].from",
        "expected one system prompt",
    ),
    ("openai", change("openai", "messages", None), "messages", "expected a non-empty list"),
    ("openai", change("openai", "messages.0", ["user", "q"]), "messages[0]", "expected an object"),
    ("openai", change("openai", "messages.0.role", "human"), "messages[0].role", "expected a role"),
    ("openai", change("openai", "messages.0.content", None), "messages[0].content", "expected a string"),
    ("openai", change("openai", "messages.0.content", ["q"]), "messages[0].content[0]", "expected a part"),
    (
        "openai",
        change("openai", "messages.0.content", [{"type": "image_url", "image_url": {"url": "x"}}]),
        "messages[0].content[0].type",
        "images are not read yet",
    ),
    (
        "openai",
        change("openai", "messages.0.content", [{"type": "text", "text": None}]),
        "messages[0].content[0].text",
        "expected a string",
    ),
    ("openai", change("openai", "messages.3.weight", 2), "messages[3].weight", "expected 0 or 1"),
    ("openai", change("openai", "messages.3.weight", True), "messages[3].weight", "expected 0 or 1"),
    ("openai", change("openai", "messages.0.weight", 1), "messages[0].weight", "expected 0 or none for a user turn"),
    ("openai", change("openai", "messages.0.name", 4), "messages[0].name", "expected a string"),
    ("openai", change("openai", "messages.1.tool_calls", {}), "messages[1].tool_calls", "expected a list"),
    ("openai", change("openai", "messages.1.tool_calls.0", "f"), "messages[1].tool_calls[0]", "expected a call"),
    (
        "openai",
        change("openai", "messages.1.tool_calls.0.type", "custom"),
        "messages[1].tool_calls[0].type",
        "expected 'function'",
    ),
    ("openai", change("openai", "messages.1.tool_calls.0.id", 7), "messages[1].tool_calls[0].id", "a string"),
    (
        "openai",
        change("openai", "messages.1.tool_calls.0.function", None),
        "messages[1].tool_calls[0].function",
        "expected a call",
    ),
    (
        "openai",
        change("openai", "messages.1.tool_calls.0.function.name", ""),
        "messages[1].tool_calls[0].function.name",
        "expected the name of a tool",
    ),
    (
        "openai",
        change("openai", "messages.1.tool_calls.0.function.arguments", "{"),
        "messages[1].tool_calls[0].function.arguments",
        "expected a JSON object",
    ),
    (
        "openai",
        change("openai", "messages.1.tool_calls.0.function.arguments", "[1]"),
        "messages[1].tool_calls[0].function.arguments",
        "expected a JSON object",
    ),
    ("openai", change("openai", "messages.2.tool_call_id", "d"), "messages[2].tool_call_id", "the id of a call"),
    ("openai", change("openai", "messages.2.content", 4), "messages[2].content", "expected a string"),
    ("openai", change("openai", "messages.2.role", "assistant"), "messages[1].tool_calls", "the result of each call"),
    ("openai", change("openai", "messages.1.tool_calls", []), "messages[1].content", "expected a string"),
    (
        "openai",
        change("openai", "messages.1", {"role": "assistant", "content": "r"}),
        "messages[2].role",
        "only after its tool call",
    ),
    ("openai", change("openai", "messages.3", MISSING), "messages", "expected an assistant turn"),
    ("openai", change("openai", "messages.0.role", "system"), "messages", "expected 'user'"),
    ("agentinstruct", change("agentinstruct", "id", 1.5), "id", "expected a non-empty string"),
    ("agentinstruct", b'{"item_id": 1.5, "conversations": []}', "item_id", "expected a non-empty string"),
    # A mask that these layouts would train over.
    ("agentbank", change("agentbank", "conversations.1.loss", False), "conversations[1].loss", "agentinstruct reads"),
    ("sharegpt", change("sharegpt", "conversations.1.loss", False), "conversations[1].loss", "agentinstruct reads"),
    ("agentbank", change("agentbank", "conversations.0.loss", False), "conversations[1].loss", "true for each reply"),
    ("agentinstruct", change("agentinstruct", "conversations.1.loss", "yes"), "conversations[1].loss", "true, false"),
    ("agentinstruct", change("agentinstruct", "conversations.1.loss", 1), "conversations[1].loss", "true, false"),
    ("agentinstruct", change("agentinstruct", "conversations.1.loss", MISSING), "conversations[1].loss", "true, false"),
    ("agentinstruct", change("agentinstruct", "conversations.0.loss", True), "conversations[0].loss", "false or null"),
    ("agentinstruct", change("agentinstruct", "conversations.0.from", "tool"), "conversations[0].from", "'human'"),
    ("auto", b'{"question": "q", "answer": "a"}', None, "expected the column messages or conversations"),
    ("auto", b'{"conversations": [{"role": "user"}]}', "conversations[0]", "expected messages with from and value"),
]


def name_of(case: tuple[str, bytes, str | None, str]) -> str:
    layout, line, field, expected = case
    return f"{layout}-{field}-{expected}-{line[:20]!r}"


@pytest.mark.parametrize(("layout", "line", "field", "expected"), BAD_ROWS, ids=map(name_of, BAD_ROWS))
@pytest.mark.parametrize("zipped", [False, True])
def test_a_bad_row_is_named_by_file_row_and_field_and_can_be_skipped(
    tmp_path: Path, layout: str, line: bytes, field: str | None, expected: str, zipped: bool
) -> None:
    good = json.dumps(GOOD["sharegpt" if layout == "auto" else layout]).encode()
    # An empty line is no row. The layout of `auto` is told by the first row that has one.
    lines = [line, good, good] if layout == "auto" else [good, b"", line, good]
    number = 0 if layout == "auto" else 1
    path = tmp_path / ("x.jsonl.gz" if zipped else "x.jsonl")
    content = b"\n".join(lines)
    path.write_bytes(gzip.compress(content) if zipped else content)
    output = tmp_path / "new" / "y.json"

    with pytest.raises(AgentBankError) as raised:
        convert([path], output, to="openai", format=layout)
    message = str(raised.value)
    assert message.startswith(f"{path}, row {number}") and expected in message
    assert (f", field {field}: " in message) == (field is not None)
    # One line, which any terminal can print.
    assert "\n" not in message and message.encode("utf-8")
    assert list(tmp_path.iterdir()) == [path]

    result = convert([path], output, to="openai", format=layout, on_error="skip")
    assert result.trajectories == 2 and len(json.loads(output.read_text())) == 2
    (skipped,) = result.skipped.first
    assert (skipped.file, skipped.row, skipped.field, skipped.message) == (str(path), number, field, message)
    assert [json.loads(line) for line in (output.parent / "skipped.jsonl").read_text().splitlines()] == [
        {"file": str(path), "row": number, "field": field, "message": message}
    ]
    assert sorted(each.name for each in output.parent.iterdir()) == ["skipped.jsonl", "y.json"]


def parquet(*rows: dict[str, Any]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.Table.from_pylist(list(rows)), path)


def write_text(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text)


def truncate(path: Path) -> None:
    content = gzip.compress(json.dumps(GOOD["agentbank"]).encode() * 200)
    path.write_bytes(content[: len(content) // 2])


def damage(path: Path) -> None:
    content = bytearray(gzip.compress(bytes(range(256)) * 300))
    content[20:40] = bytes(20)
    path.write_bytes(bytes(content))


def cut_parquet(path: Path) -> None:
    parquet(*[GOOD["agentbank"]] * 50)(path)
    path.write_bytes(path.read_bytes()[:-20])


def write_table(**columns: Any) -> Callable[[Path], None]:
    """Writes a table of one row: a good one but for `columns`."""
    talk = pa.array([GOOD["agentbank"]["conversations"]])
    return lambda path: pq.write_table(pa.table({"id": ["a"], "conversations": talk, **columns}), path)


def damage_pages(path: Path) -> None:
    parquet(*({**GOOD["agentbank"], "id": f"a{number}"} for number in range(2000)))(path)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(bytes(content))


def two_columns_of_one_name(path: Path) -> None:
    talk = pa.array([GOOD["agentbank"]["conversations"]])
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), talk], ["id", "id", "conversations"]), path)


BAD_FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("x.parquet", write_text("no parquet"), "cannot be read as parquet"),
    ("x.parquet", write_text(""), "cannot be read as parquet"),
    ("x.parquet", cut_parquet, "cannot be read as parquet"),
    ("x.parquet", parquet({"id": "a"}), "column conversations is missing; found id"),
    ("x.parquet", parquet({"conversations": TALK}), "column id is missing"),
    ("x.parquet", damage_pages, "cannot be read as parquet"),
    ("x.parquet", two_columns_of_one_name, "holds two columns id"),
    ("x.parquet", write_table(conversations=["text"]), "row 0, field conversations: 'text'"),
    ("x.parquet", write_table(conversations=[json.dumps(TALK)]), "expected a non-empty list"),
    ("x.parquet", write_table(conversations=[[1, 2]]), "row 0, field conversations[0]: 1"),
    ("x.parquet", write_table(conversations=[[{"from": "human", "value": {"a": 1}}]]), "conversations[0].value: {'a'"),
    ("x.parquet", write_table(id=[1.5]), "row 0, field id: 1.5"),
    ("x.parquet", write_table(id=[b"a"]), "row 0, field id: b'a'"),
    ("x.parquet", write_table(at=pa.array([1], pa.timestamp("ns"))), "row 0: cannot be read (Nanosecond"),
    ("x.parquet", write_table(at=pa.array([10**15], pa.timestamp("ms"))), "row 0: cannot be read (date value"),
    ("x.parquet", write_table(at=pa.array([10**8], pa.date32())), "row 0: cannot be read (date value"),
    ("x.parquet", write_table(rate=pa.array([1], pa.decimal128(5, 2))), "row 0, field rate: Decimal('1.00')"),
    ("x.json", write_text("{"), "not JSON"),
    ("x.json", write_text("3"), "holds int; expected a list of rows"),
    ("x.json", lambda path: path.write_bytes("[]".encode("utf-16")), "UTF-8"),
    ("x.jsonl.gz", lambda path: path.write_bytes(gzip.compress(b"\n") + b"more"), "cannot be read"),
    ("x.jsonl", lambda path: path.symlink_to("nowhere"), "no such file"),
    ("x.jsonl", lambda path: path.symlink_to(path.name), "no such file"),
    ("x.jsonl", os.mkfifo, "no such file"),
    ("x.parquet", lambda path: path.mkdir(), "holds no trajectories"),
    ("x.json", write_text(""), "not JSON"),
    ("x.json", write_text('{"id": "a"}\n{"id": "b"}\n'), "JSON lines? Then call it .jsonl"),
    ("x.json", write_text("{}"), "holds dict; expected a list of rows"),
    ("x.json", write_text("[" * 100_000), "not JSON"),
    ("x.json", lambda path: path.write_bytes(b'["\xff"]'), "UTF-8"),
    ("x.json.gz", write_text("[]"), "cannot be read"),
    ("x.jsonl.gz", write_text("plain"), "cannot be read"),
    ("x.jsonl.gz", truncate, "cannot be read"),
    ("x.jsonl.gz", damage, "cannot be read"),
    ("x.jsonl.zst", write_text("x"), "unknown kind of file"),
    ("x.csv", write_text("id,value"), "unknown kind of file"),
    ("x", write_text("[]"), "unknown kind of file"),
    ("x.json", write_text("[]"), "no trajectory in"),
    ("x.jsonl", write_text("\n\n"), "no trajectory in"),
    ("x.jsonl", lambda path: path.mkdir(), "holds no trajectories"),
    ("x.jsonl", lambda path: None, "no such file"),
    # What one row has, another lacks.
    ("x.parquet", parquet({**GOOD["agentbank"], "id": None}), "row 0, field id: None"),
    ("x.parquet", parquet({"id": "a", "conversations": [{"from": "human", "value": None}]}), "[0].value: None"),
    ("x.json", write_text(json.dumps([GOOD["agentbank"], 3])), "row 1: 3; expected an object"),
]


@pytest.mark.parametrize(("name", "make", "expected"), BAD_FILES, ids=[f"{n}-{e}" for n, _, e in BAD_FILES])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_bad_file_is_named_and_leaves_nothing(
    tmp_path: Path, name: str, make: Callable[[Path], object], expected: str, on_error: str
) -> None:
    path = tmp_path / name
    make(path)
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "new" / "y.jsonl"
    if on_error == "skip" and expected == "row 1: 3; expected an object":
        assert convert([path], output, to="openai", format="agentbank", on_error="skip").trajectories == 1
        return
    with pytest.raises(AgentBankError) as raised:
        convert([path], output, to="openai", format="agentbank", on_error=on_error)
    message = str(raised.value)
    assert str(path) in message and expected in message and "\n" not in message
    assert sorted(tmp_path.iterdir()) == before


def test_rows_of_parquet_that_are_not_utf8_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = [{**GOOD["agentbank"], "id": f"a{number}", "source": "plain"} for number in range(3)]
    table = pa.Table.from_pylist(rows)
    broken = pa.array([b"plain", b"\xff\xfe", b"plain"]).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("source"), "source", broken), path)
    with pytest.raises(AgentBankError, match=r"x\.parquet, row 1: not UTF-8"):
        convert([path], tmp_path / "y.jsonl", to="openai")
    result = convert([path], tmp_path / "y.jsonl", to="openai", on_error="skip")
    assert result.trajectories == 2 and result.skipped.first[0].row == 1


@pytest.mark.parametrize("kind", ["json", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "field extra: nan; expected a value that JSON can hold"),
        (b"bytes", "field extra: b'bytes'; expected a value that JSON can hold"),
        ([{"a": float("inf")}], "field extra: .*; expected a value that JSON can hold"),
    ],
)
def test_what_json_cannot_hold_is_named_and_can_be_skipped(
    tmp_path: Path, kind: str, value: object, expected: str
) -> None:
    path, output = tmp_path / "x.parquet", tmp_path / f"y.{kind}"
    parquet({**GOOD["agentbank"], "extra": None}, {**GOOD["agentbank"], "extra": value})(path)
    with pytest.raises(AgentBankError, match=rf"x\.parquet, row 1, {expected}"):
        convert([path], output, to="sharegpt")
    assert list(tmp_path.iterdir()) == [path]
    assert convert([path], output, to="sharegpt", on_error="skip").trajectories == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, "x"], "row 2, field extra: 'x'; expected int64"),
        ([True, None, 1], "row 2, field extra: 1; expected bool"),
        ([{"a": 1}, 3], "row 1, field extra: 3; expected struct<a: int64>"),
        ([{}], "row 0, field extra: {}; expected one type"),
        ([2**70], "row 0, field extra: 1180591620717411303424; expected one type"),
        ([json.loads("[" * 60 + "]" * 60)], "row 0, field extra: [[["),
    ],
)
def test_what_parquet_cannot_hold_is_named(tmp_path: Path, values: list[object], expected: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({**GOOD["agentbank"], "extra": value}) + "\n" for value in values))
    with pytest.raises(AgentBankError) as raised:
        convert([path], tmp_path / "y.parquet", to="sharegpt")
    assert f"x.jsonl, {expected}" in str(raised.value)
    assert list(tmp_path.iterdir()) == [path]


def test_there_are_enough_bad_files_and_rows() -> None:
    assert len({(layout, line) for layout, line, _, _ in BAD_ROWS}) >= 80 and len(BAD_FILES) >= 40


def test_a_file_that_is_cut_while_it_is_read_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    row = json.dumps(GOOD["agentbank"]) + "\n"
    path = tmp_path / "x.jsonl"
    path.write_text(row * 20_000)

    def cut(fraction: float, count: int) -> None:
        if count == 1:
            os.truncate(path, len(row) * 15_000 + 5)

    with pytest.raises(AgentBankError, match=r"x\.jsonl, row 15000, line 15001: not JSON"):
        convert([path], tmp_path / "y.jsonl", to="openai", progress=cut)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_gone_or_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, error in (("x.jsonl", FileNotFoundError(2, "gone")), ("x.json.gz", PermissionError(13, "not yours"))):
        (tmp_path / name).write_bytes(b"")

        def refuse(*_: object, error: OSError = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("agentbank_jax.trajectories.rows.files.open", refuse, raising=False)
        with pytest.raises(AgentBankError, match=rf"{name}: cannot be read \(.*{error.strerror}"):
            convert([tmp_path / name], tmp_path / "new" / "y.jsonl", to="openai")
        assert not (tmp_path / "new").exists()
