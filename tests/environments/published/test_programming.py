"""Programming benchmarks: read in their publishers' layouts, and solved by their published solutions."""

import json
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from agentbank_jax.environments import registry, sandbox
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.errors import AgentBankError
from tests.environments import made_apps

needs_bubblewrap = pytest.mark.skipif(
    sandbox.available(python=True) is not None, reason=str(sandbox.available(python=True))
)


def unsolved(spec: EnvironmentSpec, numbers: Iterable[int] | None = None) -> list[str]:
    """The ids of the test problems that the expert's steps do not solve."""
    environment = spec.make()
    failed = []
    for number in range(spec.size("test") or 0) if numbers is None else numbers:
        instance = spec.instance("test", number)
        environment.reset(options={"instance": instance})
        for step in environment.expert_steps():
            _, reward, terminated, _, info = environment.step(step.action)
        if not (reward >= spec.success_threshold and terminated and info["success"]):
            failed.append(instance.id)
    environment.close()
    return failed


@needs_bubblewrap
@pytest.mark.parametrize(("name", "size"), [("humaneval", 82), ("mbpp", 487)])
def test_published_programs_pass_the_published_tests(benchmarks: Path, name: str, size: int) -> None:
    spec = registry.get(name)
    assert spec.available() is None and spec.size("test") == size
    assert unsolved(spec, range(0, size, size // 20)) == []


@needs_bubblewrap
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_programs_that_do_nothing_pass_no_published_tests(benchmarks: Path, name: str) -> None:
    spec = registry.get(name)
    environment = spec.make()
    for number in range(0, 80, 8):
        instance = spec.instance("test", number)
        environment.reset(options={"instance": instance})
        program = f"def {instance.payload.entry_point}(*_, **__): return None"
        assert environment.step(f"```python\n{program}\n```")[1] == 0, instance.id
    assert re.fullmatch(r"code/1 \(python3\.\d+\)", spec.protocol)


@needs_bubblewrap
@pytest.mark.arena
@pytest.mark.parametrize(("name", "size", "most"), [("humaneval", 82, 0), ("mbpp", 487, 2)])
def test_all_published_programs_pass_the_published_tests(benchmarks: Path, name: str, size: int, most: int) -> None:
    assert registry.get(name).size("test") == size
    assert len(unsolved(registry.get(name))) <= most


def test_gold_queries_of_intercode_sql_earn_their_reward(benchmarks: Path) -> None:
    spec = registry.get("intercode_sql")
    assert spec.available() is None and spec.size("test") == 493
    assert unsolved(spec) == []


@needs_bubblewrap
def test_gold_commands_of_intercode_bash_earn_their_reward(benchmarks: Path) -> None:
    # Every sixth of two file systems' 60 each, none of which depends on the moment.
    assert unsolved(registry.get("intercode_bash"), range(3, 120, 6)) == []


@needs_bubblewrap
@pytest.mark.arena
def test_all_gold_commands_of_intercode_bash_but_those_about_the_moment_earn_their_reward(benchmarks: Path) -> None:
    spec = registry.get("intercode_bash")
    assert spec.size("test") == 120
    # How full the machine's disk is, what all files are called, those of /proc included, and how far a command in the
    # background has come differ between two runs.
    passing = {
        instance.id
        for instance in (spec.instance("test", number) for number in range(120))
        if instance.payload.gold.startswith(("df ", "find ${DIRECTORY} ", "grep -r Hello *"))
        or instance.payload.gold.endswith(("&", "| xargs ls -tl"))
    }
    failed = set(unsolved(spec))
    assert failed <= passing and len(passing) <= 0.05 * 120
    again = set(unsolved(spec, [number for number in range(120) if spec.instance("test", number).id in failed]))
    assert len(again) <= 0.03 * 120


@needs_bubblewrap
@pytest.mark.parametrize("layout", ["folders", "rows"])
def test_solutions_of_made_problems_in_the_layouts_of_apps_pass(own_benchmarks: Path, layout: str) -> None:
    if layout == "folders":
        made_apps.write_folders(own_benchmarks / "apps")
    else:
        made_apps.write_rows(own_benchmarks / "apps" / "test.jsonl")
    spec = registry.get("apps")
    assert spec.available() is None and spec.size("test") == 4
    assert unsolved(spec) == []
    assert [spec.instance("test", number).id for number in (0, 3)] == ["apps/test/0000", "apps/test/0003"]
    assert [spec.instance("test", number).difficulty for number in range(3)] == [1, 2, 3]
    tasks = [spec.instance("test", number).payload.task for number in range(2)]
    assert tasks[0].endswith("Use Standard Input format") and tasks[1].endswith("Use Call-Based format")
    assert "def both" in tasks[1]


def test_the_train_split_of_apps_is_told_apart(own_benchmarks: Path) -> None:
    made_apps.write_folders(own_benchmarks / "apps", "train")
    spec = registry.get("apps")
    assert spec.size("train") == 4 and spec.instance("train", 0).id == "apps/train/0000"
    assert "holds no test/*/question.txt" in (spec.available() or "")


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


HUMANEVAL_ROW = {
    "task_id": "HumanEval/7",
    "prompt": "import math\n\ndef half(x):\n    return x / 2\n\n"
    'def root(x):\n    """ The root.\n    >>> root(4)\n    2.0\n    >>> y = 1\n    >>> root(9)\n    3.0\n    """\n',
    "entry_point": "root",
    "canonical_solution": "    return math.sqrt(x)\n",
    "test": "def check(candidate):\n    assert candidate(16) == 4\n    assert half(candidate(64)) == 4\n",
}


def test_a_row_of_humaneval_keeps_what_comes_before_its_function_and_its_examples(own_benchmarks: Path) -> None:
    write(own_benchmarks / "humaneval" / "HumanEval.jsonl", json.dumps(HUMANEVAL_ROW))
    instance = registry.get("humaneval").instance("test", 0)
    assert instance.id == "humaneval/test/7"
    assert instance.payload.opening == "import math\n\ndef half(x):\n    return x / 2\n\n"
    assert instance.payload.signature.startswith("def root(x):")
    assert instance.payload.tests.examples == (("root(4)", "2.0"), ("root(9)", "3.0"))


def test_a_program_is_as_hard_as_its_published_solution_is_long(own_benchmarks: Path) -> None:
    longer = "    x = abs(x)\n\n    return math.sqrt(x)\n"
    rows = [HUMANEVAL_ROW, {**HUMANEVAL_ROW, "task_id": "HumanEval/8", "canonical_solution": longer}]
    write(own_benchmarks / "humaneval" / "HumanEval.jsonl", "\n".join(map(json.dumps, rows)))
    write(own_benchmarks / "mbpp" / "mbpp.jsonl", json.dumps(MBPP_ROW))
    assert [registry.get("humaneval").instance("test", place).difficulty for place in range(2)] == [1, 2]
    assert registry.get("mbpp").instance("test", 0).difficulty == 2


MBPP_ROW = {
    "task_id": 4,
    "query": "Add.",
    "gold": "def sum(a, b):\r\n  return a + b",
    "tests": ["assert sum(1, 2) == 3"],
}


@needs_bubblewrap
@pytest.mark.parametrize("layout", ["intercode", "publisher", "list"])
def test_rows_of_mbpp_are_read_in_each_layout(own_benchmarks: Path, layout: str) -> None:
    row = dict(MBPP_ROW)
    if layout == "publisher":
        row = {"task_id": 4, "text": row["query"], "code": row["gold"], "test_list": row["tests"]}
    name, text = ("ic_mbpp.json", json.dumps([row])) if layout == "list" else ("mbpp.jsonl", json.dumps(row))
    write(own_benchmarks / "mbpp" / name, text)
    spec = registry.get("mbpp")
    assert spec.instance("test", 0).payload.task == "Add.\nYour code should pass these tests:\nassert sum(1, 2) == 3"
    assert unsolved(spec) == []


@pytest.mark.parametrize(
    ("name", "file", "content", "expected"),
    [
        ("humaneval", "HumanEval.jsonl", '{"task_id": "HumanEval/0"}', ":1:prompt: None; expected a string"),
        ("humaneval", "HumanEval.jsonl", json.dumps({**HUMANEVAL_ROW, "entry_point": "no"}), ":1:entry_point: 'no'"),
        ("humaneval", "HumanEval.jsonl", "{", ":1: not JSON"),
        ("mbpp", "mbpp.jsonl", '{"task_id": "4"}', ":1:task_id: '4'; expected a whole number"),
        ("mbpp", "mbpp.jsonl", json.dumps({**MBPP_ROW, "tests": []}), ":1:tests: []"),
        ("mbpp", "mbpp.jsonl", json.dumps({**MBPP_ROW, "gold": "def f("}), ":1:gold: not Python"),
        ("mbpp", "mbpp.json", "[3]", ":1: int; expected an object"),
        ("apps", "test.jsonl", '{"problem_id": 0, "question": "Q", "input_output": "{}"}', "'inputs' and 'outputs'"),
        ("apps", "test.jsonl", '{"problem_id": 0, "question": "Q", "input_output": "{"}', ":input_output: not JSON"),
        ("intercode_sql", "ic_spider_dev.json", '[{"db": "no", "query": "Q", "gold": "G"}]', ":1:db: 'no'; expected"),
        ("intercode_bash", "nl2bash_fs_9.json", '[{"query": "Q", "gold": "G"}]', "filesystem_9.json"),
    ],
)
def test_a_broken_row_is_named_with_file_row_and_field(
    own_benchmarks: Path, name: str, file: str, content: str, expected: str
) -> None:
    path = own_benchmarks / name / file
    write(path, content)
    with pytest.raises(AgentBankError) as error:
        registry.get(name).size("test")
    assert str(path.parent) in str(error.value) and expected in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["databases/songs.sqlite", "database/songs/songs.sqlite"])
def test_databases_are_found_in_both_places(own_benchmarks: Path, place: str) -> None:
    folder = own_benchmarks / "intercode_sql"
    write(folder / "ic_spider_dev.json", json.dumps([{"db": "songs", "query": "How many?", "gold": "SELECT 2"}]))
    spec = registry.get("intercode_sql")
    assert "holds no databases/*.sqlite" in (spec.available() or "")
    (folder / place).parent.mkdir(parents=True)
    with sqlite3.connect(folder / place) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    assert spec.available() is None and unsolved(spec) == []


def test_spiders_own_layout_is_read_as_training_questions(own_benchmarks: Path) -> None:
    place = own_benchmarks / "intercode_sql"
    (place / "database/pets").mkdir(parents=True)
    sqlite3.connect(place / "database/pets/pets.sqlite").close()
    row = {"db_id": "pets", "question": "How many?", "query": "SELECT 1", "sql": {}, "query_toks": ["SELECT", "1"]}
    (place / "train_spider.json").write_text(json.dumps([row]))
    spec = registry.get("intercode_sql")
    problem = spec.instance("train", 0).payload
    assert (problem.question, problem.gold) == ("How many?", "SELECT 1")
    (place / "train_spider.json").write_text(json.dumps([row | {"question": 3}, row]))
    with pytest.raises(AgentBankError, match=r"train_spider.json:1:query: 3; expected a string"):
        spec.size("train")


def test_the_training_problems_of_mbpp_are_those_outside_the_published_test_split(own_benchmarks: Path) -> None:
    place = own_benchmarks / "mbpp"
    place.mkdir()
    row = {"text": "Give back one.", "code": "def one():\n    return 1", "test_list": ["assert one() == 1"]}
    rows = [json.dumps(row | {"task_id": number}) for number in (1, 10, 11, 510, 511, 974)]
    (place / "mbpp.jsonl").write_text("\n".join(rows))
    spec = registry.get("mbpp")
    assert spec.size("test") == 6 and spec.test_only
    ids = [spec.instance("train", number).id for number in range(spec.size("train") or 0)]
    assert ids == ["mbpp/train/1", "mbpp/train/10", "mbpp/train/511", "mbpp/train/974"]


def test_programming_benchmarks_cannot_run_without_a_sandbox_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBANK_SANDBOX", "rlimits")
    assert "SandboxConfig.isolation='bubblewrap'" in (sandbox.available() or "")
    assert sandbox.available(file_system=False) is None
