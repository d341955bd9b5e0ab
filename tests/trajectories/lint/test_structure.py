"""Each rule of structure finds the row that breaks it, and leaves the one beside it alone."""

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.formats.registry import FORMATS
from agentbank_jax.trajectories.lint.batch import LintSettings, check_batch
from agentbank_jax.trajectories.lint.linter import lint
from agentbank_jax.trajectories.lint.protocols import PROTOCOLS, protocol_of
from agentbank_jax.trajectories.lint.redaction import redact_row
from agentbank_jax.trajectories.lint.rows import BankFile, Batch
from agentbank_jax.trajectories.lint.rules import RULES
from agentbank_jax.trajectories.templates.registry import Llama2Template
from agentbank_jax.trajectories.tokenizers.tokenizer import Tokenizer
from tests.trajectories.lint.made_rows import GOOD_TURNS, found, lint_rows, make_row

QUESTION, ACTION, OBSERVATION, ANSWER = GOOD_TURNS
PROGRAM = ("gpt", "Thought: easy\n```python\nprint(1)\n```")


def test_a_good_row_has_no_finding(tmp_path: Path) -> None:
    assert found(lint_rows(tmp_path, [make_row()])) == {}


@pytest.mark.parametrize(
    ("rule", "turns", "turn"),
    [
        ("role-order", (ACTION, OBSERVATION, ANSWER), 0),
        ("role-order", (QUESTION, OBSERVATION, ANSWER), 1),
        ("role-order", (QUESTION, ACTION, ACTION, OBSERVATION, ANSWER), 2),
        ("role-order", (QUESTION, ACTION, ("system", "Go on."), ANSWER), 2),
        ("empty-turn", (QUESTION, ACTION, ("human", " \n"), ANSWER), 2),
        ("empty-turn", (("human", ""), ACTION, OBSERVATION, ANSWER), 0),
        ("turn-without-action", (QUESTION, ("gpt", "Thought: I wonder."), OBSERVATION, ANSWER), 1),
        ("turn-without-action", (QUESTION, ("gpt", "Thought: hm\nAction: "), OBSERVATION, ANSWER), 1),
        ("turn-without-action", (QUESTION, ("gpt", "My Action: is none"), OBSERVATION, ANSWER), 1),
        ("unfinished", (QUESTION, ACTION, OBSERVATION), 2),
        ("unfinished", (QUESTION, ACTION), 1),
    ],
)
def test_a_breach_is_found_once_at_its_turn(
    tmp_path: Path, rule: str, turns: tuple[tuple[str, str], ...], turn: int
) -> None:
    result = lint_rows(tmp_path, [make_row(*turns)])
    assert found(result) == {rule: 1}
    assert [(finding.turn, finding.level) for finding in result.tally.examples[rule]] == [(turn, "error")]


def test_a_system_turn_may_open_a_row(tmp_path: Path) -> None:
    assert found(lint_rows(tmp_path, [make_row(("system", "Calculate."), *GOOD_TURNS)])) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": ""},
        {"id": True},
        {"conversations": None},
        {"conversations": []},
        {"conversations": ["hello"]},
        {"conversations": [{"from": "robot", "value": "x"}]},
        {"conversations": [{"from": ["human"], "value": "x"}]},
        {"conversations": [{"from": "human", "value": None}]},
    ],
)
def test_a_row_outside_the_layout_is_malformed_and_the_next_is_still_checked(
    tmp_path: Path, change: dict[str, object]
) -> None:
    rows = [{**make_row(), **change}, make_row(QUESTION, ACTION, id="next")]
    result = lint_rows(tmp_path, rows)
    assert found(result) == {"malformed-row": 1, "unfinished": 1}
    assert "expected" in result.tally.examples["malformed-row"][0].detail


