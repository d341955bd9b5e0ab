import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentbank_jax.environments import benchmark_data, registry, webshop_published
from agentbank_jax.environments.benchmark_data import BenchmarkConfig, PublishedData
from agentbank_jax.environments.published import embodied, math, programming, reasoning, web
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


PUBLISHED = {
    data.name: data
    for module in (embodied, math, programming, web, webshop_published)
    for data in vars(module).values()
    if isinstance(data, PublishedData)
} | {spec.name: spec.size.__self__ for spec in reasoning.SPECS}
TRAINED = sorted(name for name, data in PUBLISHED.items() if "train" in data.files)


@pytest.fixture
def training_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Path], None]]:
    """Names a benchmark's training file, as `--input` does."""
    monkeypatch.delenv("AGENTBANK_BENCHMARKS", raising=False)
    yield lambda name, path: benchmark_data.configure(BenchmarkConfig(paths={f"{name}/train": str(path)}))
    benchmark_data.configure(BenchmarkConfig())


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_missing_of_training_is_told_by_the_training_file(
    tmp_path: Path, own_benchmarks: Path, training_file: Callable[[str, Path], None], name: str
) -> None:
    data = PUBLISHED[name]
    assert data.train_source.startswith(data.source.partition(" (")[0]) or name == "intercode_sql"
    # One file, or one folder, has both.
    assert (data.train_source == data.source) == (data.files["train"] == data.files["test"])
    with pytest.raises(AgentBankError, match=re.escape(f"get it from {data.train_source}, put")):
        data.instances("train")
    training_file(name, tmp_path / "nowhere.json")
    with pytest.raises(
        AgentBankError, match=re.escape(f"is no file; expected train problems from {data.train_source}")
    ):
        data.instances("train")


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - set(TRAINED)))
def test_of_a_benchmark_without_training_problems_no_file_is_named(
    tmp_path: Path, training_file: Callable[[str, Path], None], name: str
) -> None:
    data = PUBLISHED[name]
    assert not data.train_source
    training_file(name, tmp_path / "nowhere.json")
    with pytest.raises(AgentBankError, match="its publisher has no train problems") as raised:
        data.instances("train")
    assert data.source not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("gsm8k", "test.jsonl"),
        ("mathqa", "mathqa.json"),
        ("math", "test/algebra/1.json"),
        ("hotpotqa", "hotpot_dev_distractor_v1.json"),
        ("strategyqa", "dev.json"),
        ("intercode_sql", "ic_spider_dev.json"),
        ("mind2web", "test_task/test_task_0.json"),
        ("alfworld", "valid_unseen/look/trial_1/game.tw-pddl"),
    ],
)
def test_a_file_that_is_named_as_test_problems_is_not_trained_on(
    tmp_path: Path, training_file: Callable[[str, Path], None], name: str, file: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    training_file(name, path)
    with pytest.raises(AgentBankError, match="is named as test problems are; expected train problems from") as raised:
        PUBLISHED[name].instances("train")
    assert PUBLISHED[name].train_source in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("file", ["train.jsonl", "problems.jsonl", "test/train.jsonl"])
def test_another_name_is_trained_on(tmp_path: Path, training_file: Callable[[str, Path], None], file: str) -> None:
    write(tmp_path / file, ROWS)
    training_file("gsm8k", tmp_path / file)
    assert GSM8K.size("train") == 2


def test_where_the_publisher_has_test_problems_alone_they_may_be_trained_on(
    tmp_path: Path, training_file: Callable[[str, Path], None]
) -> None:
    row = {"task_id": "x/0", "prompt": "def f():\n", "entry_point": "f", "canonical_solution": "    return 1\n"}
    write(tmp_path / "HumanEval.jsonl", [row | {"test": "def check(f):\n    assert f() == 1\n"}])
    training_file("humaneval", tmp_path / "HumanEval.jsonl")
    assert PUBLISHED["humaneval"].size("train") == 1


def test_an_index_beyond_the_file_says_how_many_there_are(own_benchmarks: Path) -> None:
    write(own_benchmarks / "gsm8k" / "test.jsonl", ROWS)
    with pytest.raises(AgentBankError, match="it holds 2"):
        GSM8K.instance("test", 2)
