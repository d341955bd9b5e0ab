"""WebArena's tasks and evaluators by hand-worked cases, and against a made shop in a real Chromium."""

import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.environments import benchmark_data, registry, webarena, webarena_functions, webarena_judge
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_data import BenchmarkConfig
from agentbank_jax.environments.browser import PageRefusal
from agentbank_jax.environments.webarena import WebArena, _parse
from agentbank_jax.environments.webarena_evaluators import clean, must_include, string_match, url_match
from agentbank_jax.environments.webarena_tasks import SITES, WebArenaTask
from agentbank_jax.errors import AgentBankError
from tests.environments.made_webarena import PRODUCTS, made_shop, made_tasks, write_webarena
from tests.environments.web_actions import need_browser

SPEC = registry.get("webarena")
RUN = 3 * len(PRODUCTS) + 8


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    with made_shop() as address:
        yield address


@pytest.fixture(scope="module")
def made(shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The made tasks with the made shop as their one site, configured as a user does."""
    folder = tmp_path_factory.mktemp("benchmarks")
    write_webarena(folder / "webarena", shop)
    with pytest.MonkeyPatch.context() as patch:
        for name in (*SITES, webarena_judge.URL_VARIABLE, webarena_judge.MODEL_VARIABLE):
            patch.delenv(name, raising=False)
        patch.setenv("SHOPPING", shop + "/")
        benchmark_data.configure(BenchmarkConfig(data_dir=str(folder)))
        yield folder / "webarena"
        benchmark_data.configure(BenchmarkConfig())


@pytest.mark.parametrize(
    ("answer", "cleaned"), [(" 'A' ", "a"), ('"b"', "b"), ("'", "'"), ("\"x'", "\"x'"), ("Ab C", "ab c")]
)
def test_answers_are_cleaned_of_one_pair_of_marks(answer: str, cleaned: str) -> None:
    assert clean(answer) == cleaned


@pytest.mark.parametrize(
    ("reference", "text", "as_word", "met"),
    [
        ("6", "there are 6 reviews", True, True),
        ("6", "there are 16 reviews", True, False),
        ("6", "there are 16 reviews", False, True),
        ("0", "it costs 0.5", True, False),
        ("Blue Mug", "a blue mug.", True, True),
    ],
)
def test_one_character_must_be_a_word_where_it_is_all_that_is_asked_for(
    reference: str, text: str, as_word: bool, met: bool
) -> None:
    assert must_include(reference, text, as_word=as_word) is met


@pytest.mark.parametrize(
    ("references", "answer", "met"),
    [
        ({"exact_match": "Sprite"}, "sprite", True),
        ({"exact_match": "Sprite"}, "Sprite!", False),
        ({"must_include": ["a b", "c"]}, "C and A B", True),
        ({"must_include": ["a b", "c"]}, "A B", False),
        ({"must_include": ["2"]}, "12", False),
        ({"must_include": ["2", "1"]}, "12", True),
        ({"fuzzy_match": "N/A"}, "n/a", True),
        ({"fuzzy_match": "N/A"}, "it cannot be done", False),
        ({"exact_match": "a", "must_include": ["b"]}, "a", False),
    ],
)
def test_answers_are_matched_as_published(references: dict, answer: str, met: bool) -> None:
    assert string_match({"reference_answers": references}, answer, "x") is met


@pytest.mark.parametrize(
    ("reference", "url", "met"),
    [
        ("http://a/b", "http://a/b/", True),
        ("http://a/b", "http://a/b/c?x=1", True),
        ("http://a/b", "http://a/", False),
        ("http://a/b |OR| http://a/c", "http://a/c", True),
        ("http://a/b?q=1", "http://a/b?q=1&r=2", True),
        ("http://a/b?q=1", "http://a/b?q=2", False),
        ("http://a/b?q=1 |OR| http://a/b?q=2", "http://a/b?q=2", True),
        ("http://a/b?q=1", "http://a/b", False),
        ("b", "http://a/b", True),
    ],
)
def test_addresses_are_matched_as_published(reference: str, url: str, met: bool) -> None:
    assert url_match({"reference_url": reference}, url) is met


def test_an_unknown_rule_for_addresses_is_an_error() -> None:
    with pytest.raises(AgentBankError, match="EXACT"):
        url_match({"reference_url": "http://a", "url_note": "EXACT"}, "http://a")


@pytest.mark.parametrize(
    ("action", "parsed"),
    [
        ("click [12]", ("click", "12")),
        ("click[12]", ("click", "12")),
        ("type [1] [a [b] c] [0]", ("type", "[1] [a [b] c] [0]")),
        ("stop [N/A]", ("stop", "N/A")),
        ("stop", ("stop", "")),
        ("go_back", ("go_back", "")),
        ("new_tab []", ("new_tab", "")),
        ("scroll [direction=down]", ("scroll", "direction=down")),
        (" goto [http://a/?b=[c]] ", ("goto", "http://a/?b=[c]")),
    ],
)
def test_actions_are_read_as_published(action: str, parsed: tuple[str, str]) -> None:
    assert _parse(action) == parsed


@pytest.mark.parametrize("action", ["", "click", "click 12", "go_back [1]", "buy [1]", "stop N/A", "</s>"])
def test_what_is_no_action_is_refused_with_the_syntax(action: str) -> None:
    with pytest.raises(PageRefusal, match=r"stop \[answer\]"):
        _parse(action)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('id')", "cannot be read"),
        ("open('x')", "no function 'open'"),
        ("reddit_get_post_url(open)", "cannot be read"),
        ("reddit_get_posturl('x')", "Did you mean 'reddit_get_post_url'"),
    ],
)
def test_nothing_of_a_configuration_is_run_as_python(text: str, message: str) -> None:
    with pytest.raises(AgentBankError, match=message):
        webarena_functions.call(text, None)  # type: ignore[arg-type]


def test_tasks_that_cannot_be_run_or_judged_are_left_out(made: Path, shop: str) -> None:
    assert SPEC.size("test") == RUN == len(made_tasks()) - 2
    task = SPEC.instance("test", 1).payload
    assert task.start_url == shop and task.evaluation["reference_url"].startswith(f"{shop}/product/mug")
    assert pickle.loads(pickle.dumps(task)) == task
    assert webarena.protocol() == "webarena_text/1 (sites shopping, fuzzy_match by nobody: left out)"


def test_without_a_site_it_says_which_variables_name_them(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPPING", "localhost:7770")
    assert "SHOPPING is 'localhost:7770'; expected an address" in (SPEC.available() or "")
    monkeypatch.delenv("SHOPPING")
    assert "no site is named" in (SPEC.available() or "") and "SHOPPING_ADMIN" in (SPEC.available() or "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intent": None}, "row 0: intent is missing"),
        ({"eval": {"eval_types": ["vibes"]}}, "eval_types has 'vibes'"),
        ({"eval": {}}, "eval_types has 'none'"),
    ],
)
def test_a_malformed_row_is_named(made: Path, tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / "webarena").mkdir()
    (tmp_path / "webarena" / "test.raw.json").write_text(json.dumps([{**made_tasks()[0], **change}]))
    try:
        benchmark_data.configure(BenchmarkConfig(data_dir=str(tmp_path)))
        with pytest.raises(AgentBankError, match=message):
            SPEC.size("test")
    finally:
        benchmark_data.configure(BenchmarkConfig(data_dir=str(made.parent)))


def test_a_judge_decides_where_one_is_named(made: Path, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = {"reference_answers": {"fuzzy_match": ["7.50 dollars"]}}
    monkeypatch.setenv(webarena_judge.URL_VARIABLE, shop)
    monkeypatch.setenv(webarena_judge.MODEL_VARIABLE, "made")
    assert string_match(evaluation, "seven and a half", "x")
    assert not string_match(evaluation, "eight", "x") and not string_match(evaluation, "", "x")
    absent = {"reference_answers": {"fuzzy_match": "N/A"}, "string_note": "none"}
    assert string_match(absent, "seven and a half", "x") and not string_match(absent, "eight", "x")
    assert "fuzzy_match by made" in webarena.protocol()
    monkeypatch.setenv(webarena_judge.URL_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(AgentBankError, match=r"judge at http://127\.0\.0\.1:9"):
        string_match(evaluation, "eight", "x")


@pytest.fixture(scope="module")
def environment(made: Path) -> Iterator[WebArena]:
    need_browser()
    made_one = SPEC.make()
    assert isinstance(made_one, WebArena)
    yield made_one
    made_one.close()


def begin(environment: WebArena, url: str, evaluation: dict | None = None) -> str:
    task = WebArenaTask(intent="x", start_url=url, evaluation=evaluation or {"eval_types": []})
    return environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=task)})[0]


def ref(environment: WebArena, name: str) -> int:
    return next(one.ref for one in environment.page.elements if one.name == name)


@pytest.mark.arena
@pytest.mark.parametrize("index", range(RUN))
def test_the_reference_actions_succeed(environment: WebArena, index: int) -> None:
    instance = SPEC.instance("test", index)
    first, _ = environment.reset(options={"instance": instance})
    assert first.startswith(f"Objective: {instance.payload.intent}\nURL: http://127.0.0.1:")
    steps = environment.expert_steps()
    for step in steps:
        _, reward, terminated, truncated, info = environment.step(step.action)
        assert not info["invalid_action"], step
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    assert list(info["evaluations"]) == instance.payload.evaluation["eval_types"]


@pytest.mark.arena
@pytest.mark.parametrize("index", range(RUN))
def test_stopping_at_once_fails_but_where_nothing_was_to_be_done(environment: WebArena, index: int) -> None:
    instance = SPEC.instance("test", index)
    environment.reset(options={"instance": instance})
    _, reward, _, _, info = environment.step("stop [wrong]")
    done = instance.payload.intent in ("Show the order.", "Show my account.")
    assert info["success"] is done and reward == float(done)


@pytest.mark.arena
def test_an_observation_has_address_elements_and_tabs(environment: WebArena, shop: str) -> None:
    first = begin(environment, shop)
    assert first.split("\n")[:5] == [
        "Objective: x",
        f"URL: {shop}/",
        '[1] link "Home"',
        '[2] link "Cart"',
        '[3] heading "Made shop"',
    ]
    assert '[4] textbox "Search" value=""' in first and "Tabs" not in first
    assert "Tabs: 2, at 1" in environment.step("new_tab")[0]
    assert "Made mug" in environment.step(f"goto [{shop}/product/mug]")[0]
    assert environment.step("tab_focus [0]")[0].startswith(f"URL: {shop}/\nTabs: 2, at 0")
    assert environment.step("tab_focus [2]")[4]["invalid_action"]
    environment.step("tab_focus [1]")
    assert environment.step("close_tab")[0].startswith(f"URL: {shop}/\n[")
    assert environment.step("close_tab")[4]["invalid_action"]
    environment.step(f"click [{ref(environment, 'Cart')}]")
    assert environment.step("go_back")[0].startswith(f"URL: {shop}/\n")
    assert environment.step("go_forward")[0].startswith(f"URL: {shop}/cart\n")


@pytest.mark.arena
def test_an_episode_leaves_nothing_for_the_next(environment: WebArena, shop: str) -> None:
    begin(environment, f"{shop}/product/mug")
    cart = environment.step(f"click [{ref(environment, 'Add to Cart')}]")[0]
    assert '[4] item "Made mug"' in cart
    environment.browser.script("localStorage.setItem('a', 'b');")
    environment.step("new_tab")
    seen = begin(environment, f"{shop}/cart")
    assert "Made mug" not in seen and "Tabs" not in seen
    assert environment.browser.script("return localStorage.length;") == 0


@pytest.mark.arena
@pytest.mark.parametrize("name", ["Elsewhere", "Leave", "File", "Boo", "Close"])
def test_a_page_cannot_lead_away_from_the_sites(environment: WebArena, shop: str, name: str) -> None:
    begin(environment, f"{shop}/traps")
    observation, reward, *_ = environment.step(f"click [{ref(environment, name)}]")
    assert reward == 0.0 and "root:" not in observation
    seen = environment.step("scroll [down]")[0]
    assert seen.startswith(f"URL: {shop}/") and "Boo" in seen, "the page is there again"
    assert ("The page said: boo" in observation) == (name == "Boo")


@pytest.mark.arena
@pytest.mark.parametrize(
    "action",
    [
        "goto [http://192.0.2.1/]", "goto [file:///etc/passwd]", "goto [javascript:alert(1)]", "goto [chrome://settings]",
        "goto [view-source:file:///etc/passwd]", "goto [http://127.0.0.1:9@192.0.2.1/]", "goto [http://[]", "goto []",
        "goto [data:text/html,x]", "click [999]", "click [-1]", "type [1]", "type [999] [x]", "press [Control+t]",
        "scroll [left]", "tab_focus [-1]", "tab_focus [x]", "buy [mug]", "", "stop me", "hover [0]",
        "type [1] [" + "x" * 100_000 + "]",
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_an_observation(environment: WebArena, shop: str, action: str) -> None:
    first = begin(environment, shop)
    observation, reward, terminated, truncated, info = environment.step(action)
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"invalid_action": True})
    assert first.removeprefix("Objective: x\n") in observation and len(observation) < len(first) + 500


@pytest.mark.arena
def test_a_link_to_a_new_tab_is_followed(environment: WebArena, shop: str) -> None:
    begin(environment, f"{shop}/traps")
    observation = environment.step(f"click [{ref(environment, 'Tab')}]")[0]
    assert observation.startswith(f"URL: {shop}/product/mug\nTabs: 2, at 1")


@pytest.mark.arena
@pytest.mark.parametrize("name", ["Loop", "Dialogs", "Reload"])
def test_a_page_that_hangs_ends_the_episode_and_the_next_one_runs(
    environment: WebArena, shop: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.browser, "_seconds", 3.0)
    environment.close()
    begin(environment, f"{shop}/traps")
    action = f"click [{ref(environment, name)}]"
    for _ in range(3):
        _, reward, terminated, truncated, info = environment.step(action)
        if terminated:
            break
        action = "scroll [down]"
    assert (reward, terminated, truncated, info["success"]) == (0.0, True, False, False)
    assert "Made shop" in begin(environment, shop)


@pytest.mark.arena
def test_the_thirtieth_action_is_judged_as_a_stop_without_an_answer(environment: WebArena, shop: str) -> None:
    evaluation = {"eval_types": ["url_match"], "reference_url": f"{shop}/traps"}
    begin(environment, f"{shop}/traps", evaluation)
    for _ in range(webarena.MAX_STEPS - 1):
        assert environment.step("scroll [down]")[1:4] == (0.0, False, False)
    _, reward, terminated, truncated, info = environment.step("scroll [up]")
    assert (reward, terminated, truncated, info["success"]) == (1.0, False, True, True)


@pytest.mark.arena
def test_a_site_that_is_down_and_a_login_that_is_missing_are_errors_of_one_line(
    environment: WebArena, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AgentBankError, match="does not open"):
        begin(environment, "http://127.0.0.1:9/")
    task = WebArenaTask(intent="x", start_url=shop, evaluation={"eval_types": []}, storage_state="/nowhere/state.json")
    with pytest.raises(AgentBankError, match=r"auto_login\.py"):
        environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=task)})
    assert "Made shop" in begin(environment, shop)
    with pytest.raises(AgentBankError, match="no reference actions"):
        environment.expert_steps()


@pytest.mark.arena
def test_random_play_goes_through_listed_actions_without_an_exception(environment: WebArena, shop: str) -> None:
    rng = random.Random(0)
    for _ in range(3):
        begin(environment, shop, {"eval_types": ["url_match"], "reference_url": "x"})
        for _ in range(8):
            action = environment.sample_action(rng)
            assert action in environment.valid_actions()
            if environment.step(action)[2]:
                break