@pytest.mark.parametrize(
    ("task", "turns", "expected"),
    [
        ("apps", (QUESTION, PROGRAM), {}),
        ("apps", (QUESTION, ("gpt", "no code")), {("turn-without-action", "warning"): 1}),
        ("gsm8k", (QUESTION, PROGRAM), {("turn-without-action", "error"): 1, ("unfinished", "error"): 1}),
        ("math", (QUESTION, PROGRAM, OBSERVATION, ANSWER), {}),
        ("starter_programming", (QUESTION, ("gpt", "Thought: done\nAction: submit")), {}),
        ("starter_programming", (QUESTION, ACTION), {("unfinished", "error"): 1}),
        ("intercode_sql", (QUESTION, ("gpt", "Action: ```sql\nSELECT 1\n```")), {("unfinished", "warning"): 1}),
        ("starter_web", (QUESTION, ("gpt", "Action: click[Buy Now]")), {}),
        ("webshop", (QUESTION, ("gpt", "Action: click[item]")), {("unfinished", "warning"): 1}),
        ("alfworld", (QUESTION, ("gpt", "Action: put mug 1 in/on desk 1")), {}),
        ("alfworld", (QUESTION, ANSWER), {("turn-without-action", "error"): 1}),
        ("mind2web", (QUESTION, ("gpt", "CLICK [3]")), {("turn-without-action", "note"): 1}),
        ("my_own", (QUESTION, ("gpt", "hello")), {("turn-without-action", "warning"): 1}),
        ("starter_math_longer", (QUESTION, ACTION), {("unfinished", "error"): 1}),
    ],
)
def test_each_task_is_held_to_its_own_protocol(
    tmp_path: Path, task: str, turns: tuple[tuple[str, str], ...], expected: dict[tuple[str, str], int]
) -> None:
    assert dict(lint_rows(tmp_path, [make_row(*turns)], task=task).tally.findings) == expected


def test_the_rows_own_task_comes_before_the_folders_and_the_one_asked_for_before_both(tmp_path: Path) -> None:
    row = make_row(QUESTION, ACTION, task="alfworld")
    assert found(lint_rows(tmp_path, [row], task="gsm8k")) == {}
    assert found(lint_rows(tmp_path, [{**row, "task": None}], task="gsm8k")) == {"unfinished": 1}
    result = lint_rows(tmp_path, [row], task="alfworld")
    assert found(result) == {}
    assert found(lint(result.files, LintSettings(task="gsm8k"))) == {"unfinished": 1}


def test_every_declared_task_has_a_protocol() -> None:
    from agentbank_jax.data.declarations import task_names

    assert {name for name in task_names() if protocol_of(name) is protocol_of("no such task")} == set()
    assert set(task_names()) <= set(PROTOCOLS)


def test_rows_above_a_limit_are_over_long(tmp_path: Path) -> None:
    length = sum(len(text) for _, text in GOOD_TURNS)
    assert found(lint_rows(tmp_path, [make_row()], max_characters=length)) == {}
    assert found(lint_rows(tmp_path, [make_row()], max_characters=length - 1)) == {"over-long": 1}


def test_tokens_are_counted_as_training_counts_them(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from agentbank_jax.trajectories.formats.agentbank import trajectory_from_row

    template = Llama2Template(tokenizer)
    trajectory = trajectory_from_row(make_row(), where="row", task="gsm8k", instruction="Use the calculator.")
    tokens = len(template.encode(trajectory).tokens)
    settings = {"template": template, "instructions": {"gsm8k": "Use the calculator."}}
    result = lint_rows(tmp_path, [make_row()], max_tokens=tokens, **settings)
    assert found(result) == {} and result.sources["gsm8k", ""][0].tokens == tokens
    assert found(lint_rows(tmp_path, [make_row()], max_tokens=tokens - 1, **settings)) == {"over-long": 1}


def test_a_limit_in_tokens_needs_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match="--tokenizer"):
        lint_rows(tmp_path, [make_row()], max_tokens=10)


