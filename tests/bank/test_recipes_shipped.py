"""The recipes of `gin/bank/`: what they say without data, and what comes out of made and of real files.

Real parts are evaluation data: they are taken for training files here, in a temporary folder, and stay there.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentbank_jax.bank.forcing.known_answer import known_answer
from agentbank_jax.bank.forcing.replies import REACT
from agentbank_jax.bank.reformatting.registry import reformatter
from agentbank_jax.bank.staging import MANIFEST
from agentbank_jax.bank.yields import measure
from agentbank_jax.configuration.gin_files import shipped_folder
from agentbank_jax.environments import answer_algebra, benchmark_data, registry, sandbox
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.environments.benchmark_data import DATA_VARIABLE, BenchmarkConfig
from agentbank_jax.environments.index_build import build_index
from agentbank_jax.environments.passage_files import find_passage_files
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from tests.agents.hostile_server import completion, hostile, sends
from tests.bank.forcing.scripted import MODEL, Part, Scripted, serving
from tests.bank.made import starter_trajectory
from tests.bank.reformatting.test_reformatting import HOTPOTQA, MATHQA, STRATEGYQA, write_rows, write_spider
from tests.environments import made_apps, made_triviaqa
from tests.environments.conftest import benchmarks  # noqa: F401
from tests.environments.made_mind2web import write_mind2web
from tests.small_bank import Finished, ProgramRunner

NOBODY = "--gin.TeacherConfig.endpoint=http://127.0.0.1:9/v1#m"

FORCED = ("math", "triviaqa", "apps")
REFORMATTED = ("mathqa", "hotpotqa", "strategyqa", "intercode_sql", "mbpp", "humaneval", "mind2web")
GENERATED = {
    "forced": ("starter_reasoning", "starter_math", "starter_programming"),
    "rationales": ("starter_embodied",),
}
"""Recipes that need no data, and their tasks."""

NEEDS = {
    "mbpp": sandbox.available(python=True),
    "humaneval": sandbox.available(python=True),
    "apps": sandbox.available(python=True),
    "math": answer_algebra.available() or sandbox.available(python=True),
}
"""What recipes miss here; None where nothing is missing."""

Command = Callable[..., Finished]


def needs(name: str):
    """A recipe's name, skipped where what it needs is not here."""
    return pytest.param(name, marks=pytest.mark.skipif(NEEDS.get(name) is not None, reason=str(NEEDS.get(name))))


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> ProgramRunner:
    return ProgramRunner(monkeypatch, capfd)


@pytest.fixture(autouse=True)
def no_data_of_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    yield
    benchmark_data.configure(BenchmarkConfig())


@pytest.fixture
def command(run_here: ProgramRunner, tmp_path: Path) -> Command:
    """Runs a recipe with data from `benchmarks/` of the temporary folder, into `data/`."""

    def run(name: str, *flags: str) -> Finished:
        arguments = ["scripts/build_bank.py", f"--gin_file=bank/{name}.gin", "--workers=1", *flags]
        return run_here(arguments, data_dir=tmp_path / "data", cwd=tmp_path)

    return run


def of_benchmarks(tmp_path: Path) -> str:
    return f"--gin.BenchmarkConfig.data_dir={tmp_path / 'benchmarks'}"


@pytest.mark.parametrize("name", [*GENERATED, *FORCED, *REFORMATTED])
def test_a_header_gives_goal_hardware_command_and_what_to_expect(name: str) -> None:
    text = (shipped_folder() / "bank" / f"{name}.gin").read_text()
    header = re.match(r"(?:#.*\n)+", text)
    assert header is not None
    fields = re.findall(r"^# (Goal|Hardware|Command|Expect): .+", header[0], re.MULTILINE)
    assert fields == ["Goal", "Hardware", "Command", "Expect"]
    assert f"python scripts/build_bank.py --gin_file=bank/{name}.gin" in header[0]
    asks = "answer_forcing" in text or "'model'" in text
    assert ("--gin.TeacherConfig.endpoint=http://HOST:PORT/v1#MODEL" in header[0]) == asks
    # Read beside bank/starter.gin, as --task=NAME does, a recipe must not change the others.
    assert name == "forced" or not re.search(r"^RecipeConfig", text, re.MULTILINE)


