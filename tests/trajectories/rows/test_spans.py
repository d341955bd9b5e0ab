"""Spans cover each row of a file once, and a reader of a span gives what a reader of the file gives there."""

import gzip
import json
from itertools import chain, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentbank_jax.trajectories.rows.errors import SkippedRows
from agentbank_jax.trajectories.rows.files import KINDS, WHOLE_FILE, RowReader
from agentbank_jax.trajectories.rows.spans import find_spans
from agentbank_jax.trajectories.schema import TrajectoryError

SPACES = st.sampled_from(["", " ", "\n", "\n\n  ", "\r\n"])
TEXTS = st.text(st.sampled_from('ab,[]{}"\\ \n\u2028é漢😀'), max_size=12)


def write(path: Path, rows: list[dict[str, str]], spaces: list[str], mark: bool) -> None:
    kind = path.name.split(".", 1)[1]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    start = "\ufeff" if mark else ""
    if kind == "parquet":
        table = pa.table({"id": [row["id"] for row in rows], "text": [row["text"] for row in rows]})
        pq.write_table(table, path, row_group_size=3)
        return
    if kind.startswith("jsonl"):
        # Empty lines do not count.
        content = start + "".join(f"{line}\n{'' if space == ' ' else chr(10) * len(space)}" for line, space in
                                  zip(lines, spaces, strict=False))  # fmt: skip
    else:
        content = start + spaces[0] + "[" + spaces[1] + f"{spaces[2]},{spaces[3]}".join(lines) + spaces[0] + "]" + "\n"
    path.write_bytes(gzip.compress(content.encode()) if kind.endswith("gz") else content.encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KINDS), st.lists(TEXTS, min_size=1, max_size=9), st.integers(1, 5), st.data())
def test_the_rows_of_all_spans_are_those_of_the_file(
    tmp_path: Path, kind: str, texts: list[str], size: int, data: st.DataObject
) -> None:
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    spaces = data.draw(st.lists(SPACES, min_size=max(4, len(rows)), max_size=max(4, len(rows))))
    path = tmp_path / f"train{kind}"
    write(path, rows, spaces, mark=data.draw(st.booleans()))
    spans = find_spans(path, size)
    assert [span.count for span in spans[:-1]] == [size] * (len(spans) - 1)
    assert [span.first for span in spans] == list(range(0, len(rows), size))
    read = [list(RowReader(path, span=span)) for span in spans]
    assert list(chain(*read)) == list(enumerate(rows)) == list(RowReader(path))
    assert all(first[-1][0] + 1 == second[0][0] for first, second in pairwise(read))


@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz"])
def test_a_broken_line_in_a_span_is_named_by_its_number_in_the_file(tmp_path: Path, kind: str) -> None:
    lines = ['{"a": 1}', "", '{"a": 2}', '{"a": 3}', "", "{broken", '{"a": 5}']
    content = "\n".join(lines).encode()
    (tmp_path / f"train{kind}").write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    found: list[list[str]] = []
    for size in (2, 10):
        skipped = SkippedRows()
        for span in find_spans(tmp_path / f"train{kind}", size):
            list(RowReader(tmp_path / f"train{kind}", span=span, reject=skipped))
        found.append([row.message for row in skipped.first])
    assert found[0] == found[1] and "row 3, line 6: not JSON" in found[0][0]


def test_a_row_that_is_no_object_is_named_by_its_number_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text('[{"a": 1}, {"a": 2}, {"a": 3}, 7, {"a": 5}]')
    spans = find_spans(tmp_path / "train.json", 2)
    with pytest.raises(TrajectoryError, match=r"train.json, row 3: 7; expected an object"):
        list(RowReader(tmp_path / "train.json", span=spans[1]))
    assert list(RowReader(tmp_path / "train.json", span=spans[2])) == [(4, {"a": 5})]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.json", "[]"),
        ("train.json", '{"a": 1}'),
        ("train.json", '[{"a": 1}, {"a": 2}'),
        ("train.json", '[{"a": 1}, {"a": 2}] x'),
        ("train.json", '[{"a": 1} {"a": 2}]'),
        ("train.json", '[{"a": 1},]'),
        ("train.json", '{"a": 1}\n{"a": 2}\n'),
        ("train.jsonl", ""),
        ("train.jsonl.gz", "no gzip"),
        ("train.parquet", "no parquet"),
    ],
)
def test_what_cannot_be_divided_is_left_to_its_reader(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert find_spans(tmp_path / name, 1) == [WHOLE_FILE]
