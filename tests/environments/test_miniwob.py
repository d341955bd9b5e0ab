"""MiniWoB++ as text: instances, actions, reward, and the scripted experts."""

import dataclasses
import pickle
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.environments import miniwob, registry
from agentbank_jax.environments.browser import PageRefusal
from agentbank_jax.environments.miniwob import KINDS, MiniWob, MiniWobTask, make_instance, perform
from agentbank_jax.environments.miniwob_expert import EXPERTS
from agentbank_jax.errors import AgentBankError
from tests.environments.web_actions import need_browser

SEEDS = 5


def test_every_kind_has_an_expert_and_twenty_at_least() -> None:
    assert set(EXPERTS) == set(KINDS)
    assert len(KINDS) == len(set(KINDS)) >= 20


def test_the_first_instances_are_one_of_each_kind_and_splits_share_none() -> None:
    first = [make_instance("test", index).payload.kind for index in range(len(KINDS))]
    assert tuple(first) == KINDS
    instances = [make_instance(split, index) for split in registry.SPLITS for index in range(miniwob.size(split))]
    assert len({instance.fingerprint for instance in instances}) == len({one.id for one in instances}) == len(instances)
    with pytest.raises(AgentBankError, match="it holds 440"):
        make_instance("test", 440)


def test_it_is_held_out_and_its_engine_can_be_sent_to_a_worker() -> None:
    spec = registry.get("miniwob")
    assert spec.held_out and spec.at_once == 2
    assert pickle.loads(pickle.dumps(spec.make)) is spec.make
    pickle.dumps(spec.instance("test", 0))


