import gzip
import json
from pathlib import Path

import pytest

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.qa_rows import (
    MAX_SEARCHES,
    read_bamboogle,
    read_hotpotqa,
    read_strategyqa,
    read_triviaqa,
)
from agentbank_jax.errors import AgentBankError
from tests.environments import made_triviaqa

HOTPOTQA = {
    "_id": "5a",
    "question": "Where was the author born?",
    "answer": "Amber Bay",
    "type": "bridge",
    "level": "hard",
    "supporting_facts": [["Silent Garden", 0], ["Clara Stone", 1], ["Silent Garden", 2]],
    "context": [["Silent Garden", ["x"]]],
}
STRATEGYQA = {
    "qid": "e0",
    "term": "Albany, Georgia",
    "description": "City",
    "question": "Will it?",
    "answer": False,
    "facts": ["x"],
    "decomposition": ["y"],
    "evidence": [
        [[["Albany, Georgia-1"]], [["Spider-Man-12", "no_evidence"], "operation"]],
        [[["Albany, New York-2"]]],
    ],
}
TRIVIAQA = {"Question": "Who?", "QuestionId": "tc_1", "Answer": {"Value": "A", "Aliases": ["A", "B"]}}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def only(instances: object) -> Instance:
    (instance,) = instances  # type: ignore[misc]
    return instance


def test_hotpotqa_is_read_from_its_own_list_and_from_json_lines(tmp_path: Path) -> None:
    official = only(read_hotpotqa(write(tmp_path / "a.json", [HOTPOTQA]), "test"))
    renamed = {"id": "5a", **{name: value for name, value in HOTPOTQA.items() if name != "_id"}}
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((json.dumps(renamed) + "\n\n").encode()))
    assert only(read_hotpotqa(tmp_path / "b.jsonl.gz", "test")) == official
    assert official.id == "hotpotqa/test/5a" and official.payload.answers == ("Amber Bay",)
    # Each title of the supporting facts once, in their order.
    assert official.payload.searches == ("Silent Garden", "Clara Stone")


@pytest.mark.parametrize(
    ("fields", "difficulty"),
    [
        ({"level": "easy", "type": "comparison"}, 1),
        ({"level": "easy", "type": "bridge"}, 2),
        ({"level": "hard", "type": "bridge"}, 6),
        ({"level": "expert"}, len(HOTPOTQA["supporting_facts"])),
        ({"level": ["hard"], "type": "bridge"}, len(HOTPOTQA["supporting_facts"])),
    ],
)
def test_hotpotqas_difficulty_is_level_and_type_or_else_the_number_of_facts(
    tmp_path: Path, fields: dict, difficulty: int
) -> None:
    assert only(read_hotpotqa(write(tmp_path / "a.json", [{**HOTPOTQA, **fields}]), "test")).difficulty == difficulty


def test_strategyqas_booleans_become_words_and_the_first_annotators_paragraphs_searches(tmp_path: Path) -> None:
    instance = only(read_strategyqa(write(tmp_path / "dev.json", [STRATEGYQA]), "test"))
    assert instance.id == "strategyqa/test/e0" and instance.payload.answers == ("No",)
    assert instance.payload.searches == ("Albany, Georgia", "Spider-Man")
    without = {name: value for name, value in STRATEGYQA.items() if name != "evidence"} | {"answer": True}
    instance = only(read_strategyqa(write(tmp_path / "dev.jsonl", json.dumps(without)), "test"))
    assert instance.payload.answers == ("Yes",) and instance.payload.searches == ("Albany, Georgia",)


def test_triviaqas_value_comes_first_and_its_aliases_once_each(tmp_path: Path) -> None:
    path = write(tmp_path / "dev.json", made_triviaqa.questions(4))
    instances = list(read_triviaqa(path, "test"))
    assert [instance.id for instance in instances] == [f"triviaqa/test/made_{number}" for number in range(4)]
    assert instances[0].payload.answers == (
        "Amber Bay", "Amberbay", "The Amber Bay", "AMBER-BAY", "amberbay", "the amber bay", "amber-bay",
    )  # fmt: skip
    assert instances[0].payload.searches == ("Sorrel",)
    # Where no page is named the question is searched for.
    assert instances[3].payload.searches == (instances[3].payload.question,)
    # The same on one line, as some tools write it.
    assert list(read_triviaqa(write(path, made_triviaqa.questions(4)), "test")) == instances


def test_bamboogle_is_read_from_csv_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text('Question,Answer\n"When, exactly?",1827\nWho?,"James ""Jim"" Stone"\n')
    rows = [{"Question": "When, exactly?", "Answer": "1827"}, {"Question": "Who?", "Answer": 'James "Jim" Stone'}]
    write(tmp_path / "b.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    instances = list(read_bamboogle(tmp_path / "b.csv", "test"))
    assert instances == list(read_bamboogle(tmp_path / "b.jsonl", "test"))
    assert [instance.id for instance in instances] == ["bamboogle/test/1", "bamboogle/test/2"]
    assert [instance.payload.answers for instance in instances] == [("1827",), ('James "Jim" Stone',)]


def test_an_expert_never_searches_longer_than_an_episode_lasts(tmp_path: Path) -> None:
    facts = [[f"Title {number}", 0] for number in range(30)]
    instance = only(read_hotpotqa(write(tmp_path / "a.json", [{**HOTPOTQA, "supporting_facts": facts}]), "test"))
    assert len(instance.payload.searches) == MAX_SEARCHES


def test_fingerprints_are_those_of_the_questions_blanks_aside(tmp_path: Path) -> None:
    rows = [HOTPOTQA, {**HOTPOTQA, "question": "Where was  the author born? "}, {**HOTPOTQA, "question": "Other?"}]
    one, same, other = read_hotpotqa(write(tmp_path / "a.json", rows), "test")
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("read", "row", "where"),
    [
        (read_hotpotqa, {**HOTPOTQA, "answer": 3}, ":1:answer: 3"),
        (read_hotpotqa, {**HOTPOTQA, "question": " "}, ":1:question: ' '"),
        (read_hotpotqa, {**HOTPOTQA, "supporting_facts": "x"}, ":1:supporting_facts: 'x'"),
        (read_hotpotqa, {"question": "x"}, ":1:supporting_facts: None"),
        (read_strategyqa, {**STRATEGYQA, "answer": "no"}, ":1:answer: 'no'"),
        (read_strategyqa, {**STRATEGYQA, "evidence": 1}, ":1:evidence: 1"),
        (read_strategyqa, {**STRATEGYQA, "term": None}, ":1:term: None"),
        (read_triviaqa, {"Data": [{"Question": "x", "QuestionId": "1"}]}, ":1:Answer: None"),
        (read_triviaqa, {"Data": [{**TRIVIAQA, "Answer": {"Value": "A", "Aliases": 1}}]}, ":1:Answer:Aliases: 1"),
        (read_triviaqa, {"Data": [{**TRIVIAQA, "Answer": {"Aliases": ["A"]}}]}, ":1:Answer:Value: None"),
        (read_triviaqa, {"Data": 7}, "int; expected an object with the list 'Data'"),
        (read_bamboogle, {"Question": "x"}, ":1:Answer: None"),
    ],
)
def test_a_broken_row_is_named_with_file_row_and_field(tmp_path: Path, read: object, row: dict, where: str) -> None:
    path = write(tmp_path / "rows.json", row)
    with pytest.raises(AgentBankError) as error:
        list(read(path, "test"))  # type: ignore[operator]
    assert str(path) in str(error.value) and where in str(error.value) and "\n" not in str(error.value)
