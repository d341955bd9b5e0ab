"""The linter reads every layout as the other commands do, and what it redacts keeps all that a layout says."""

import gzip
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.registry import FORMATS, get_format, read_trajectories
from agentbank_jax.trajectories.lint.batch import LintSettings
from agentbank_jax.trajectories.lint.linter import LintResult, lint
from agentbank_jax.trajectories.lint.redaction import redact_files, redact_row, redact_text
from agentbank_jax.trajectories.lint.rows import BATCH_ROWS, BankFile
from agentbank_jax.trajectories.rows.files import KINDS, RowReader
from agentbank_jax.trajectories.rows.writers import write_rows
from agentbank_jax.trajectories.schema import Trajectory, Turn
from tests.trajectories.formats.test_bad_rows import BAD_ROWS, GOOD, name_of
from tests.trajectories.lint.made_rows import found

QUESTION, ACTION = Turn.user("What is 12 times 24?"), Turn.assistant("Thought: I multiply.\nAction: 12 * 24")
OBSERVATION, ANSWER = Turn.user("Observation: 288"), Turn.assistant("Thought: That is it.\nFinal Answer: 288")
MAIL = Turn.user("Observation: write to ann@example.org \u2028 or (212) 555-0187")


def made(*turns: Turn, number: int = 0, **metadata: Any) -> Trajectory:
    known = {"license": "MIT", "source": f"source {number % 2}", **metadata}
    return Trajectory(id=f"r{number}", task="gsm8k", turns=turns, metadata=known)


def write(path: Path, trajectories: list[Trajectory], layout: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(get_format(layout).row_from_trajectory(each), each.id) for each in trajectories]
    kind = next(kind for kind in KINDS if path.name.endswith(kind))
    write_rows(path, kind, rows, get_format(layout).messages, get_format(layout).message_types)
    return path


def lint_file(path: Path, **settings: Any) -> LintResult:
    return lint([BankFile(path, "gsm8k")], LintSettings(**settings))


@pytest.mark.parametrize(("layout", "kind"), itertools.product(FORMATS, (".jsonl", ".parquet", ".json.gz")))
def test_the_same_trajectories_have_the_same_findings_in_every_layout(tmp_path: Path, layout: str, kind: str) -> None:
    trajectories = [
        made(QUESTION, ACTION, OBSERVATION, ANSWER, number=0),
        made(Turn.system("Calculate."), QUESTION, ACTION, OBSERVATION, ANSWER, number=1),
        made(QUESTION, ACTION, MAIL, replace(ANSWER, content="Final Answer: 7 ×"), number=2),
        made(QUESTION, replace(ACTION, content="hm"), Turn.user(" "), replace(ANSWER, content="no"), number=3),
        made(replace(QUESTION, content="Another?"), ACTION, number=4, license=None),
    ]
    result = lint_file(write(tmp_path / f"x{kind}", trajectories, layout))
    assert result.layouts == ["agentbank" if layout == "sharegpt" else layout]
    assert found(result) == {
        "empty-turn": 1,
        "exact-duplicate": 1,
        "missing-licence": 1,
        "personal-email": 1,
        "personal-phone": 1,
        "turn-without-action": 2,
        "unfinished": 2,
    }
    places = {rule: [(each.row, each.turn) for each in examples] for rule, examples in result.tally.examples.items()}
    assert places["personal-email"] == [(2, 2)] and places["empty-turn"] == [(3, 2)]
    assert places["unfinished"] == [(3, 3), (4, 1)] and places["missing-licence"] == [(4, None)]
    assert sum(statistics.trained_turns for statistics, _ in result.sources.values()) == 9


@pytest.mark.parametrize(("layout", "line", "field", "expected"), BAD_ROWS, ids=map(name_of, BAD_ROWS))
def test_a_bad_row_is_a_finding_with_its_row_and_field_and_the_others_are_checked(
    tmp_path: Path, layout: str, line: bytes, field: str | None, expected: str
) -> None:
    told = "sharegpt" if layout == "auto" else layout
    good = json.dumps(GOOD[told]).encode()
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join([good, b"", line, good]))
    result = lint([BankFile(path, "t", told)], LintSettings(max_examples=99))
    findings = [each for examples in result.tally.examples.values() for each in examples if each.row == 1]
    structural = [each for each in findings if each.rule in ("unreadable", "malformed-row", "role-order", "unfinished")]
    assert structural, findings
    assert all(each.file == str(path) for each in findings)
    # What is no row and what is no trajectory are told apart, and roles have rules of their own.
    if structural[0].rule == "malformed-row":
        assert layout == "auto" or (structural[0].field == field and expected in structural[0].detail)
    elif structural[0].rule == "unreadable":
        assert field is None and expected in structural[0].detail
    else:
        assert field in ("conversations", "messages") and structural[0].turn is not None
    # The good rows around it are the first and the third.
    assert 2 in {each.row for each in result.tally.examples["exact-duplicate"]}


