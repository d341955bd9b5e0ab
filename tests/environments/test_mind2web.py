"""Mind2Web's recorded steps: what is shown, how an answer is read and judged, and the oracle."""

import dataclasses
import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments import registry
from agentbank_jax.environments.mind2web import (
    Mind2Web,
    RecordedStep,
    action_f1,
    parse,
    score,
)
from agentbank_jax.environments.mind2web_page import CANDIDATES, Candidate, candidates_of
from agentbank_jax.errors import AgentBankError
from tests.environments.made_mind2web import write_mind2web

SPEC = registry.get("mind2web")


@pytest.fixture
def made(own_benchmarks: Path) -> Path:
    return write_mind2web(own_benchmarks / "mind2web")


def begun(index: int = 0) -> tuple[Mind2Web, str]:
    environment = SPEC.make()
    assert isinstance(environment, Mind2Web)
    instance = pickle.loads(pickle.dumps(SPEC.instance("test", index)))
    return environment, environment.reset(options={"instance": instance})[0]


def test_the_oracle_answers_every_step_of_every_instance(made: Path) -> None:
    assert SPEC.available() is None and SPEC.size("test") == 12
    for index in range(SPEC.size("test")):
        environment, _ = begun(index)
        steps = environment.expert_steps()
        for done, step in enumerate(steps, start=1):
            _, reward, terminated, truncated, info = environment.step(step.action)
            assert info["step_success"] and not info["invalid_action"]
            assert reward == pytest.approx(done / len(steps)) and not truncated
        assert terminated and info["success"]
        assert [info[name] for name in ("element_accuracy", "mean_action_f1", "step_success_rate")] == [1.0, 1.0, 1.0]
        assert info["without_element"] == (1 if index == 3 else 0)


def test_a_page_shows_fifty_elements_in_its_order_with_what_tells_them_apart(made: Path) -> None:
    environment, first = begun(2)
    head, *lines = first.split("\n")
    assert head == "Task on site2: Find a hotel in New York, number 2"
    assert len(lines) == CANDIDATES and [line.split("]")[0] for line in lines] == [f"[{n}" for n in range(1, 51)]
    assert sum('input type="text" placeholder="Where to?"' in line for line in lines) == 1
    links = [int(line.rpartition(" ")[2].strip('"')) for line in lines if '"Link ' in line]
    assert links == sorted(links)
    action = json.loads((made / "test_task" / "test_task_0.json").read_text())[2]["actions"][0]
    assert candidates_of(action) == candidates_of(action), "drawn the same each time"
    assert candidates_of(action) != candidates_of({**action, "action_uid": "other"}), "and another for another step"
    page = environment.step("CLICK [1]")[0].split("\n")
    assert page[0] == "Previous action: [textbox] Where to? -> TYPE: New York 2"
    assert any('select "City 0 City 1 City 2 City 3" aria_label="City"' in line for line in page)


def test_the_next_page_is_the_recorded_one_whatever_was_answered(made: Path) -> None:
    right, wrong = begun()[0], begun()[0]
    steps = right.expert_steps()
    pages = [right.step(step.action)[0] for step in steps]
    assert [wrong.step(answer)[0] for answer in ("CLICK [1]", "what?", "SELECT [999] x")] == pages
    *_, info = wrong.step("CLICK [1]")
    assert info["invalid_action"] and not info["success"]


def test_a_failed_step_costs_its_share_and_the_success(made: Path) -> None:
    environment, _ = begun()
    first, second, third = environment.expert_steps()
    assert environment.step(first.action + " today")[1] == 0.0
    assert environment.step(second.action)[1] == pytest.approx(1 / 3)
    _, reward, terminated, _, info = environment.step(third.action)
    assert terminated and reward == pytest.approx(2 / 3) and not info["success"]
    # The words New York 0 of TYPE New York 0 today: 2 * 4 / (4 + 5).
    assert info["mean_action_f1"] == pytest.approx((8 / 9 + 2) / 3)
    assert info["element_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("answer", "recorded", "f1"),
    [
        ("CLICK", "CLICK ", 1.0),
        ("TYPE a b", "TYPE b a", 1.0),
        ("TYPE a", "TYPE A", 0.5),
        ("CLICK", "TYPE a", 0.0),
        ("", "", 1.0),
        ("", "CLICK", 0.0),
        ("TYPE a a a", "TYPE a", 1.0),
        ("TYPE new york", "TYPE york", 0.8),
    ],
)
def test_the_f1_is_that_of_two_sets_of_words(answer: str, recorded: str, f1: float) -> None:
    assert action_f1(answer, recorded) == pytest.approx(f1)


