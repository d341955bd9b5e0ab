import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.passage_index import Passage
from agentbank_jax.environments.search_qa import Corpus, SearchProblem, SearchQAEnvironment
from agentbank_jax.errors import AgentBankError

CORPUS = Corpus(
    key="three",
    passages=(
        Passage(title="Silent Garden", text="Silent Garden is a novel by Clara Stone."),
        Passage(title="Clara Stone", text="Clara Stone was born in Amber Bay."),
        Passage(title="Amber Bay", text="Amber Bay is a city. Its mayor likes Silent Garden and Clara Stone."),
    ),
)  # fmt: skip
PROBLEM = SearchProblem(question="Where was the author of Silent Garden born?", answers=("Amber Bay",), corpus=CORPUS)


def started(k: int = 1) -> SearchQAEnvironment:
    environment = SearchQAEnvironment(k=k)
    environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=PROBLEM)})
    return environment


def test_reset_shows_the_question() -> None:
    observation, info = SearchQAEnvironment().reset(
        options={"instance": Instance(id="x", fingerprint="x", payload=PROBLEM)}
    )
    assert observation == PROBLEM.question and info == {"invalid_action": False}


def test_a_search_for_a_title_shows_its_passage() -> None:
    for passage in CORPUS.passages:
        assert started().step(f"search[{passage.title}]")[0] == passage.text


def test_k_passages_are_shown_best_first() -> None:
    shown = started(k=2).step("search[Clara Stone]")[0].split("\n")
    assert len(shown) == 2 and shown[0] == "Clara Stone was born in Amber Bay."


@given(st.text(max_size=60))
def test_any_text_is_a_query(query: str) -> None:
    observation, reward, terminated, _, _ = started().step(f"search[{query}]")
    assert observation and reward == 0 and not terminated


@pytest.mark.parametrize(
    "query", ["AND", "a AND (", "title:", 'x"y', "NOT NOT", "[1 TO 2", "*", "text:/a(/", "^3", "IN ["]
)
def test_query_operators_have_no_meaning(query: str) -> None:
    assert not started().step(f"search[{query}]")[4]["invalid_action"]


def test_nothing_found_is_said() -> None:
    assert started().step("search[zebra]")[0] == "No results."


def test_an_unknown_action_is_answered_with_the_syntax() -> None:
    observation, reward, terminated, _, info = started().step("open the door")
    assert info["invalid_action"] and "search[query]" in observation and reward == 0 and not terminated


def test_the_answer_is_scored_by_normalised_exact_match() -> None:
    _, reward, terminated, truncated, info = started().step("Final Answer: the amber  bay.")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["success"] and info["exact_match"] and info["f1"] == 1


def test_a_partly_right_answer_gets_no_reward_but_an_f1() -> None:
    _, reward, terminated, _, info = started().step("Final Answer: Amber Hill")
    assert reward == 0 and terminated and not info["success"] and info["f1"] == pytest.approx(0.5)


def test_a_lookup_is_no_action_of_the_starter_families() -> None:
    environment = started()
    environment.step("search[Clara Stone]")
    assert environment.step("lookup[born]")[4]["invalid_action"]


def test_a_random_action_is_understood() -> None:
    rng = random.Random(0)
    for _ in range(20):
        environment = started()
        assert not environment.step(environment.sample_action(rng))[4]["invalid_action"]


def test_a_step_before_reset_says_what_to_do() -> None:
    with pytest.raises(AgentBankError, match="reset"):
        SearchQAEnvironment().step("search[x]")
    with pytest.raises(AgentBankError, match="expected options"):
        SearchQAEnvironment().reset()