class Recorder:
    """Stands for a browser and notes what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __getattr__(self, name: str):
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.mark.parametrize(
    ("action", "call"),
    [
        ("click[3]", ("click", 3)),
        (" Click [ 3 ] ", ("click", 3)),
        ("click[[3]]", ("click", 3)),
        ("type[3, a, b]]", ("type", 3, "a, b]")),
        ("type[3,]", ("type", 3, "")),
        ("focus[1]", ("focus", 1)),
        ("hover[1]", ("hover", 1)),
        ("press[Control+a]", ("press", "Control+a")),
        ("drag[1, 2]", ("drag", 1, 2)),
        ("drag[1, -20, 30]", ("drag", 1, (-20, 30))),
        ("scroll[down]", ("scroll", "down")),
    ],
)
def test_actions_are_read_leniently(action: str, call: tuple) -> None:
    recorder = Recorder()
    perform(recorder, action)  # type: ignore[arg-type]
    assert recorder.calls == [call]


@given(
    st.text(max_size=30) | st.sampled_from(["click[]", "click[a]", "type[1]", "drag[1]", "drag[1,2,3,4]", "open[1]"])
)
def test_what_is_no_action_is_refused_with_the_syntax(text: str) -> None:
    recorder = Recorder()
    try:
        perform(recorder, text)  # type: ignore[arg-type]
    except PageRefusal as refusal:
        assert "click[number]" in str(refusal)
        assert recorder.calls == []


def test_a_reset_without_an_instance_says_what_was_expected() -> None:
    with pytest.raises(AgentBankError, match="MiniWobTask"):
        MiniWob().reset()
    with pytest.raises(AgentBankError, match="call reset"):
        _ = MiniWob().task


@pytest.fixture(scope="module")
def environment() -> Iterator[MiniWob]:
    need_browser()
    made = registry.get("miniwob").make()
    assert isinstance(made, MiniWob)
    yield made
    made.close()


def instance_of(kind: str, seed: int = 0):
    return make_instance("test", KINDS.index(kind) + seed * len(KINDS))


@pytest.mark.arena
@pytest.mark.parametrize("kind", KINDS)
def test_the_expert_solves_every_instance_of_its_kind(environment: MiniWob, kind: str) -> None:
    for seed in range(SEEDS):
        first, _ = environment.reset(options={"instance": instance_of(kind, seed)})
        steps = environment.expert_steps()
        assert f"{environment.utterance}\n{environment.page.text}" == first, "the plan leaves the page as it was"
        for step in steps:
            _, reward, terminated, _, info = environment.step(step.action)
            assert not info["invalid_action"], step
        assert (reward, terminated, info["success"], info["raw_reward"], info["kind"]) == (1.0, True, True, 1.0, kind)


@pytest.mark.arena
def test_a_wrong_action_ends_without_success(environment: MiniWob) -> None:
    environment.reset(options={"instance": instance_of("click-test-2")})
    two = next(one.ref for one in environment.page.elements if one.name == "TWO")
    _, reward, terminated, truncated, info = environment.step(f"click[{two}]")
    assert (reward, terminated, truncated, info["success"], info["raw_reward"]) == (0.0, True, False, False, -1.0)
    assert environment.step("click[1]")[2:] == (True, False, {"invalid_action": True, "success": False})
    assert environment.valid_actions() == []


@pytest.mark.arena
def test_a_part_of_the_reward_is_no_success(environment: MiniWob) -> None:
    for seed in range(miniwob.SEEDS_PER_KIND):
        environment.reset(options={"instance": instance_of("odd-or-even", seed)})
        *marks, submit = environment.expert_steps()
        wrong = [one.ref for one in environment.page.elements if one.name in ("Odd", "Even")]
        right = {int(step.action[6:-1]) for step in marks}
        (first, *others) = marks
        row = wrong.index(int(first.action[6:-1])) // 2 * 2
        other = next(ref for ref in wrong[row : row + 2] if ref not in right)
        for action in (f"click[{other}]", *(step.action for step in others), submit.action):
            _, reward, terminated, _, info = environment.step(action)
        assert terminated and not info["success"]
        assert reward == pytest.approx(1 / 3) == info["raw_reward"]


@pytest.mark.arena
@pytest.mark.parametrize(
    "action",
    [
        "click[999]", "click[-1]", "click[99999999999]", "type[1, x]", "press[Control+w]", "scroll[left]",
        "drag[1, 1000]", "drag[1, 9000, 9000]", "goto[file:///etc/passwd]", "click[javascript:alert(1)]", "",
        "</s>", "[INST]", "type[1, " + "x" * 100_000 + "]", "core.endEpisode(1)",
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_an_observation_and_leaves_the_page(environment: MiniWob, action: str) -> None:
    environment.reset(options={"instance": instance_of("click-test")})
    page = environment.page.text
    observation, reward, terminated, truncated, info = environment.step(action)
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"invalid_action": True})
    assert observation.endswith(page) and len(observation) < len(page) + 400


@pytest.mark.arena
def test_random_play_goes_through_listed_actions_without_an_exception(environment: MiniWob) -> None:
    rng = random.Random(0)
    for kind in KINDS[::4]:
        environment.reset(options={"instance": instance_of(kind, 7)})
        for _ in range(6):
            action = environment.sample_action(rng)
            assert action in environment.valid_actions()
            if environment.step(action)[2]:
                break


@pytest.mark.arena
def test_a_page_that_hangs_ends_the_episode_and_the_next_one_runs(
    environment: MiniWob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.browser, "_seconds", 3.0)
    environment.close()
    environment.reset(options={"instance": instance_of("click-test")})
    environment.browser.script("document.querySelector('button').onclick = () => { while (true); }")
    button = next(one.ref for one in environment.page.elements if one.role == "button")
    _, reward, terminated, truncated, info = environment.step(f"click[{button}]")
    assert (reward, terminated, truncated, info["success"]) == (0.0, True, False, False)
    assert "hung" in info
    environment.reset(options={"instance": instance_of("click-test")})
    assert environment.step(environment.expert_steps()[0].action)[1] == 1.0


@pytest.mark.arena
def test_an_unknown_kind_is_an_error_of_one_line(environment: MiniWob) -> None:
    wrong = MiniWobTask(kind="../../etc/passwd", seed="x")
    with pytest.raises(AgentBankError, match="no task of the kind"):
        environment.reset(options={"instance": dataclasses.replace(instance_of("click-test"), payload=wrong)})