@pytest.mark.parametrize("name", GENERATED)
def test_a_recipe_of_generated_problems_prints_its_plan(tmp_path: Path, command: Command, name: str) -> None:
    ended = command(name, NOBODY, "--dry_run")
    assert ended.returncode == 0, ended.stderr
    assert [line.partition(" ")[0] for line in ended.stdout.strip().split("\n")] == list(GENERATED[name])
    assert {"forced": "AnswerForcing", "rationales": "ModelRationales"}[name] in ended.stdout
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", [*GENERATED, "triviaqa"])
def test_without_a_model_the_message_says_how_to_name_one(tmp_path: Path, command: Command, name: str) -> None:
    ended = command(name, "--dry_run")
    assert ended.returncode == 2
    assert "expected --gin.TeacherConfig.endpoint=http://HOST:PORT/v1#MODEL" in ended.stderr
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", [needs(name) for name in (*FORCED, *REFORMATTED)])
def test_without_data_the_message_says_how_to_get_them(tmp_path: Path, command: Command, name: str) -> None:
    ended = command(name, NOBODY, "--dry_run")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert {
        "triviaqa": "build one with scripts/build_index.py",
        "hotpotqa": "build one with scripts/build_index.py",
        "strategyqa": "build one with scripts/build_index.py",
        "humaneval": "no train problems; name a file that may be used as such with --gin.BenchmarkConfig.paths=",
    }.get(name, f"put it into a folder {name}/, and name the folder around that with") in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_folder_without_the_training_file_is_told_its_name(tmp_path: Path, command: Command) -> None:
    (tmp_path / "benchmarks/intercode_sql/databases").mkdir(parents=True)
    (tmp_path / "benchmarks/intercode_sql/databases/x.sqlite").touch()
    message = command("intercode_sql", of_benchmarks(tmp_path)).stderr
    assert "holds no train_spider*.json*; get it from yale-lily.github.io/spider (train_spider.json and the" in message


# ---- made data -------------------------------------------------------------------------------------------------------
def made_training_data(name: str, folder: Path) -> int:
    """Writes made training problems of a benchmark; returns how many of them make a trajectory."""
    folder.mkdir()
    match name:
        case "mathqa":
            write_rows(folder, name, [MATHQA, MATHQA | {"problem": "what ?", "correct": "a"}], "train.json")
            return 1
        case "hotpotqa":
            write_rows(folder, name, [HOTPOTQA, HOTPOTQA | {"_id": "5b", "answer": "Oslo"}], "hotpot_train_v1.1.json")
        case "strategyqa":
            write_rows(folder, name, [STRATEGYQA], "train.json")
        case "intercode_sql":
            write_spider(folder, "SELECT name FROM Owner")
            row = {"db_id": "pets", "question": "Who has pets?", "query": "SELECT name FROM Owner", "sql": {}}
            write_rows(folder, name, [row], "train_spider.json")
        case "mbpp" | "humaneval":
            solution = "def twice(x):\n    return 2 * x"
            if name == "mbpp":
                row = {"text": "Write a function to double a number.", "code": solution}
                rows = [row | {"task_id": number, "test_list": ["assert twice(2) == 4"]} for number in (500, 601)]
                write_rows(folder, name, rows, "mbpp.json")
            else:
                prompt, body = solution.split("\n")
                row = {"prompt": f'{prompt}\n    """Give back the double of a number."""\n', "entry_point": "twice"}
                row |= {"canonical_solution": body, "test": "def check(f):\n    assert f(2) == 4", "task_id": "x/0"}
                write_rows(folder, name, [row], "HumanEval.json")
        case "mind2web":
            write_mind2web(folder / "mind2web", tasks=4)
            shutil.move(folder / "mind2web/test_task", folder / "mind2web/train")
            return 4
    if name in ("hotpotqa", "strategyqa"):
        build_index(find_passage_files([folder / name]), folder / "index")
    return 1


