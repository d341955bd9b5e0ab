import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows
from agentbank_jax.errors import AgentBankError

ROWS = [{"q": "one\u2028", "n": 1.50}, {"q": "two", "n": 2}]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode(),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2).encode(),
        gzip.compress(json.dumps(ROWS).encode()),
    ],
    # Packed content holds the time, which differs between the processes that collect the tests.
    ids=["lines", "list", "list over lines", "packed list"],
)
def test_lines_and_lists_are_read_alike(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    assert list(read_rows(path, "rows", {"q": str})) == [(1, ROWS[0]), (2, ROWS[1])]


def test_a_file_of_one_object_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_text(json.dumps(ROWS[0], indent=2))
    assert list(read_rows(path, "rows", {"q": str})) == [(1, ROWS[0])]


def test_decimals_are_read_digit_for_digit_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"n": 1.50}\n{"n": 4e-05}')
    assert [row["n"] for _, row in read_rows(path, "rows", {}, exact_decimals=True)] == [
        Decimal("1.50"),
        Decimal("4e-05"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no row"),
        ("[]", "holds no row"),
        ("{", ":1: not JSON"),
        ('[{"q": "x"}, {"q": 3}]', ":2:q: 3; expected"),
        ('[{"q": "x"}, 5]', ":1:q: list"),
        ('{"q": "x"}\n\n{"p": 1}', ":3:q: None; expected a string"),
    ],
)
def test_a_broken_file_is_named_with_row_and_field(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "rows"
    path.write_text(content)
    with pytest.raises(AgentBankError) as error:
        list(read_rows(path, "rows", {"q": str}))
    assert told in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_blanks_do_not_count_for_the_fingerprint() -> None:
    assert question_fingerprint("a  b\n") == question_fingerprint("a b") != question_fingerprint("ab")
