import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments import index_build
from agentbank_jax.environments.index_build import build_index
from agentbank_jax.environments.passage_index import (
    MANIFEST,
    TANTIVY,
    Passage,
    PassageStore,
    open_index,
    read_manifest,
)
from agentbank_jax.errors import AgentBankError

ROWS = [
    {"title": "Silent Garden", "text": "Silent Garden is a novel by Clara Stone."},
    {"title": "Clara Stone", "text": "Clara Stone, a café owner, was born in Amber Bay.\nShe wrote novels there."},
    {"title": "Amber Bay", "text": "Amber Bay is a city. Its mayor likes Silent Garden and Clara Stone."},
    {"title": "silent  garden", "text": "A park of that name."},
    {"title": "The Who", "text": "They are a band."},
]


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("index")
    build_index([write_rows(place / "rows.jsonl", ROWS)], place / "index", max_words=12)
    return place / "index"


@pytest.fixture(scope="module")
def store(folder: Path) -> PassageStore:
    return PassageStore(folder)


def titles(passages: list[Passage]) -> list[str]:
    return [passage.title for passage in passages]


def test_the_manifest_says_what_is_there(folder: Path) -> None:
    manifest = read_manifest(folder)
    # Two texts are cut at 12 words; the second "silent garden" stands apart from the first.
    assert (manifest.passages, manifest.articles, manifest.duplicates, manifest.max_words) == (7, 5, 0, 12)
    assert manifest.sources == (
        {"file": "rows.jsonl", "bytes": (folder.parent / "rows.jsonl").stat().st_size, "passages": 7},
    )
    assert len(manifest.content) == 64 and manifest.tantivy


def test_a_search_for_a_title_shows_its_article_first_and_in_order(store: PassageStore) -> None:
    assert titles(store.search("Amber Bay", 5))[:2] == ["Amber Bay", "Amber Bay"]
    assert titles(store.search("the who", 1)) == ["The Who"]
    assert set(titles(store.search("SILENT garden", 2))) == {"Silent Garden", "silent garden"}


def test_words_match_whatever_their_form_case_and_accents(store: PassageStore) -> None:
    assert titles(store.search("CAFES", 3)) == ["Clara Stone"]
    assert titles(store.search("writing novel", 1)) and store.search("novels", 5) == store.search("novel", 5)


def test_an_article_is_all_passages_of_its_title_in_their_order(store: PassageStore) -> None:
    assert store.article("clara stone") == [
        "Clara Stone, a café owner, was born in Amber Bay.",
        "She wrote novels there.",
    ]
    assert store.article("Silent Garden") == ["Silent Garden is a novel by Clara Stone.", "A park of that name."]
    assert store.article("zebra") == []


@given(st.text(max_size=80))
def test_any_text_is_a_query(store: PassageStore, query: str) -> None:
    assert len(store.search(query, 3)) <= 3


HOSTILE = [
    "AND",
    "a AND (",
    'x"y title:',
    "NOT NOT -garden +stone",
    "[1 TO 2} IN [",
    "text:/a(/ .*",
    "^3 ~9 *",
    "\x00\x07\x1b[31m garden",
    "\ud800garden\udfff",
    "garden " * 10_000,
    "g" * 65_536,
    "(" * 65_536,
    "é" * 65_536,
    "\n".join(["garden"] * 30_000),
]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: repr(query[:12]))
def test_operators_control_characters_and_64k_queries_are_only_words(store: PassageStore, query: str) -> None:
    assert ("Silent Garden" in titles(store.search(query, 5))) == ("garden" in query)
    assert store.article(query) == []


def test_a_query_of_no_word_finds_nothing(store: PassageStore) -> None:
    for query in ("", " ", "?!", "the", "the of", "it and AND or"):
        assert store.search(query, 3) == []


def made_rows(count: int) -> list[dict]:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=3)) for _ in range(40)]
    return [{"title": f"T{number % 90}", "text": " ".join(rng.choices(words, k=6))} for number in range(count)]


def test_results_do_not_depend_on_how_the_index_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made_rows(3000)
    path = write_rows(tmp_path / "rows.jsonl", rows)
    stores = []
    for threads in (1, 4):
        monkeypatch.setattr(index_build.os, "sched_getaffinity", lambda _, threads=threads: set(range(threads)))
        manifest = build_index([path], tmp_path / str(threads))
        stores.append(PassageStore(tmp_path / str(threads)))
    assert stores[0].manifest == stores[1].manifest == manifest
    # Many passages of few words, so that many are equally good.
    for row in rows[:60]:
        query = row["text"].split()[0] + " " + row["text"].split()[1]
        assert stores[0].search(query, 5) == stores[1].search(query, 5)
        assert stores[0].search(row["title"], 5) == stores[1].search(row["title"], 5)


