import gzip
import json
import os
from pathlib import Path

import pytest

from agentbank_jax.environments.gsm8k import Gsm8kConfig, Problems, make_spec, read_instances
from agentbank_jax.errors import AgentBankError

ROWS = [
    {"question": "A robe takes 2 bolts and half that. How many?", "answer": "2/2=<<2/2=1>>1\n2+1=<<2+1=3>>3\n#### 3"},
    {"question": "How many are 1,000 and 200?", "answer": "It is <<1000+200=1200>>1200.\n#### 1,200"},
]


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def spec_of(path: Path | None):
    return make_spec(Problems(Gsm8kConfig(test_file=str(path) if path else None)), instruction="Calculate.")


def test_the_annotated_steps_reach_the_published_answer(test_file: Path) -> None:
    spec = spec_of(test_file)
    for index in range(len(ROWS)):
        environment = spec.make()
        environment.reset(options={"instance": spec.instance("test", index)})
        steps = environment.expert_steps()
        *_, (_, reward, terminated, _, info) = [environment.step(step.action) for step in steps]
        assert reward == 1 and terminated and info["success"] and info["answer_computed"]


def test_a_gzipped_file_reads_the_same(test_file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "test.jsonl.gz"
    packed.write_bytes(gzip.compress(test_file.read_bytes()))
    assert read_instances(packed, "test") == read_instances(test_file, "test")


def test_instances_have_ids_of_their_split_and_fingerprints_of_their_question(test_file: Path) -> None:
    one, two = read_instances(test_file, "test")
    assert (one.id, two.id) == ("gsm8k/test/1", "gsm8k/test/2")
    assert one.fingerprint != two.fingerprint


def test_a_missing_file_makes_it_unavailable_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTBANK_GSM8K_TEST", raising=False)
    assert "AGENTBANK_GSM8K_TEST" in (spec_of(None).available() or "")
    assert "is not there" in (spec_of(tmp_path / "none.jsonl").available() or "")


def test_the_environment_variable_names_the_file(test_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBANK_GSM8K_TEST", str(test_file))
    assert spec_of(None).available() is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"test.jsonl:1: expected an object"),
        ('{"question": "Why?"}', r"test.jsonl:1: expected an object"),
        ('{"question": "Why?", "answer": "because"}', r"test.jsonl:1:answer: ends with"),
    ],
)
def test_a_malformed_row_names_file_and_row(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(AgentBankError, match=message):
        read_instances(path, "test")


def test_an_index_beyond_the_file_says_how_many_there_are(test_file: Path) -> None:
    with pytest.raises(AgentBankError, match="it holds 2"):
        spec_of(test_file).instance("test", 2)


def test_every_published_test_row_is_read() -> None:
    if not os.environ.get("AGENTBANK_TEST_DATA"):
        pytest.skip("AGENTBANK_TEST_DATA is not set; it names the folder of real benchmark files")
    path = Path(os.environ["AGENTBANK_TEST_DATA"]) / "gsm8k" / "test_dev_half.jsonl"
    assert len(read_instances(path, "test")) == 660