STEP = RecordedStep(
    candidates=(
        Candidate(number=1, tag="a", text="Home", attributes="", right=False),
        Candidate(number=2, tag="input", text="", attributes='placeholder="Where to?"', right=True),
    ),
    operation="TYPE",
    value="New York",
    representation="[textbox] Where to? -> TYPE: New York",
)


@pytest.mark.parametrize(
    "answer",
    [
        "TYPE [2] New York", "type [2] New York", "TYPE [2] [New York]", "TYPE 2 New York", "TYPE [2]: New York",
        "[textbox]  Where to? -> TYPE: New York", " TYPE [ 2 ]  New York \n",
    ],
)  # fmt: skip
def test_both_forms_of_an_answer_are_read(answer: str) -> None:
    parsed = parse(answer, STEP)
    assert parsed is not None
    assert score(STEP, *parsed).success


def test_what_follows_a_click_does_not_count() -> None:
    clicked = dataclasses.replace(STEP, operation="CLICK", value="")
    parsed = parse("CLICK [2] the field", clicked)
    assert parsed is not None and score(clicked, *parsed).success


def test_the_wrong_element_or_word_is_no_success() -> None:
    for answer in ("TYPE [1] New York", "TYPE [2] new york", "CLICK [2]", "TYPE [3] New York", "TYPE [2]"):
        parsed = parse(answer, STEP)
        assert parsed is not None and not score(STEP, *parsed).success, answer


@given(st.text(max_size=60))
def test_no_answer_is_an_exception(answer: str) -> None:
    parse(answer, STEP)
    parse(f"CLICK [{answer}]", STEP)


def test_all_right_elements_are_shown_even_where_there_are_many() -> None:
    node = {"tag": "a", "attributes": "{}"}
    action = {
        "action_uid": "x",
        "cleaned_html": '<a backend_node_id="3">x</a>',
        "pos_candidates": [{**node, "backend_node_id": str(n)} for n in range(60)],
        "neg_candidates": [{**node, "backend_node_id": str(n)} for n in range(60, 90)],
    }
    shown = candidates_of(action)
    assert len(shown) == 60 and all(one.right for one in shown)
    assert shown[0].text == "x", "what the page has comes first, what it lacks after"


def test_random_play_is_over_after_the_steps(made: Path) -> None:
    environment, _ = begun()
    rng = random.Random(0)
    for _ in range(3):
        action = environment.sample_action(rng)
        assert action in environment.valid_actions()
        _, reward, terminated, *_ = environment.step(action)
    assert terminated and 0 <= reward <= 1 and environment.valid_actions() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confirmed_task": None}, "row 0: confirmed_task is missing"),
        ({"action_reprs": []}, "as many action_reprs as actions"),
        ({"actions": [{"operation": 3}], "action_reprs": ["x"]}, "row 0: action 0: action_uid is missing"),
    ],
)
def test_a_malformed_row_is_named(made: Path, change: dict, message: str) -> None:
    path = made / "test_task" / "test_task_0.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([{**rows[0], **change}]))
    with pytest.raises(AgentBankError, match=message):
        SPEC.size("test")


def test_a_candidate_without_a_node_and_an_unknown_operation_are_named(made: Path) -> None:
    path = made / "test_task" / "test_task_0.json"
    rows = json.loads(path.read_text())
    rows[0]["actions"][0]["operation"]["op"] = "HOVER"
    path.write_text(json.dumps(rows))
    with pytest.raises(AgentBankError, match="op is 'HOVER'; expected one of CLICK, TYPE, SELECT"):
        SPEC.size("test")
    rows[0]["actions"][0]["operation"]["op"] = "TYPE"
    del rows[0]["actions"][0]["neg_candidates"][0]["backend_node_id"]
    path.write_text(json.dumps(rows))
    with pytest.raises(AgentBankError, match="a candidate: backend_node_id is missing"):
        SPEC.size("test")


def test_without_files_it_says_where_they_are_had(own_benchmarks: Path) -> None:
    assert "osunlp/Mind2Web" in (SPEC.available() or "")
