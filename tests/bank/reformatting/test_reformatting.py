"""Data that hold the steps become actions that replay to their reward, with Thoughts in the data's words."""

import json
import pickle
import re
import sqlite3
from pathlib import Path

import pytest

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.programs import describe_task
from agentbank_jax.bank.reformatting.queries import QueryReformatter, describe_query
from agentbank_jax.bank.reformatting.registry import TASKS, reformatter
from agentbank_jax.bank.search.annotator import SearchAnnotator
from agentbank_jax.bank.search.expert import Expert
from agentbank_jax.bank.yields import Yield, attempt, measure, yield_table
from agentbank_jax.environments import benchmark_data, registry, sandbox
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.code_problems import CodeProblem
from agentbank_jax.environments.gsm8k_rows import read_problems
from agentbank_jax.environments.household import HouseholdEnvironment
from agentbank_jax.environments.index_build import build_index
from agentbank_jax.environments.passage_files import find_passage_files
from agentbank_jax.environments.unit_tests import FunctionTests
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory
from tests.bank.made import gsm8k_trajectory
from tests.environments.made_mind2web import write_mind2web

needs_bubblewrap = pytest.mark.skipif(
    sandbox.available(python=True) is not None, reason=str(sandbox.available(python=True))
)

HOTPOTQA = {
    "_id": "5a",
    "question": "In which town was the founder of Arbor Mill born?",
    "answer": "Lunde",
    "supporting_facts": [["Ida Vass", 1], ["Arbor Mill", 0], ["Arbor Mill", 7]],
    "context": [
        ["Ida Vass", ["Ida Vass was a miller.", " She was born in Lunde."]],
        ["Arbor Mill", ["Arbor Mill is a mill founded by Ida Vass."]],
        ["Lunde Church", ["Lunde Church is made of wood."]],
    ],
}
STRATEGYQA = {
    "qid": "7b",
    "term": "Arbor Mill",
    "question": "Could Ida Vass have met the builder of Lunde Church?",
    "answer": False,
    "facts": ["Ida Vass died in 1850", "Lunde Church was built in 1900."],
    "decomposition": ["When did Ida Vass die?", "Who built Lunde Church?", "When did #2 live?", "Is #1 after #3?"],
    "evidence": [[[["Ida Vass-1"]], ["no_evidence"], [["Lunde Church-2"]], ["operation"]]],
}
MATHQA = {
    "problem": "a boy walks 10 km at 4 kmph and 6 km at 2 kmph . how long does he walk ?",
    "rationale": '"time of the first part = 10 / 4 = 2.5 hours , then 6 / 2 = 3 , total 2.5 + 3 = 5.5 answer : b"',
    "options": "a ) 5 , b ) 5.5 , c ) 6 , d ) 7 , e ) 8",
    "correct": "b",
    "annotated_formula": "add(divide(10, 4), divide(6, 2))",
    "linear_formula": "divide(n0,n1)|divide(n2,n3)|add(#0,#1)|",
    "category": "physics",
}


def write_rows(folder: Path, name: str, rows: list[dict], file: str = "test.json") -> None:
    path = folder / name / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))


def solved(name: str, index: int = 0, seed: int = 0) -> tuple[list[str], list[str]]:
    """Thoughts and actions of a made problem, which must replay to its reward."""
    spec = registry.get(name)
    outcome = attempt(spec, spec.instance("test", index), reformatter(name, seed=seed))
    assert not isinstance(outcome, Drop), outcome
    sequence, _ = outcome
    assert len(sequence.thoughts) == len(sequence.steps) and sequence.method == "reformatting"
    return [thought or "" for thought in sequence.thoughts], [step.action for step in sequence.steps]


def reason(name: str, index: int = 0) -> str:
    spec = registry.get(name)
    outcome = attempt(spec, spec.instance("test", index), reformatter(name))
    assert isinstance(outcome, Drop)
    return outcome.reason