@pytest.mark.parametrize("name", [needs(name) for name in REFORMATTED])
def test_training_files_become_trajectories(tmp_path: Path, command: Command, name: str) -> None:
    count = made_training_data(name, tmp_path / "benchmarks")
    given = f"--input={tmp_path}/benchmarks/humaneval/HumanEval.json" if name == "humaneval" else None
    ended = command(name, given or of_benchmarks(tmp_path))
    assert ended.returncode == 0, ended.stderr
    kept = list(read_trajectories(f"{tmp_path}/data/{name}/*.parquet", name))
    assert len(kept) == count
    assert all(each.id.startswith(f"{name}/train/") for each in kept)
    assert {each.metadata["annotation"] for each in kept} == {"reformatting"}
    assert name != "mbpp" or kept[0].id == "mbpp/train/601", "what is of the publisher's test split is left out"


def oracle_parts(name: str, count: int) -> list[Part]:
    """What a model would say that does as the expert does, and thinks of nothing but the question."""
    spec = registry.get(name)
    made = []
    for index in range(count):
        instance, environment = spec.instance("train", index), spec.make()
        question, _ = environment.reset(options={"instance": instance})
        steps = environment.expert_steps()
        answer = known_answer(environment, instance)
        environment.close()
        if answer is not None:
            if name == "math":  # whose expert computes nothing
                steps = [ExpertStep(action="```python\nprint(10 * 10 + 1)\n```", intent="solve"), *steps]
            said = tuple(("This is what to do next.", step.action) for step in steps)
            made.append(Part(name, index, "good", instance, question, answer.text, said))
    return made


def write_forced_data(name: str, folder: Path) -> int:
    """Writes made training problems; returns how many there are, of which the last one of APPS has no solution."""
    match name:
        case "math":
            (folder / "math").mkdir(parents=True)
            row = {"problem": "What is the square of $10$, plus one?", "level": "Level 2", "solution": r"\boxed{101}"}
            other = row | {"problem": "What part is $101$ of $202$?", "solution": r"\boxed{\dfrac{1}{2}}"}
            (folder / "math/train.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(other)}\n")
            return 2
        case "triviaqa":
            folder.mkdir()
            made_triviaqa.write(folder, count=3)
            build_index(find_passage_files([folder / "passages.jsonl"]), folder / "index")
            (folder / "triviaqa/unfiltered-web-dev.json").rename(folder / "triviaqa/unfiltered-web-train.json")
            return 3
        case _:
            made_apps.write_folders(folder / "apps", "train")
            (folder / "apps/train/0003/solutions.json").unlink()
            return 4


@pytest.mark.parametrize("name", [needs(name) for name in FORCED])
def test_a_model_that_knows_the_answer_makes_the_trajectories(tmp_path: Path, command: Command, name: str) -> None:
    count = write_forced_data(name, tmp_path / "benchmarks")
    benchmark_data.configure(BenchmarkConfig(data_dir=str(tmp_path / "benchmarks")))
    told = oracle_parts(name, count)
    server: Scripted
    for server in serving(told):
        ended = command(
            name,
            of_benchmarks(tmp_path),
            f"--gin.TeacherConfig.endpoint={server.url}#{MODEL}",
            # The made Thoughts and questions are alike.
            f"--gin.{name}/RecipeConfig.filters=()",
        )
    assert ended.returncode == 0, ended.stderr
    kept = list(read_trajectories(f"{tmp_path}/data/{name}/*.parquet", name))
    assert [each.id for each in kept] == [part.instance.id for part in told]
    assert {each.metadata["annotation"] for each in kept} == {"answer_forcing"}
    drops = json.loads((tmp_path / "data" / name / MANIFEST).read_text())["drops"]
    assert drops == ({"no_answer": 1} if name == "apps" else {}), "nobody is asked without a solution"
    cost = f"{name}: {len(server.answered):,} requests, "
    assert cost in ended.stdout