@pytest.mark.parametrize("layout", ["openai", "agentinstruct"])
def test_a_trajectory_of_which_nothing_is_trained_is_found(tmp_path: Path, layout: str) -> None:
    masked = [replace(turn, trained=False) for turn in (ACTION, ANSWER)]
    trajectories = [
        made(QUESTION, masked[0], OBSERVATION, masked[1], number=0),
        made(replace(QUESTION, content="Other?"), masked[0], OBSERVATION, replace(ANSWER, content="Final Answer: x")),
    ]
    result = lint_file(write(tmp_path / "x.jsonl", trajectories, layout))
    assert [each.row for each in result.tally.examples["untrained"]] == [0]
    assert sum(statistics.trained_turns for statistics, _ in result.sources.values()) == 1


def test_tool_calls_are_checked_as_the_turns_that_they_become(tmp_path: Path) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Who won?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [{"id": "c", "function": {"name": "search", "arguments": '{"query": "winner"}'}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "Ann, ann@example.org"},
            {"role": "assistant", "content": "Final Answer: Ann", "refusal": "mail bo@example.org"},
        ],
        "license": "MIT",
    }
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(row))
    result = lint_file(path)
    assert found(result) == {"personal-email": 2}
    assert [(each.id, each.turn, each.field) for each in result.tally.examples["personal-email"]] == [
        ("chats/0", 2, None),
        ("chats/0", None, "messages[3].refusal"),
    ]


def test_the_layout_is_that_of_most_rows_so_that_a_broken_first_row_hides_nothing(tmp_path: Path) -> None:
    rows = [get_format("agentbank").row_from_trajectory(made(QUESTION, ACTION, number=n)) for n in range(3)]
    del rows[0]["id"]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = lint_file(path)
    assert result.layouts == ["agentbank"]
    assert [(each.row, each.field) for each in result.tally.examples["malformed-row"]] == [(0, "id")]
    # Told that it is ShareGPT, the row may lack an id.
    told = lint([BankFile(path, "gsm8k", "sharegpt")], LintSettings())
    assert told.layouts == ["sharegpt"] and "malformed-row" not in told.tally.rows