def write_questions(folder: Path, *rows: dict) -> None:
    """Questions of HotpotQA, and an index of the paragraphs of the first."""
    write_rows(folder, "hotpotqa", list(rows), "hotpot_dev_distractor_v1.json")
    build_index(find_passage_files([folder / "hotpotqa"]), folder / "index")


def test_articles_are_searched_for_in_the_order_in_which_they_are_named(own_benchmarks: Path) -> None:
    write_questions(own_benchmarks, HOTPOTQA)
    thoughts, actions = solved("hotpotqa")
    # The published order has the founder first, whom the question does not name.
    assert actions == ["search[Arbor Mill]", "search[Ida Vass]", "Final Answer: Lunde"]
    assert "Ida Vass" not in thoughts[0] and "Lunde" not in thoughts[0] + thoughts[1]
    assert thoughts[1].startswith("Arbor Mill is a mill founded by Ida Vass. ")
    assert thoughts[2].startswith("She was born in Lunde. ")


def test_where_nothing_is_named_the_question_is_searched_for_once(own_benchmarks: Path) -> None:
    question = "In which town was the miller who founded a mill born?"
    write_questions(own_benchmarks, {**HOTPOTQA, "question": question})
    assert solved("hotpotqa")[1][0] == f"search[{question}]"


def test_a_sentence_that_no_observation_shows_is_not_told(own_benchmarks: Path) -> None:
    filler = "The mill has a wheel and a stone and it stands by the river. " * 20
    founded = ["Arbor Mill is a mill founded by Ida Vass.", filler, "Its wheel is red."]
    context = [HOTPOTQA["context"][0], ["Arbor Mill", founded]]
    facts = [["Arbor Mill", 0], ["Arbor Mill", 2], ["Ida Vass", 1]]
    write_questions(own_benchmarks, HOTPOTQA | {"context": context, "supporting_facts": facts})
    thoughts, _ = solved("hotpotqa")
    assert "founded by Ida Vass" in thoughts[1] and "red" not in thoughts[1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"supporting_facts": [["Ida Vass", 1], ["Nowhere", 0]], "question": "Ida Vass?"}, "not_led_to"),
        ({"supporting_facts": [["Arbor", 1]], "question": "Is it Arbor?"}, "article_not_found"),
        ({"answer": "Oslo"}, "answer_not_read"),
        ({"supporting_facts": []}, "no_evidence"),
    ],
)
def test_questions_whose_evidence_an_agent_cannot_find_are_dropped(
    own_benchmarks: Path, change: dict, expected: str
) -> None:
    write_questions(own_benchmarks, HOTPOTQA | change)
    assert reason("hotpotqa") == expected


def test_yes_need_not_be_read(own_benchmarks: Path) -> None:
    write_questions(own_benchmarks, HOTPOTQA | {"question": "Was the founder of Arbor Mill a miller?", "answer": "yes"})
    assert solved("hotpotqa")[1][-1] == "Final Answer: yes"


def test_sub_questions_are_searched_for_and_facts_conclude(own_benchmarks: Path) -> None:
    write_questions(own_benchmarks, HOTPOTQA)
    write_rows(own_benchmarks, "strategyqa", [STRATEGYQA], "dev.json")
    thoughts, actions = solved("strategyqa")
    # What refers to an earlier answer is searched for by the title of its paragraph.
    assert actions == ["search[When did Ida Vass die?]", "search[Lunde Church]", "Final Answer: No"]
    assert thoughts[0] == "Question 1: When did Ida Vass die?"
    assert thoughts[1] == ("Question 2: Who built Lunde Church? Question 3: When did the answer to question 2 live?")
    assert thoughts[2].startswith(
        "Question 4: Is the answer to question 1 after the answer to question 3? Ida Vass died in 1850. "
        "Lunde Church was built in 1900. "
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"decomposition": []}, "no_decomposition"),
        ({"facts": []}, "no_facts"),
        ({"evidence": [[["operation"], ["operation"], ["operation"], ["operation"]]]}, "no_search"),
    ],
)
def test_questions_without_steps_are_dropped(own_benchmarks: Path, change: dict, expected: str) -> None:
    write_questions(own_benchmarks, HOTPOTQA)
    write_rows(own_benchmarks, "strategyqa", [STRATEGYQA | change], "dev.json")
    assert reason("strategyqa") == expected


