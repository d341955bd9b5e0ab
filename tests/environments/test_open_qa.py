import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.index_build import build_index
from agentbank_jax.environments.open_qa import OpenQAEnvironment, OpenQuestion
from agentbank_jax.errors import AgentBankError

ROWS = [
    {"title": "Silent Garden", "text": "Silent Garden is a novel by Clara Stone."},
    {
        "title": "Clara Stone",
        "text": "Clara Stone was born in Amber Bay.\nShe wrote of the bay often. Stone died in 1901. BAY was her word.",
    },
    {"title": "Amber Bay", "text": "Amber Bay is a city. Its mayor likes Silent Garden and Clara Stone."},
    {"title": "Long", "text": "word " * 400},
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("index")
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    build_index([place / "rows.jsonl"], place / "index", max_words=10)
    return place / "index"


def instance_of(index: Path, answer: str = "Amber Bay") -> Instance:
    question = OpenQuestion(
        question="Where was the author of Silent Garden born?",
        answers=(answer,),
        scoring="words",
        searches=("Silent Garden", "Clara Stone"),
        index=str(index),
    )
    return Instance(id="x", fingerprint="x", payload=question)


@pytest.fixture
def started(index: Path) -> OpenQAEnvironment:
    environment = OpenQAEnvironment()
    assert environment.reset(options={"instance": instance_of(index)})[0].startswith("Where was")
    return environment


def observe(environment: OpenQAEnvironment, action: str) -> str:
    observation, reward, terminated, truncated, info = environment.step(action)
    assert (reward, terminated, truncated, info) == (0, False, False, {"invalid_action": False})
    return observation


def test_a_search_shows_the_best_passage_and_the_titles_of_the_next_ones(started: OpenQAEnvironment) -> None:
    assert observe(started, "search[Silent Garden]") == (
        "Silent Garden: Silent Garden is a novel by Clara Stone.\nAlso found: Amber Bay"
    )
    # The question itself finds more; an article that was cut is named once.
    others = observe(started, "search[Where was the author of Silent Garden born?]").split("\n")[1]
    assert others == "Also found: Amber Bay; Clara Stone"
    assert observe(started, "search[zebra]") == "No results."
    assert observe(started, "Search [died]") == "Clara Stone: She wrote of the bay often. Stone died in 1901."


def test_a_lookup_shows_the_sentences_of_the_whole_article_one_by_one(started: OpenQAEnvironment) -> None:
    observe(started, "search[1901]")
    shown = [observe(started, "lookup[bay]") for _ in range(5)]
    assert shown == [
        "(Result 1 / 3) Clara Stone was born in Amber Bay.",
        "(Result 2 / 3) She wrote of the bay often.",
        "(Result 3 / 3) BAY was her word.",
        "No more results.",
        "No more results.",
    ]


def test_another_keyword_or_another_search_begins_anew(started: OpenQAEnvironment) -> None:
    observe(started, "search[Clara Stone]")
    assert observe(started, "lookup[bay]").startswith("(Result 1 / 3)")
    assert observe(started, "lookup[died]") == "(Result 1 / 1) Stone died in 1901."
    assert observe(started, "lookup[Bay]").startswith("(Result 1 / 3)")
    observe(started, "search[Amber Bay]")
    assert observe(started, "lookup[bay]") == "(Result 1 / 1) Amber Bay is a city."
    assert observe(started, "lookup[zebra]") == "No more results."


def test_a_lookup_without_a_passage_or_keyword_is_invalid(started: OpenQAEnvironment, index: Path) -> None:
    def is_refused(action: str, remedy: str) -> bool:
        observation, reward, terminated, _, info = started.step(action)
        return info == {"invalid_action": True} and remedy in observation and not reward and not terminated

    assert is_refused("lookup[bay]", "Use search[query] first")
    observe(started, "search[Amber Bay]")
    assert is_refused("lookup[ ]", "Use lookup[keyword]")
    observe(started, "search[zebra]")
    assert is_refused("lookup[bay]", "Use search[query] first")
    observe(started, "search[Amber Bay]")
    started.reset(options={"instance": instance_of(index)})
    assert is_refused("lookup[bay]", "Use search[query] first")


def test_an_unknown_action_is_answered_with_the_syntax(started: OpenQAEnvironment) -> None:
    for action in ("open the door", "search query", "search[x", "lookup", "finish[x]", ""):
        observation, _, _, _, info = started.step(action)
        assert info["invalid_action"] and "search[query], lookup[keyword] or Final Answer:" in observation


def test_the_answer_ends_the_episode_and_says_what_was_searched(started: OpenQAEnvironment) -> None:
    observation, reward, terminated, truncated, info = started.step("Final Answer: the amber  bay.")
    assert (observation, reward, terminated, truncated) == ("Correct.", 1.0, True, False)
    assert info["success"] and info["exact_match"] and info["f1"] == 1 and len(info["index"]) == 64
    observation, reward, terminated, _, info = started.step("Final Answer: Amber Hill")
    assert (observation, reward, terminated) == ("Wrong.", 0.0, True)
    assert not info["success"] and info["f1"] == pytest.approx(0.5)


def test_the_answer_protocol_is_taken_from_the_options(started: OpenQAEnvironment, index: Path) -> None:
    assert started.step("Final Answer: It was Amber Bay")[1] == 0
    started.reset(options={"instance": instance_of(index), "answers": "mint"})
    assert started.step("Final Answer: It was Amber Bay")[1] == 1
    started.reset(options={"instance": instance_of(index, "1000"), "answers": "mint"})
    assert [started.step(f"Final Answer: {stated}")[1] for stated in ("1050", "1051", "about 1000")] == [1, 0, 1]
    with pytest.raises(AgentBankError, match="Did you mean 'mint'"):
        started.reset(options={"instance": instance_of(index), "answers": "mints"})


def test_the_expert_searches_and_then_answers(started: OpenQAEnvironment) -> None:
    actions = [step.action for step in started.expert_steps()]
    assert actions == ["search[Silent Garden]", "search[Clara Stone]", "Final Answer: Amber Bay"]
    assert [started.step(action)[1] for action in actions] == [0, 0, 1]


def test_observations_are_cut(index: Path) -> None:
    environment = OpenQAEnvironment(max_characters=20)
    environment.reset(options={"instance": instance_of(index)})
    assert environment.step("search[Silent Garden]")[0].split("\n")[0] == "Silent Garden: Silen"
    assert environment.step("lookup[novel]")[0] == "(Result 1 / 1) Silent Garden is a n"


@given(st.text(max_size=60), st.sampled_from(["search", "lookup"]))
def test_any_text_between_brackets_is_understood(index: Path, text: str, name: str) -> None:
    environment = OpenQAEnvironment()
    environment.reset(options={"instance": instance_of(index)})
    environment.step("search[Clara Stone]")
    observation, reward, terminated, _, info = environment.step(f"{name}[{text}]")
    assert observation and not reward and not terminated
    assert info["invalid_action"] == (name == "lookup" and not text.strip())


@pytest.mark.parametrize("text", ["(a+)+$" * 10_000, "[" * 65_000, "\x00\x1b]0;x\x07", "\ud800", "stone " * 11_000])
def test_hostile_actions_are_quick_and_harmless(started: OpenQAEnvironment, text: str) -> None:
    for action in (f"search[{text}]", f"lookup[{text}]", text, f"Final Answer: {text}"):
        observation, reward, _, _, _ = started.step(action)
        assert reward == 0 and len(observation) < 3000
    pickle.dumps(started.step(f"search[{text}]"))


def test_random_actions_are_understood_once_something_is_shown(started: OpenQAEnvironment) -> None:
    rng = random.Random(0)
    observe(started, "search[Clara Stone]")
    kinds = set()
    for _ in range(60):
        action = started.sample_action(rng)
        kinds.add(action.split("[")[0].split(":")[0])
        if not action.startswith("lookup"):
            assert not started.step(action)[4]["invalid_action"]
    assert kinds == {"search", "lookup", "Final Answer"}


def test_mistakes_in_its_use_say_what_to_do(index: Path, tmp_path: Path) -> None:
    environment = OpenQAEnvironment()
    with pytest.raises(AgentBankError, match="before reset"):
        environment.step("search[x]")
    with pytest.raises(AgentBankError, match="expected options"):
        environment.reset()
    with pytest.raises(AgentBankError, match="build it with"):
        environment.reset(options={"instance": instance_of(tmp_path)})
    environment.reset(options={"instance": instance_of(index)})
    environment.close()
    environment.close()
    with pytest.raises(AgentBankError, match="after close"):
        environment.step("search[x]")


def test_an_instance_is_small_and_can_be_sent_to_a_worker(index: Path) -> None:
    sent = pickle.dumps(instance_of(index))
    assert len(sent) < 1000 and pickle.loads(sent) == instance_of(index)
