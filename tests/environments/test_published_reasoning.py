import json
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.data.declarations import get_task, task_names
from agentbank_jax.environments import benchmark_data, registry
from agentbank_jax.environments.base import TextEnvironment
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.benchmark_rows import read_rows
from agentbank_jax.environments.index_build import build_index
from agentbank_jax.environments.passage_files import find_passage_files
from agentbank_jax.environments.passage_index import PassageStore, read_manifest
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError
from tests.environments import made_triviaqa

NAMES = ("hotpotqa", "strategyqa", "triviaqa", "bamboogle")


@pytest.fixture(scope="module")
def real_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index over the paragraphs of HotpotQA's questions and the facts of StrategyQA's."""
    folder = os.environ.get("AGENTBANK_TEST_DATA")
    if not folder:
        pytest.skip("AGENTBANK_TEST_DATA is not set; it names the folder of real benchmark files")
    place = tmp_path_factory.mktemp("real") / "index"
    build_index(find_passage_files([f"{folder}/hotpotqa", f"{folder}/strategyqa"]), place)
    return place


@pytest.fixture
def searched(benchmarks: Path, real_index: Path) -> Path:
    """The real questions, with the index over them."""
    benchmark_data.configure(BenchmarkConfig(data_dir=str(benchmarks), paths={"index": str(real_index)}))
    return benchmarks


@pytest.fixture
def made_triviaqa_data(own_benchmarks: Path) -> Iterator[Path]:
    made_triviaqa.write(own_benchmarks)
    build_index([own_benchmarks / "passages.jsonl"], own_benchmarks / "index")
    return own_benchmarks


def play_expert(spec: EnvironmentSpec, environment: TextEnvironment, index: int) -> tuple[float, bool]:
    """Returns the last reward, and whether the episode ended within the limit of turns and not before."""
    environment.reset(options={"instance": spec.instance("test", index)})
    steps = environment.expert_steps()
    results = [environment.step(step.action) for step in steps]
    ended = [terminated for _, _, terminated, _, _ in results]
    return results[-1][1], ended == [False] * (len(steps) - 1) + [True] and len(steps) <= spec.max_steps


@pytest.mark.parametrize(("name", "count"), [("hotpotqa", 150), ("strategyqa", 115), ("bamboogle", 62)])
def test_the_oracle_solves_every_published_question(searched: Path, name: str, count: int) -> None:
    spec = registry.get(name)
    environment = spec.make()
    assert spec.available() is None and spec.size("test") == count
    assert {play_expert(spec, environment, index) for index in range(count)} == {(1.0, True)}
    environment.close()


def test_the_oracle_solves_every_made_question_of_triviaqa(made_triviaqa_data: Path) -> None:
    spec = registry.get("triviaqa")
    environment = spec.make()
    assert spec.available() is None and spec.size("test") == 12
    assert {play_expert(spec, environment, index) for index in range(12)} == {(1.0, True)}


@pytest.mark.parametrize("name", ["hotpotqa", "bamboogle"])
def test_another_questions_answer_is_wrong_unless_it_is_the_same(searched: Path, name: str) -> None:
    spec = registry.get(name)
    environment = spec.make()
    answers = [spec.instance("test", index).payload.answers[0] for index in range(spec.size("test") or 0)]
    for index, answer in enumerate(answers):
        other = answers[index - 1]
        environment.reset(options={"instance": spec.instance("test", index)})
        assert environment.step(f"Final Answer: {other}")[1] == (other.lower() == answer.lower())


def test_the_other_of_yes_and_no_is_wrong_for_every_question_of_strategyqa(searched: Path) -> None:
    spec = registry.get("strategyqa")
    environment = spec.make()
    for index in range(115):
        for answers in ("exact", "mint"):
            environment.reset(options={"instance": spec.instance("test", index), "answers": answers})
            right = environment.expert_steps()[-1].slots["answer"]
            assert environment.step(f"Final Answer: {'No' if right == 'Yes' else 'Yes'}")[1] == 0


def test_an_experts_searches_show_the_gold_paragraphs_of_hotpotqa(searched: Path) -> None:
    spec = registry.get("hotpotqa")
    environment = spec.make()
    for index in range(150):
        environment.reset(options={"instance": spec.instance("test", index)})
        for step in environment.expert_steps()[:-1]:
            assert environment.step(step.action)[0].startswith(f"{step.slots['query']}: ")


def test_gold_paragraphs_are_among_the_best_five_for_hotpotqas_questions(searched: Path, tmp_path: Path) -> None:
    (questions,) = (searched / "hotpotqa").iterdir()
    build_index([questions], tmp_path / "index")
    store = PassageStore(tmp_path / "index")
    gold, found = 0, 0
    for _, row in read_rows(questions, {"supporting_facts": list, "question": str}):
        titles = {title for title, _ in row["supporting_facts"]}
        gold += len(titles)
        found += len(titles & {passage.title for passage in store.search(row["question"], 5)})
    assert gold == 300 and found / gold >= 0.78


@pytest.mark.parametrize("name", NAMES)
def test_without_an_index_the_reason_is_the_command_that_builds_one(made_triviaqa_data: Path, name: str) -> None:
    shutil.rmtree(made_triviaqa_data / "index")
    place = made_triviaqa_data / name
    place.mkdir(exist_ok=True)
    row = {
        "qid": "1",
        "_id": "1",
        "term": "x",
        "question": "x?",
        "Question": "x?",
        "Answer": "x",
        "supporting_facts": [],
    }
    answer = {"strategyqa": True}.get(name, "x")
    if name != "triviaqa":
        (place / "dev_distractor.json").write_text(json.dumps([{**row, "answer": answer}]))
    spec = registry.get(name)
    output = made_triviaqa_data / "index"
    assert (spec.available() or "").endswith(
        f"build it with: python scripts/build_index.py --input={place} --output={output}"
        if name in ("hotpotqa", "strategyqa")
        else f"python scripts/build_index.py --input=PASSAGES --output={output} (PASSAGES: articles of Wikipedia)"
    )
    with pytest.raises(AgentBankError, match="build it with"):
        spec.instance("test", 0)


def test_with_an_index_and_no_questions_the_reason_is_where_these_are_had(made_triviaqa_data: Path) -> None:
    for name, source in (("hotpotqa", "hotpotqa.github.io"), ("strategyqa", "github.com/eladsegal/strategyqa")):
        assert source in (registry.get(name).available() or "")


def test_a_named_index_is_searched_wherever_it_lies(made_triviaqa_data: Path, tmp_path: Path) -> None:
    spec = registry.get("triviaqa")
    elsewhere = shutil.move(made_triviaqa_data / "index", tmp_path / "elsewhere")
    questions = made_triviaqa_data / "triviaqa" / "unfiltered-web-dev.json"
    benchmark_data.configure(BenchmarkConfig(paths={"triviaqa": str(questions)}))
    assert "no index of passages is named" in (spec.available() or "")
    benchmark_data.configure(BenchmarkConfig(paths={"triviaqa": str(questions), "index": str(elsewhere)}))
    assert spec.available() is None and spec.instance("test", 0).payload.index == str(elsewhere)
    assert play_expert(spec, spec.make(), 0) == (1.0, True)


def test_another_index_is_another_version_of_the_data(made_triviaqa_data: Path) -> None:
    spec = registry.get("triviaqa")
    first = spec.data_version()
    assert read_manifest(made_triviaqa_data / "index").content[:16] in first
    (made_triviaqa_data / "passages.jsonl").write_text('{"title": "A", "text": "b"}\n')
    build_index([made_triviaqa_data / "passages.jsonl"], made_triviaqa_data / "index", overwrite=True)
    assert spec.data_version() != first


def test_bamboogle_alone_is_held_out_and_the_others_train_with_the_words_they_act_with() -> None:
    for name in NAMES:
        spec = registry.get(name)
        assert pickle.loads(pickle.dumps(spec.make)) is spec.make
        assert spec.skill == "reasoning" and spec.held_out == (name == "bamboogle") == (name not in task_names())
        if not spec.held_out:
            assert get_task(name).resolve_instruction() == spec.instruction