def test_a_formula_is_calculated_and_named_by_its_rationale(own_benchmarks: Path) -> None:
    write_rows(own_benchmarks, "mathqa", [MATHQA])
    thoughts, actions = solved("mathqa")
    assert actions == ["10 / 4", "6 / 2", "2.5 + 3", "Final Answer: b"]
    assert "time of the first part" in thoughts[0] and "10 / 4" in thoughts[0]
    assert "total" in thoughts[2]
    # No Thought tells a result that is not computed yet.
    assert not any("5.5" in thought for thought in thoughts[:3])


def test_where_the_formula_is_wrong_the_rationale_is_calculated(own_benchmarks: Path) -> None:
    write_rows(own_benchmarks, "mathqa", [MATHQA | {"annotated_formula": "add(10, 4)"}])
    thoughts, actions = solved("mathqa")
    assert actions == ["10 / 4", "6 / 2", "2.5 + 3", "Final Answer: b"]
    assert not any("answer" in thought.lower() for thought in thoughts[:3])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"annotated_formula": "add(10, 4)", "rationale": "answer : b"}, "other_option"),
        ({"annotated_formula": "lcm(10, 4)", "rationale": "10 / 4 = 2.5 answer : b"}, "not_calculable"),
        ({"annotated_formula": "add(10, 4)", "rationale": "5.5 * 1 = 5.5 answer : b"}, "other_option"),
    ],
)
def test_what_leads_to_no_right_option_is_dropped(own_benchmarks: Path, change: dict, expected: str) -> None:
    write_rows(own_benchmarks, "mathqa", [MATHQA | change])
    assert reason("mathqa") == expected


def test_a_long_formula_fits_into_the_limit_of_turns(own_benchmarks: Path) -> None:
    formula = "1"
    for number in range(2, 14):
        formula = f"add({formula}, {number})"
    row = MATHQA | {"annotated_formula": formula, "options": "a ) 91 , b ) 90", "correct": "a"}
    write_rows(own_benchmarks, "mathqa", [row])
    _, actions = solved("mathqa")
    assert len(actions) == registry.get("mathqa").max_steps
    assert actions[0] == "(((1 + 2) + 3) + 4) + 5" and actions[-2:] == ["78 + 13", "Final Answer: a"]


def write_spider(folder: Path, gold: str) -> None:
    place = folder / "intercode_sql"
    (place / "databases").mkdir(parents=True)
    with sqlite3.connect(place / "databases" / "pets.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE Owner (id INT, name TEXT); CREATE TABLE Pet (owner INT, kind TEXT); CREATE TABLE Toy (x INT);"
            "INSERT INTO Owner VALUES (1, 'Ann'), (2, 'Bo'); INSERT INTO Pet VALUES (1, 'cat'), (1, 'dog');"
        )
    rows = [{"db": "pets", "query": "Who has pets?", "gold": gold, "hardness": "medium"}]
    (place / "ic_spider_dev.json").write_text(json.dumps(rows))


def test_tables_of_a_query_are_looked_at_first(own_benchmarks: Path) -> None:
    gold = "SELECT name FROM owner AS T1 JOIN pet AS T2 ON T1.id = T2.owner WHERE kind = 'from toy' OR 1 LIMIT 1"
    write_spider(own_benchmarks, gold)
    thoughts, actions = solved("intercode_sql")
    assert [action.strip("`").removeprefix("sql\n").strip() for action in actions] == [
        "SHOW TABLES",
        "DESC Owner",
        "DESC Pet",
        gold,
        "submit",
    ]
    assert thoughts[3] == "I join Owner and Pet, keep the rows that meet the condition and keep the first."
    spec = registry.get("intercode_sql")
    bare = QueryReformatter(look=False).annotate(spec, spec.instance("test", 0))
    assert isinstance(bare, ActionSequence) and len(bare.steps) == 2


