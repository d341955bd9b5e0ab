import gzip
import json
from pathlib import Path

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.gsm8k import read_instances
from agentbank_jax.environments.gsm8k_rows import read_problems
from agentbank_jax.errors import AgentBankError

ROWS = [
    {"question": "A robe takes 2 bolts and half that. How many?", "answer": "2/2=<<2/2=1>>1\n2+1=<<2+1=3>>3\n#### 3"},
    {"question": "How many are 1,000 and 200?", "answer": "It is <<1000+200=1200>>1200.\n#### 1,200"},
]


@pytest.fixture
def test_file(own_benchmarks: Path) -> Path:
    path = own_benchmarks / "gsm8k" / "test.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_the_annotated_steps_reach_the_published_answer(test_file: Path) -> None:
    spec = registry.get("gsm8k")
    for index in range(len(ROWS)):
        environment = spec.make()
        environment.reset(options={"instance": spec.instance("test", index)})
        steps = environment.expert_steps()
        *_, (_, reward, terminated, _, info) = [environment.step(step.action) for step in steps]
        assert reward == 1 and terminated and info["success"] and info["answer_computed"]


def test_both_plain_and_gzipped_files_are_read(tmp_path: Path) -> None:
    row = json.dumps({"question": "Q\u2028?", "answer": "1+1=<<1+1=2>>2\n#### 1,002"}, ensure_ascii=False)
    plain, packed = tmp_path / "plain.jsonl", tmp_path / "packed.jsonl.gz"
    plain.write_text(f"{row}\n\n{row}\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    problems = list(read_problems(plain, "train"))
    assert [problem.id for problem in problems] == ["gsm8k/train/1", "gsm8k/train/3"]
    assert list(read_problems(packed, "train")) == problems


def test_instances_have_ids_of_their_split_and_fingerprints_of_their_question(test_file: Path) -> None:
    one, two = registry.get("gsm8k").instance("test", 0), registry.get("gsm8k").instance("test", 1)
    assert (one.id, two.id) == ("gsm8k/test/1", "gsm8k/test/2")
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('{"question": "Q", "answer": "#### 1"}\n{', ":2: not JSON"),
        ('{"question": 3, "answer": "#### 1"}', ":1:question: 3"),
        ('{"question": "Q"}', ":1:answer: None"),
        ('{"question": "Q", "answer": "no mark"}', ":1:answer: ends in 'no mark'"),
        ('{"question": "Q", "answer": "#### -$-1"}', ":1:answer: ends in '-$-1'"),
        ("[1]", ":1: int; expected an object"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_broken_row_is_named_with_file_row_and_field(tmp_path: Path, content: str, where: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(AgentBankError) as error:
        list(read_instances(path, "test"))
    assert f"{path}" in str(error.value)
    assert where in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "answer"),
    [("1,002", "1002"), ("1 002", "1002"), ("-5", "-5"), ("-$5", "-5"), ("$ -5.", "-5"), ("€.5", ".5")],
)
def test_a_published_answer_is_read_as_digits(tmp_path: Path, written: str, answer: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": "Q", "answer": f"#### {written}"}))
    assert [problem.answer for problem in read_problems(path, "train")] == [answer]


def test_every_published_test_row_is_read(benchmarks: Path) -> None:
    assert registry.get("gsm8k").size("test") == 660
