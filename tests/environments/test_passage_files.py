import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentbank_jax.environments.passage_files import Article, find_passage_files, read_articles
from agentbank_jax.environments.sentences import split_passages
from agentbank_jax.errors import AgentBankError

# Each layout as its publisher has it, made up here; all hold the same two articles.
EXPECTED = [("Amber Bay", "Amber Bay is a city. It lies & lives."), ("Clara Stone", "Clara wrote \u2028 it.")]


def lines(*rows: dict) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


LAYOUTS = {
    "passages.jsonl": lines(*({"title": title, "text": text} for title, text in EXPECTED)),
    "blank.jsonl": "\n" + "\n".join(lines({"title": title, "text": text}) for title, text in EXPECTED),
    "list.json": json.dumps([{"title": title, "text": text} for title, text in EXPECTED], indent=1),
    "pyserini.jsonl": lines(*({"id": title, "contents": f'"{title}"\n{text}'} for title, text in EXPECTED)),
    "untitled.jsonl": lines(*({"id": title, "contents": text} for title, text in EXPECTED)),
    "psgs_w100.tsv": "id\ttext\ttitle\n"
    + "".join(f'{number}\t"{text}"\t{title}\n' for number, (title, text) in enumerate(EXPECTED, start=1)),
    "wiki_00": "".join(
        f'<doc id="1" url="https://x" title="{title}">\n{title}\n\n{text.replace("&", "&amp;")}\n</doc>\n\n'
        for title, text in EXPECTED
    ),
    "wiki_01": lines(
        *({"id": "1", "revid": "2", "url": "https://x", "title": title, "text": text} for title, text in EXPECTED)
    ),
    "abstracts.jsonl": lines(*({"id": "1", "title": title, "text": [text[:9], text[9:]]} for title, text in EXPECTED)),
    "hotpot_dev_distractor_v1.json": json.dumps(
        [{"_id": "1", "question": "?", "context": [[title, [text[:9], text[9:]]] for title, text in EXPECTED]}]
    ),
    "strategyqa.jsonl": lines(*({"qid": "1", "term": title, "facts": [text]} for title, text in EXPECTED)),
}


def passages(path: Path) -> list[tuple[str, str]]:
    return [
        (article.title, text) for article, _ in read_articles(path) for text in split_passages(article.paragraphs, 99)
    ]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)])
def test_every_published_layout_gives_the_same_passages(
    tmp_path: Path, name: str, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(pack(LAYOUTS[name].encode()))
    # A passage holds no other blanks than single ones.
    assert passages(path) == [(title, " ".join(text.split())) for title, text in EXPECTED]


def test_a_text_file_is_an_article_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "Andrew_Lloyd_Webber.txt").write_text("A composer.\nBorn in 1948.\n")
    assert passages(tmp_path / "Andrew_Lloyd_Webber.txt") == [("Andrew Lloyd Webber", "A composer. Born in 1948.")]


def test_a_title_with_quotation_marks_and_a_quoted_text_are_whole(tmp_path: Path) -> None:
    (tmp_path / "wiki_00").write_text('<doc id="1" url="x" title="The "Who" &amp; co">\nThey play.\n</doc>\n')
    (tmp_path / "psgs.tsv").write_text('id\ttext\ttitle\n1\t"He said ""go"".\tNow."\tA\n')
    assert passages(tmp_path / "wiki_00") == [('The "Who" & co', "They play.")]
    assert passages(tmp_path / "psgs.tsv") == [("A", 'He said "go". Now.')]


def test_progress_rises_to_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "passages.jsonl"
    path.write_text("".join(lines({"title": str(number), "text": "word " * 200}) for number in range(200)))
    parts = [part for _, part in read_articles(path)]
    assert parts == sorted(parts) and parts[0] < 0.2 and parts[-1] == 1


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.jsonl", '{"title": "A", "text": "x"}\n{"title": 3, "text": "x"}\n', ":2:title: 3"),
        ("a.jsonl", '{"title": "A", "text": "x"}\n{"title"\n', ":2: not JSON"),
        ("a.jsonl", '{"title": "A", "text": "x"}\n[1]\n', ":2: list; expected an object"),
        ("a.jsonl", '{"name": "A", "words": "x"}\n', ":1: holds name, words"),
        ("a.jsonl", '{"title": "A", "text": 7}\n', ":1:text: 7"),
        ("a.jsonl", '{"qid": "1", "term": "A", "facts": [1]}\n', ":1:facts: [1]"),
        ("a.json", '[{"context": [["A", ["x"]], ["B"]]}]', ":1:context:2: ['B']"),
        ("a.json", '{\n"Data": []}', ":1: holds Data; expected"),
        ("a.tsv", "id\ttext\ttitle\n1\tonly\n", ":1: 2 columns"),
        ("wiki_00", '<doc id="1" title="A">\nx\n', "ends within the article 'A'"),
        ("wiki_00", '<doc id="1" title="A">\nx\n</doc>\nstray\n', ":4: 'stray'"),
        ("a.tsv", "one two\n", "begins with 'one two'"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "\udcff\n", "not UTF-8"),
        ("a.jsonl.gz", "\x1f\udc8bno gzip", "cannot be read"),
    ],
)
def test_what_breaks_a_layout_is_named_with_file_and_place(tmp_path: Path, name: str, content: str, where: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AgentBankError) as error:
        list(read_articles(path))
    assert str(path) in str(error.value) and where in str(error.value) and "\n" not in str(error.value)


def test_a_folder_gives_its_files_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("AB/wiki_01", "AA/wiki_00.bz2", "README.md", "AA/x.jsonl.gz", "index.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = find_passage_files([str(tmp_path / "AB/wiki_01"), str(tmp_path)])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["AB/wiki_01", "AA/wiki_00.bz2", "AA/x.jsonl.gz"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match="no such file or folder"):
        find_passage_files([str(tmp_path / "missing")])
    with pytest.raises(AgentBankError, match="the folder holds no"):
        find_passage_files([str(tmp_path)])


def test_an_article_keeps_its_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(lines({"title": "A", "text": "One.\nTwo."}))
    assert [article for article, _ in read_articles(tmp_path / "a.jsonl")] == [Article("A", ["One.", "Two."])]