def test_a_query_is_told_clause_by_clause() -> None:
    sql = "SELECT a, COUNT(*) FROM t WHERE b = 'group by' GROUP BY a HAVING COUNT(*) > 1 ORDER BY a"
    assert describe_query(sql, ["t"]) == (
        "I read t, keep the rows that meet the condition, group them, keep the groups that meet the condition, "
        "put them in order and take the count."
    )


def code_problem(task: str, solution: str = "def f(x):\n    return x") -> CodeProblem:
    return CodeProblem(task=task, tests=FunctionTests(tests=("assert f(1)",)), solution=solution, entry_point="f")


def test_a_program_is_thought_of_in_the_words_of_its_task() -> None:
    assert describe_task(code_problem("Write a python function to sum all.\nassert")) == (
        "The function f has to sum all."
    )
    solution = 'def f(x):\n    """ Given a text, double it. Then cut it. Else not.\n    >>> f(1)\n    2\n    """\n'
    assert describe_task(code_problem("def f(x):", solution)) == (
        "f is to do this. Given a text, double it. Then cut it."
    )
    assert describe_task(code_problem("def f(x):")) == ""


@needs_bubblewrap
def test_a_canonical_solution_is_one_action(own_benchmarks: Path) -> None:
    row = {"task_id": 1, "query": "Write a function to add one.", "gold": "def f(x):\n  return x + 1"}
    write_rows(own_benchmarks, "mbpp", [row | {"tests": ["assert f(1) == 2"]}], "mbpp.json")
    thoughts, actions = solved("mbpp")
    assert actions == ["```python\ndef f(x):\n  return x + 1\n```"]
    assert thoughts == ["The function f has to add one."]


def test_recorded_actions_are_thought_of_by_their_elements(own_benchmarks: Path) -> None:
    write_mind2web(own_benchmarks / "mind2web")
    for index in range(12):
        thoughts, actions = solved("mind2web", index)
        assert [re.sub(r"\d+", "N", action) for action in actions] == [
            "TYPE [N] New York N",
            "SELECT [N] City N",
            "CLICK [N]",
        ]
        assert "textbox “Where to?”" in thoughts[0] and f"“New York {index}”" in thoughts[0]
        assert "combobox “City”" in thoughts[1] and f"button “Search & find {index}”" in thoughts[2]


def test_the_seed_chooses_the_words_and_never_the_actions(own_benchmarks: Path) -> None:
    write_mind2web(own_benchmarks / "mind2web")
    said = [solved("mind2web", seed=seed) for seed in range(12)]
    assert len({tuple(thoughts) for thoughts, _ in said}) > 1
    assert len({tuple(actions) for _, actions in said}) == 1
    assert solved("mind2web", seed=5) == solved("mind2web", seed=5)


def test_annotators_travel_to_worker_processes_with_their_facts() -> None:
    for task in TASKS:
        annotator = reformatter(task, seed=3)
        assert pickle.loads(pickle.dumps(annotator)) == annotator
        assert json.loads(json.dumps(annotator.facts())) == annotator.facts()
    with pytest.raises(AgentBankError, match=r"no data of 'mathq' hold the steps. Did you mean 'mathqa'\?"):
        reformatter("mathq")


def test_the_table_of_yields_counts_every_source_row() -> None:
    drops = [Drop(id="c", reason="one"), Drop(id="d", reason="other"), Drop(id="e", reason="other")]
    found = Yield(task="made", rows=5, kept=["a", "b"], drops=drops)
    assert yield_table([found]).rows == (("made", "other 2, one 1", "5", "2", "40.0 %"),)
    assert Yield(task="empty").share == 0