def test_written_thoughts_leave_searched_actions_as_they_are(tmp_path: Path, command: Command) -> None:
    thought = "This brings me on."
    with hostile(sends(completion(thought))) as server:
        ended = command("rationales", f"--gin.TeacherConfig.endpoint={server.url}#m", "--trajectories=6")
    assert ended.returncode == 0, ended.stderr
    task = "starter_embodied"
    written = list(read_trajectories(f"{tmp_path}/data/{task}/*.parquet", task))
    searched = [starter_trajectory(task, index) for index in range(len(written))]
    assert [each.id for each in written] == [each.id for each in searched] and len(written) == 6
    for one, other in zip(written, searched, strict=True):
        said = [parsed for turn in one.turns if turn.role == "assistant" and (parsed := REACT.parse(turn.content))]
        acted = [parsed for turn in other.turns if turn.role == "assistant" and (parsed := REACT.parse(turn.content))]
        assert [each.action for each in said] == [each.action for each in acted] and len(said) > 1
        assert {each.thought for each in said} == {thought}
        assert [turn for turn in one.turns if turn.role == "user"] == [
            turn for turn in other.turns if turn.role == "user"
        ]
    assert f"{task}: {sum(each.assistant_turns for each in written):,} requests, " in ended.stdout


# ---- real files, in the place of training files ----------------------------------------------------------------------
TRAINING_FILES = {
    "mathqa": "train.jsonl",
    "hotpotqa": "hotpot_train.jsonl.gz",
    "strategyqa": "train.jsonl",
    "intercode_sql": "train_spider.jsonl",
    "mbpp": "mbpp.jsonl",
    "humaneval": "humaneval.jsonl",
}


@pytest.mark.parametrize(
    "name",
    [
        *(needs(name) for name in ("mathqa", "strategyqa", "intercode_sql")),
        *(pytest.param(name, marks=pytest.mark.arena) for name in ("hotpotqa", "mbpp", "humaneval")),
    ],
)
def test_what_a_recipe_keeps_of_real_files_is_their_yield(
    tmp_path: Path,
    benchmarks: Path,  # noqa: F811
    command: Command,
    name: str,
) -> None:
    if (missing := NEEDS.get(name)) is not None:
        pytest.skip(missing)
    folder = tmp_path / "benchmarks" / name
    folder.mkdir(parents=True)
    (source,) = (path for path in (benchmarks / name).iterdir() if path.is_file())
    shutil.copy(source, folder / TRAINING_FILES[name])
    if name == "mbpp":  # every fifth, with numbers that are not of the test split
        rows = [json.loads(line) for line in source.read_text().split("\n") if line][::5]
        rows = [row | {"task_id": 600 + row["task_id"]} for row in rows]
        (folder / TRAINING_FILES[name]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    if name == "intercode_sql":
        (folder / "databases").symlink_to(benchmarks / name / "databases")
    if name in ("hotpotqa", "strategyqa"):
        build_index(find_passage_files([folder]), folder.parent / "index")
    paths = {"humaneval/train": str(folder / TRAINING_FILES[name])} if name == "humaneval" else {}
    config = BenchmarkConfig(data_dir=str(folder.parent), paths=paths)
    benchmark_data.configure(config)
    spec = registry.get(name)
    found = measure(spec, (spec.instance("train", n) for n in range(spec.size("train") or 0)), reformatter(name))

    ended = command(name, of_benchmarks(tmp_path), f"--gin.BenchmarkConfig.paths={dict(paths)!r}")
    assert ended.returncode == 0, ended.stderr
    kept = [each.id for each in read_trajectories(f"{tmp_path}/data/{name}/*.parquet", name)]
    manifest = json.loads((tmp_path / "data" / name / MANIFEST).read_text())
    listed = [json.loads(line) for line in (tmp_path / "data" / name / "drops.jsonl").read_text().split("\n") if line]
    filtered = {row["id"] for row in listed} - {drop.id for drop in found.drops}
    assert set(kept) | filtered == set(found.kept) and len(kept) == len(found.kept) - len(filtered)
    assert manifest["rows"] + sum(manifest["drops"].values()) == found.rows == spec.size("train")
    assert len(filtered) <= 0.02 * found.rows, manifest["drops"]
