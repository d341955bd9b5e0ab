"""A redacted copy has the layout of its bank, holds no personal data, and is there whole or not at all."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.lint.batch import LintSettings
from agentbank_jax.trajectories.lint.linter import lint
from agentbank_jax.trajectories.lint.redaction import redact_files, redact_row
from agentbank_jax.trajectories.lint.rows import find_bank_files
from agentbank_jax.trajectories.rows.files import RowReader
from tests.trajectories.lint.made_rows import GOOD_TURNS, make_row, write_rows

MAIL = ("human", "Observation: write to ann@example.org \u2028 or (212) 555-0187")


def dirty(number: int) -> dict:
    return make_row(
        GOOD_TURNS[0], GOOD_TURNS[1], MAIL, GOOD_TURNS[3], id=f"r{number}", info={"mail": "a.b@c.org"}, n=number
    )


def test_every_layout_is_kept_and_linting_the_copy_finds_no_personal_data(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    rows = [dirty(0), make_row(id="clean", info={"mail": ""}, n=1), dirty(2)]
    write_rows(bank / "a" / "train.jsonl", rows)
    (bank / "a" / "train.jsonl.gz").write_bytes(gzip.compress((bank / "a" / "train.jsonl").read_bytes()))
    (bank / "a" / "train.json").write_text(json.dumps(rows))
    (bank / "b").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), bank / "b" / "train-0.parquet", row_group_size=2)
    files = find_bank_files([bank])
    assert len(files) == 4
    counts = redact_files(files, tmp_path / "copy")
    assert counts == {"email": 4 * 4, "phone": 4 * 2}
    copies = find_bank_files([tmp_path / "copy"])
    assert [c.path.relative_to(tmp_path / "copy") for c in copies] == [f.path.relative_to(bank) for f in files]
    for copy in copies:
        redacted = [row for _, row in RowReader(copy.path)]
        assert redacted[1] == rows[1] and [row["id"] for row in redacted] == [row["id"] for row in rows]
        assert redacted[0]["conversations"][2]["value"] == "Observation: write to [EMAIL] \u2028 or [PHONE]"
        assert (redacted[2]["info"], redacted[2]["n"]) == ({"mail": "[EMAIL]"}, 2)
    assert pq.read_schema(copies[3].path).equals(pq.read_schema(files[3].path))
    result = lint(copies, LintSettings())
    assert not [rule for rule, _ in result.tally.findings if rule.startswith("personal-")]
    assert any(rule.startswith("personal-") for rule, _ in lint(files, LintSettings()).tally.findings)


def test_redacting_a_copy_again_changes_no_byte(tmp_path: Path) -> None:
    write_rows(tmp_path / "bank" / "train.jsonl", [dirty(0), make_row()])
    redact_files(find_bank_files([tmp_path / "bank"]), tmp_path / "one")
    assert redact_files(find_bank_files([tmp_path / "one"]), tmp_path / "two") == {}
    assert (tmp_path / "one" / "train.jsonl").read_bytes() == (tmp_path / "two" / "train.jsonl").read_bytes()


def test_a_clean_row_comes_back_as_it_was_and_ids_are_left_alone() -> None:
    row = make_row(id="ann@example.org", n=1.5, other=None)
    assert redact_row(row) == (row, {})


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    bank = write_rows(tmp_path / "bank" / "train.jsonl", [dirty(0)])
    with open(bank, "a") as file:
        file.write('{"id": "cut')
    with pytest.raises(AgentBankError, match="line 2: not JSON"):
        redact_files(find_bank_files([tmp_path / "bank"]), tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["bank"]


def test_what_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    bank = write_rows(tmp_path / "bank" / "train.jsonl", [dirty(0)])
    before = bank.read_bytes()
    with pytest.raises(AgentBankError, match="exists already"):
        redact_files(find_bank_files([tmp_path / "bank"]), tmp_path / "bank")
    assert bank.read_bytes() == before


def test_text_that_utf_8_cannot_hold_is_linted_and_copied(tmp_path: Path) -> None:
    path = tmp_path / "bank" / "train.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(make_row(("human", "half \ud800 a@b.org"), *GOOD_TURNS[1:])) + "\n")
    files = find_bank_files([path.parent])
    assert lint(files, LintSettings()).tally.rows["personal-email"] == 1
    redact_files(files, tmp_path / "copy")
    ((_, row),) = RowReader(tmp_path / "copy" / "train.jsonl")
    assert row["conversations"][0]["value"] == "half \ud800 [EMAIL]"
