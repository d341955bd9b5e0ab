import bz2
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from agentbank_jax.environments.benchmark_rows import (
    open_text,
    question_fingerprint,
    read_csv,
    read_object,
    read_rows,
    read_text,
    text_field,
    typed_field,
)
from agentbank_jax.errors import AgentBankError

ROWS = [{"q": "one\u2028", "n": 1.50}, {"q": "two", "n": 2}]
LAYOUTS = {
    "lines": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS),
    "lines without a last end": "\n".join(json.dumps(row) for row in ROWS),
    "lines of Windows": "".join(json.dumps(row) + "\r\n" for row in ROWS),
    "a byte order mark": "\ufeff" + json.dumps(ROWS),
    "a list": json.dumps(ROWS),
    "a list over lines": "\n" + json.dumps(ROWS, indent=2),
    "a list within": json.dumps({"version": 1, "Data": ROWS}),
    "a list within over lines": json.dumps({"version": 1, "Data": ROWS}, indent=2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_every_layout_is_read_alike_whatever_it_is_packed_with(
    tmp_path: Path, layout: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(pack(LAYOUTS[layout].encode()))
    assert list(read_rows(path, {"q": str}, within="Data")) == [(1, ROWS[0]), (2, ROWS[1])]


def test_a_file_of_one_object_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_text(json.dumps(ROWS[0], indent=2))
    assert list(read_rows(path, {"q": str})) == [(1, ROWS[0])]
    assert read_object(path, {"q": str}) == ROWS[0]


def test_rows_of_lines_have_the_numbers_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('\n{"q": "a"}\n \n{"q": "b"}\n')
    assert [number for number, _ in read_rows(path, {})] == [2, 4]


def test_lines_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('{"q": "a"}\n{"q"')
    rows = read_rows(path, {})
    assert next(rows) == (1, {"q": "a"})
    with pytest.raises(AgentBankError, match=":2: not JSON"):
        next(rows)


def test_decimals_are_read_digit_for_digit_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for content in ('{"n": 1.50}\n{"n": 4e-05}', '[{"n": 1.50}, {"n": 4e-05}]'):
        path.write_text(content)
        assert [row["n"] for _, row in read_rows(path, {}, exact_decimals=True)] == [Decimal("1.50"), Decimal("4e-05")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no row; expected JSON, as lines or one list, of rows with q"),
        (" \n\n", "holds no row"),
        ("[]", "holds no row"),
        ("{", ":1: not JSON"),
        ("[", ": not JSON"),
        ("nothing", ":1: not JSON"),
        ('{"Data": 7}', ": int; expected an object with the list 'Data'"),
        ("7", ":1: int; expected an object"),
        ('[{"q": "x"}, {"q": 3}]', ":2:q: 3; expected a string"),
        ('[{"q": "x"}, 5]', ":2: int; expected an object"),
        ('{"q": "x"}\n\n{"p": 1}', ":3:q: None; expected a string"),
        ("\udcff", "cannot be read (not UTF-8"),
        ("\x1f\udc8bno gzip", "cannot be read"),
        ("BZhno bzip2", "cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_row_and_field(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AgentBankError) as error:
        list(read_rows(path, {"q": str}, within="Data"))
    assert told in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_json_that_is_nested_too_deeply_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("[" * 99_999)
    with pytest.raises(AgentBankError, match=": not JSON"):
        list(read_rows(path, {}))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_file_that_is_cut_off_cannot_be_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "rows"
    path.write_bytes(pack(LAYOUTS["a list"].encode())[:-9])
    with pytest.raises(AgentBankError, match="cannot be read"):
        list(read_rows(path, {}))


def test_a_file_that_is_not_there_is_told_from_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(
        AgentBankError, match=r"none: cannot be read \(No such file or directory\); .* with q, n, plain or"
    ):
        list(read_rows(tmp_path / "none", {"q": str, "n": float}))


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", ": not JSON"), ("[]", ": list; expected an object"), ('{"q": 3}', ":q: 3; expected a string")],
)
def test_a_broken_object_is_named_with_file_and_field(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "object.json"
    path.write_text(content)
    with pytest.raises(AgentBankError) as error:
        read_object(path, {"q": str})
    assert str(error.value).startswith(f"{path}{told}")


def test_text_is_read_as_it_stands_and_its_place_in_the_file_is_known(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one\r\ntwo\x0c\n")
    assert read_text(path) == "one\r\ntwo\x0c\n"
    with open_text(path) as (file, raw):
        assert list(file) == ["one\r\n", "two\x0c\n"] and raw.tell() == path.stat().st_size


def test_csv_is_read_by_its_columns_packed_or_not(tmp_path: Path) -> None:
    content = 'Q,A\r\n"When,\nexactly?",1827\r\nWho?,"James ""Jim"" Stone"\r\n'
    expected = [(1, {"Q": "When,\nexactly?", "A": "1827"}), (2, {"Q": "Who?", "A": 'James "Jim" Stone'})]
    for pack in (bytes, gzip.compress):
        (tmp_path / "rows").write_bytes(pack(content.encode()))
        assert list(read_csv(tmp_path / "rows", ("Q", "A"))) == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("Q,A\nx,\n", ":1:A: ''; expected CSV with the columns Q, A"),
        ("Q,B\nx,y\n", ":1:A: None"),
        ("Q,A\n", ": holds no row"),
        ("", ": holds no row"),
        ('Q,A\n"' + "x" * 200_000, ": field larger than field limit"),
    ],
)
def test_broken_csv_is_named_with_row_and_column(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(AgentBankError) as error:
        list(read_csv(path, ("Q", "A")))
    assert told in str(error.value) and str(path) in str(error.value)


def test_a_field_is_one_of_its_types_and_truths_are_no_numbers() -> None:
    row = {"n": 1, "x": 1.5, "t": True, "o": {}}
    assert [typed_field(row, name, (int, float), "here") for name in ("n", "x")] == [1, 1.5]
    assert typed_field(row, "t", bool, "here") is True and typed_field(row, "o", dict, "here") == {}
    with pytest.raises(AgentBankError, match=r"^here:t: True; expected a whole number or a number.$"):
        typed_field(row, "t", (int, float), "here")
    with pytest.raises(AgentBankError, match=r"^here:n: 1; expected true or false.$"):
        typed_field(row, "n", bool, "here")
    with pytest.raises(AgentBankError, match=r"^here:z: None; expected a list.$"):
        typed_field(row, "z", list, "here")


def test_a_text_has_more_than_blanks() -> None:
    assert text_field({"q": " x \n"}, "q", "here") == "x"
    for value in (" ", "", None, 3):
        with pytest.raises(AgentBankError, match=r"^here:q: .*; expected a "):
            text_field({"q": value}, "q", "here")


def test_blanks_do_not_count_for_the_fingerprint() -> None:
    assert question_fingerprint("a  b\n") == question_fingerprint("a b") != question_fingerprint("ab")
    # JSON can hold half a character.
    assert question_fingerprint("\ud800") == question_fingerprint("?")