def test_equal_passages_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    rows = [{"title": f"t{number:03}", "text": "same words here"} for number in range(300)]
    build_index([write_rows(tmp_path / "rows.jsonl", rows)], tmp_path / "index")
    assert titles(PassageStore(tmp_path / "index").search("same words", 5)) == ["t000", "t001", "t002", "t003", "t004"]


def test_the_same_passages_have_the_same_hash_and_others_another(tmp_path: Path) -> None:
    contents = []
    for name, rows in {"a": ROWS, "b": ROWS + ROWS[:2], "c": ROWS[:-1], "d": [*ROWS[1:], ROWS[0]]}.items():
        manifest = build_index([write_rows(tmp_path / f"{name}.jsonl", rows)], tmp_path / name)
        contents.append((manifest.content, manifest.duplicates))
    assert contents[0][0] == contents[1][0] and [duplicates for _, duplicates in contents] == [0, 2, 0, 0]
    assert len({content for content, _ in contents}) == 3


def test_half_a_surrogate_pair_becomes_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"title": "A\\ud800", "text": "Half \\udfff pair."}\n')
    build_index([path], tmp_path / "index")
    assert PassageStore(tmp_path / "index").search("half pair", 1) == [Passage(title="A?", text="Half ? pair.")]


def test_an_index_is_whole_or_not_there(tmp_path: Path) -> None:
    good, bad = write_rows(tmp_path / "good.jsonl", ROWS), tmp_path / "bad.jsonl"
    bad.write_text('{"title": "A", "text": "x"}\n{')
    with pytest.raises(AgentBankError, match=r"bad\.jsonl:2"):
        build_index([good, bad], tmp_path / "new" / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "good.jsonl"]

    former = build_index([good], tmp_path / "index")
    with pytest.raises(AgentBankError, match=r"bad\.jsonl:2"):
        build_index([bad], tmp_path / "index", overwrite=True)
    assert read_manifest(tmp_path / "index") == former


def test_nothing_but_an_index_is_ever_replaced(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for output in (tmp_path / "mine", rows):
        with pytest.raises(AgentBankError, match="is no index"):
            build_index([rows], output, overwrite=True)
    build_index([rows], tmp_path / "index")
    with pytest.raises(AgentBankError, match="--overwrite"):
        build_index([rows], tmp_path / "index")
    assert build_index([rows], tmp_path / "index", overwrite=True).passages == 5


def test_files_without_a_passage_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match="hold no passage"):
        build_index([write_rows(tmp_path / "a.jsonl", [{"title": "A", "text": " "}])], tmp_path / "index")


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (None, "holds no index of passages"),
        ("{", "cannot be read"),
        ("[]", "of version 1"),
        ('{"format": "agentbank_jax passages", "version": 2}', "of version 1"),
        ('{"format": "agentbank_jax passages", "version": 1}', "its fields are not"),
    ],
)
def test_what_is_no_index_says_how_to_build_one(tmp_path: Path, manifest: str | None, reason: str) -> None:
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(AgentBankError, match=reason) as error:
        PassageStore(tmp_path)
    assert f"python scripts/build_index.py --input=PASSAGES --output={tmp_path}" in str(error.value)


def test_an_index_whose_files_are_broken_names_the_version_that_built_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "index")
    (tmp_path / "index" / TANTIVY / "meta.json").write_text("{}")
    with pytest.raises(AgentBankError, match=r"cannot be opened.*built with tantivy"):
        PassageStore(tmp_path / "index")


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    """A copy of an index that this process may read and not write, root's too; not in pytest's closed folders."""
    place = Path(tempfile.mkdtemp())
    moved = shutil.copytree(folder, place / "moved")
    for path in (*moved.rglob("*"), moved, place):
        path.chmod(path.stat().st_mode & ~0o222 | 0o055 * path.is_dir())
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield moved
    if root:
        os.seteuid(0)
    for path in (place, moved, moved / TANTIVY):
        path.chmod(0o755)
    shutil.rmtree(place)


def test_an_index_can_be_moved_and_searched_by_whoever_may_only_read_it(read_only: Path) -> None:
    with pytest.raises(PermissionError):
        (read_only / "new").touch()
    assert titles(PassageStore(read_only).search("Amber Bay", 1)) == ["Amber Bay"]


def test_an_index_built_anew_is_opened_anew(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    build_index([rows], tmp_path / "index")
    first = open_index(str(tmp_path / "index"))
    assert open_index(str(tmp_path / "index")) is first
    build_index([write_rows(rows, ROWS[:1])], tmp_path / "index", overwrite=True)
    os.utime(tmp_path / "index" / MANIFEST, (1, 1))
    assert open_index(str(tmp_path / "index")).manifest.passages == 1


def test_a_build_that_is_killed_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from agentbank_jax.environments.index_build import build_index\n"
        f"build_index([Path({str(rows)!r})], Path({str(tmp_path / 'index')!r}),\n"
        "            progress=lambda part, count: count == 3 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (tmp_path / "index").exists()
    build_index([rows], tmp_path / "index")
    # The next build also clears what the killed one left.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "rows.jsonl"]