def test_a_missing_licence_is_a_warning(tmp_path: Path) -> None:
    for licence in (None, "", " "):
        result = lint_rows(tmp_path, [make_row(license=licence)])
        assert dict(result.tally.findings) == {("missing-licence", "warning"): 1}
    assert found(lint_rows(tmp_path, [{**make_row(license=None), "licence": "MIT"}])) == {}


def test_a_repeated_id_is_found_within_a_task_alone(tmp_path: Path) -> None:
    other = (("human", "What is 2 plus 2, then?"), ("gpt", "Thought: easy\nFinal Answer: 4"))
    assert found(lint_rows(tmp_path, [make_row(), make_row(*other)])) == {"duplicate-id": 1}
    assert found(lint_rows(tmp_path, [make_row(), make_row(*other, task="math")])) == {}


def test_broken_lines_and_files_are_reported_and_all_others_are_checked(tmp_path: Path) -> None:
    bad, good = make_row(QUESTION, ACTION), make_row(id="good")
    lines = [json.dumps(bad).encode(), b'{"id": "cut', b"[1]", b"\xff", json.dumps(good).encode()]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "not.parquet").write_bytes(b"x")
    (tmp_path / "half.jsonl.gz").write_bytes(
        gzip.compress(lines[0] + b"\n" + random.randbytes(9999).hex().encode())[:-999]
    )
    files = [BankFile(tmp_path / name, "gsm8k") for name in ("not.parquet", "half.jsonl.gz", "rows.jsonl")]
    result = lint(files, LintSettings())
    assert result.file_rows == [0, 1, 2]
    assert {**found(result), "exact-duplicate": 0, "duplicate-id": 0} == {
        "unfinished": 2,
        "unreadable": 5,
        "exact-duplicate": 0,
        "duplicate-id": 0,
    }
    unreadable = [(Path(each.file).name, each.row, each.detail) for each in result.tally.examples["unreadable"]]
    expected = [
        ("not.parquet", -1, "cannot be read as parquet"),
        ("half.jsonl.gz", -1, "cannot be read"),
        # Rows are counted as every reader counts them.
        ("rows.jsonl", 1, "line 2: not JSON"),
        ("rows.jsonl", 2, "[1]; expected an object"),
        ("rows.jsonl", 3, "line 4: not UTF-8"),
    ]
    for (name, row, detail), (file, number, begin) in zip(unreadable, expected, strict=True):
        assert (name, row) == (file, number) and detail.startswith(begin), detail
    (repeated,) = (each for each in result.tally.examples["unfinished"] if each.file.endswith("rows.jsonl"))
    assert repeated.row == 0


def test_every_rule_has_a_meaning_and_a_level() -> None:
    assert all(rule.meaning and rule.level in ("error", "warning", "note") for rule in RULES.values())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["from", "value", "x"]), inner),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "system", "function_call"]) | JSON, "value": JSON})
    | st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"]) | JSON, "content": JSON},
        optional={"tool_calls": JSON, "weight": JSON},
    )
    | JSON
)
COLUMNS = ["id", "item_id", "system", "task", "source", "license", "reward", "annotation", "other"]


@given(st.dictionaries(st.sampled_from(COLUMNS), JSON), MESSAGES | JSON, st.sampled_from(sorted(FORMATS)))
def test_no_row_whatever_it_holds_stops_the_linter(columns: dict[str, object], messages: object, layout: str) -> None:
    row = {**columns, FORMATS[layout].messages: messages}
    batch = Batch(file=0, layout=layout, numbers=[0, 1], rows=[row, make_row()])
    result = check_batch(batch, BankFile(Path("x.jsonl"), "gsm8k"), LintSettings())
    assert len(result.ids) == len(result.keys) == len(result.signatures) == 2
    redacted, counts = redact_row(row)
    # By their text: a float that is no number does not equal itself.
    assert repr(redacted) == repr(row) or counts