def test_an_experts_steps_behind_the_end_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry.get("starter_embodied")
    instance = spec.instance("train", 0)
    planned = HouseholdEnvironment.expert_steps
    monkeypatch.setattr(HouseholdEnvironment, "expert_steps", lambda self: [*(plan := planned(self)), plan[0]])
    outcome = attempt(spec, instance, SearchAnnotator(searcher=Expert()))
    assert not isinstance(outcome, Drop)
    steps = [step.action for step in outcome[0].steps]
    assert len(steps) > 2 and steps.count(steps[0]) == 1


@pytest.fixture
def real(benchmarks: Path, tmp_path: Path) -> Path:
    passages = find_passage_files([benchmarks / "hotpotqa", benchmarks / "strategyqa"])
    build_index(passages, tmp_path / "index")
    config = BenchmarkConfig(data_dir=str(benchmarks), paths={"index": str(tmp_path / "index")})
    benchmark_data.configure(config)
    return benchmarks


@pytest.mark.parametrize(
    ("name", "size", "least", "every"),
    [
        ("hotpotqa", 150, 0.90, 1),
        ("strategyqa", 115, 1.0, 1),
        ("mathqa", 500, 0.80, 1),
        ("intercode_sql", 493, 1.0, 1),
        pytest.param("humaneval", 82, 1.0, 8, marks=needs_bubblewrap),
        pytest.param("mbpp", 487, 0.95, 40, marks=needs_bubblewrap),
    ],
)
def test_published_problems_are_kept(real: Path, name: str, size: int, least: float, every: int) -> None:
    spec = registry.get(name)
    assert spec.size("test") == size
    found = measure(spec, (spec.instance("test", number) for number in range(0, size, every)), reformatter(name))
    assert len(found.kept) + len(found.drops) == found.rows == len(range(0, size, every))
    assert found.share >= least, found.reasons


@pytest.mark.arena
@needs_bubblewrap
@pytest.mark.parametrize(("name", "least"), [("humaneval", 1.0), ("mbpp", 0.995)])
def test_all_published_programs_are_kept(real: Path, name: str, least: float) -> None:
    spec = registry.get(name)
    found = measure(spec, (spec.instance("test", n) for n in range(spec.size("test") or 0)), reformatter(name))
    assert found.share >= least, found.reasons


def test_gsm8k_gives_the_actions_and_thoughts_of_the_bank(real: Path) -> None:
    spec = registry.get("gsm8k")
    problems = list(read_problems(real / "gsm8k" / "train.jsonl.gz", "train"))
    kept = 0
    for number in range(0, len(problems), 25):
        converted = gsm8k_trajectory(problems[number], seed=2)
        outcome = attempt(spec, spec.instance("train", number), reformatter("gsm8k", seed=2))
        if isinstance(outcome, Drop):
            assert isinstance(converted, Drop) and converted.reason == outcome.reason
            continue
        kept += 1
        assert isinstance(converted, Trajectory)
        turns = [turn.content for turn in converted.turns if turn.role == "assistant"]
        sequence, replayed = outcome
        assert len(turns) == len(sequence.steps)
        for turn, step, thought in zip(turns, sequence.steps, sequence.thoughts, strict=True):
            assert turn.startswith(f"Thought: {thought}\n") and turn.endswith(step.action)
        observed = [turn.content.removeprefix("Observation: ") for turn in converted.turns if turn.role == "user"]
        assert list(replayed.observations) == observed
    assert kept >= 0.93 * len(range(0, len(problems), 25))


@pytest.mark.arena
def test_gsm8ks_training_problems_are_kept(real: Path) -> None:
    spec = registry.get("gsm8k")
    found = measure(spec, (spec.instance("train", n) for n in range(spec.size("train") or 0)), reformatter("gsm8k"))
    assert found.rows == 7473 and found.share >= 0.93, found.reasons


@pytest.mark.arena
def test_alfworlds_walkthroughs_are_kept(real: Path) -> None:
    spec = registry.get("alfworld")
    if (missing := spec.available()) is not None:
        pytest.skip(missing)
    numbers = range(0, spec.size("test"), 6)
    found = measure(spec, (spec.instance("test", number) for number in numbers), SearchAnnotator(searcher=Expert()))
    assert found.share == 1, found.reasons
