import json
import os
from pathlib import Path

import pytest

from agentbank_jax.environments import benchmark_data, registry
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.errors import AgentBankError

ROWS = [
    {"question": "How many are 1 and 2?", "answer": "1+2=<<1+2=3>>3\n#### 3"},
    {"question": "How many are 2 and 2?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
]
GSM8K = registry.get("gsm8k")


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_version_changes_with_question_and_answer(own_benchmarks: Path) -> None:
    versions = set()
    for row in (ROWS[0], {**ROWS[0], "question": "Other?"}, {**ROWS[0], "answer": "1\n#### 4"}):
        write(own_benchmarks / "gsm8k" / "test.jsonl", [row, ROWS[1]])
        versions.add(GSM8K.data_version())
    assert len(versions) == 3


def test_a_file_that_changed_is_read_again(own_benchmarks: Path) -> None:
    path = own_benchmarks / "gsm8k" / "test.jsonl"
    write(path, ROWS)
    assert GSM8K.size("test") == 2
    write(path, ROWS[:1])
    os.utime(path, (1, 1))
    assert GSM8K.size("test") == 1


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_a_row_is_an_error(own_benchmarks: Path, text: str) -> None:
    write(own_benchmarks / "gsm8k" / "test.jsonl", [])
    (own_benchmarks / "gsm8k" / "test.jsonl").write_text(text)
    with pytest.raises(AgentBankError, match="holds no row"):
        GSM8K.size("test")


def test_without_its_file_a_benchmark_says_where_it_is_had_and_how_it_is_named(own_benchmarks: Path) -> None:
    reason = GSM8K.available() or ""
    assert f"{own_benchmarks / 'gsm8k'} holds no test*.jsonl*" in reason
    for part in ("github.com/openai/grade-school-math", "BenchmarkConfig.data_dir", "AGENTBANK_BENCHMARKS"):
        assert part in reason
    with pytest.raises(AgentBankError, match="holds no test"):
        GSM8K.instance("test", 0)


def test_the_environment_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTBANK_BENCHMARKS", raising=False)
    assert "no folder of benchmarks is named" in (GSM8K.available() or "")
    write(tmp_path / "gsm8k" / "test.jsonl", ROWS)
    monkeypatch.setenv("AGENTBANK_BENCHMARKS", str(tmp_path))
    assert GSM8K.available() is None


def test_a_benchmark_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "problems.jsonl", ROWS)
    benchmark_data.configure(BenchmarkConfig(paths={"gsm8k": str(tmp_path / "problems.jsonl")}))
    try:
        assert GSM8K.size("test") == 2
        with pytest.raises(AgentBankError, match="it is a file"):
            GSM8K.size("train")
    finally:
        benchmark_data.configure(BenchmarkConfig())


def test_an_index_beyond_the_file_says_how_many_there_are(own_benchmarks: Path) -> None:
    write(own_benchmarks / "gsm8k" / "test.jsonl", ROWS)
    with pytest.raises(AgentBankError, match="it holds 2"):
        GSM8K.instance("test", 2)