def test_a_file_that_is_no_trajectories_at_all_is_given_up_after_some_lines(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("id,question\n" * 50_000)
    result = lint_file(tmp_path / "x.jsonl", max_examples=2000)
    assert result.file_rows == [0] and found(result) == {"unreadable": 1001}
    assert result.tally.examples["unreadable"][-1].detail.startswith("1,000 broken rows one after the other")


def test_what_is_nested_more_deeply_than_python_calls_is_checked_and_not_copied(tmp_path: Path) -> None:
    row = get_format("agentbank").row_from_trajectory(made(QUESTION, ACTION))
    deep = json.dumps({**row, "extra": 0}).replace('"extra": 0', f'"extra": {"[" * 900}"a@b.org"{"]" * 900}')
    (tmp_path / "x.jsonl").write_text(deep + "\n" + json.dumps({**row, "id": deep.count("[")}))
    for workers in (1, 2):
        result = lint([BankFile(tmp_path / "x.jsonl", "gsm8k")], LintSettings(), workers=workers)
        assert result.tally.rows["personal-email"] == 1 and result.file_rows == [2]
        with pytest.raises(AgentBankError, match=r"x\.jsonl, row 0: nested too deeply"):
            redact_files([BankFile(tmp_path / "x.jsonl", "gsm8k")], tmp_path / "copy", workers=workers)
        assert [path.name for path in tmp_path.iterdir()] == ["x.jsonl"]


@pytest.mark.parametrize(("layout", "kind"), itertools.product(FORMATS, KINDS))
def test_a_redacted_copy_differs_in_personal_data_alone(tmp_path: Path, layout: str, kind: str) -> None:
    has_mask = get_format(layout).has_mask
    metadata = {"reward": 0.5, "seed": 7, "tags": ["a", "bo@example.org"], "info": {"n": 1, "by": "ann@example.org"}}
    before = [
        made(QUESTION, replace(ACTION, trained=not has_mask), MAIL, ANSWER, number=number, **metadata)
        for number in range(BATCH_ROWS + 3)
    ]
    clean = {"tags": ["a", "[EMAIL]"], "info": {"n": 1, "by": "[EMAIL]"}}
    mail = replace(MAIL, content="Observation: write to [EMAIL] \u2028 or [PHONE]")
    after = [
        replace(each, turns=(*each.turns[:2], mail, each.turns[3]), metadata={**each.metadata, **clean})
        for each in before
    ]
    path = write(tmp_path / "bank" / f"train{kind}", before, layout)
    for workers in (1, 2) if kind in (".jsonl", ".parquet") else (1,):
        counts = redact_files([BankFile(path, "gsm8k")], tmp_path / f"copy{workers}", workers=workers)
        assert counts == {"email": 3 * len(before), "phone": len(before)}
        copy = tmp_path / f"copy{workers}" / path.name
        assert [each for _, each in read_trajectories(copy, format=layout)] == after
        assert copy.read_bytes() == (tmp_path / "copy1" / path.name).read_bytes()


def test_arguments_of_a_call_stay_json_and_what_they_tell_as_an_action_is_found() -> None:
    arguments = [
        ('{"phone": 2125550187, "n": 1}', '{"phone": "[PHONE]", "n": 1}'),
        ('{"to": "ann\\u0040example.org"}', '{"to": "[EMAIL]"}'),
        ('{"a": "call (212) 555-0187, or"}', '{"a": "call [PHONE], or"}'),
        ('{"n": "2125550187"}', '{"n": "[PHONE]"}'),
        ('{"n": 12}', '{"n": 12}'),
    ]
    for before, after in arguments:
        row = {
            "id": "2125550187",
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": None, "weight": 0,
                 "tool_calls": [{"id": "c", "function": {"name": "phone", "arguments": before}}]},
            ],
        }  # fmt: skip
        redacted, _ = redact_row(row)
        row["messages"][1]["tool_calls"][0]["function"]["arguments"] = after  # type: ignore[index]
        assert redacted == row
        assert redact_row(redacted) == (redacted, {})


def test_text_that_only_looks_like_json_is_redacted_as_text() -> None:
    assert redact_text("[see ann@example.org]")[0] == "[see [EMAIL]]"
    assert redact_text('{"a": "ann@example.org"')[0] == '{"a": "[EMAIL]"'


def test_tables_keep_their_schema_and_the_columns_without_text(tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "ann@example.org"}, {"from": "gpt", "value": "Final Answer: 1"}]
    table = pa.table(
        {
            "id": pa.array(["a", "b"], pa.large_string()),
            "conversations": pa.array([talk, talk], pa.large_list(pa.array(talk).type)),
            "kind": pa.array(["bo@example.org", "x"]).dictionary_encode(),
            "when": pa.array([1, 1_700_000_000_000_000_001], pa.timestamp("ns")),
            "raw": pa.array([b"\xff", None]),
            "map": pa.array([[("k", "c@example.org")], None], pa.map_("string", "string")),
        }
    ).replace_schema_metadata({"by": "hand"})  # fmt: skip
    path = tmp_path / "bank" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(table, path)
    counts = redact_files([BankFile(path, "gsm8k")], tmp_path / "copy")
    copy = pq.read_table(tmp_path / "copy" / "train.parquet")
    assert counts == {"email": 4} and copy.schema.equals(pq.read_table(path).schema, check_metadata=True)
    for name in ("id", "when", "raw"):
        assert copy[name].equals(pq.read_table(path)[name])
    assert copy["kind"].to_pylist() == ["[EMAIL]", "x"] and copy["map"].to_pylist() == [[("k", "[EMAIL]")], None]
    assert copy["conversations"][1][0]["value"].as_py() == "[EMAIL]"


def test_a_file_without_rows_is_copied_too(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    bank.mkdir()
    (bank / "a.jsonl").write_text("")
    (bank / "b.json.gz").write_bytes(gzip.compress(b"[]"))
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), bank / "c.parquet")
    files = [BankFile(path, "t") for path in sorted(bank.iterdir())]
    assert redact_files(files, tmp_path / "copy") == {}
    assert [list(RowReader(path)) for path in sorted((tmp_path / "copy").iterdir())] == [[], [], []]
