"""Which attempts become pairs, and where attempts come from."""

import itertools
import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.agents.act import Act
from agentbank_jax.agents.policy import OraclePolicy, Request
from agentbank_jax.agents.react import ReAct
from agentbank_jax.agents.rewoo import ReWOO
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.pair_sources import attempt_of_episode, attempt_of_trajectory
from agentbank_jax.bank.pairs import SOURCES, Attempt, Pair, PairRules, TaskPairs, make_pairs
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import ExpertStep
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory, Turn
from tests.bank.made import starter_trajectory
from tests.evaluation.made_sweep import make_record

PROTOCOL = registry.get("starter_math").protocol


def attempt(reward: float, *actions: str, **changes: Any) -> Attempt:
    """An attempt at `t/train/0`, with a Thought that no other has."""
    number = changes.pop("number", 0)
    prompt = changes.pop("prompt", "Problem.")
    turns = [Turn.system("Act."), Turn.user(prompt)]
    for action in actions or (f"act {reward}",):
        turns += [Turn.assistant(f"Thought: {number}\nAction: {action}"), Turn.user("Observation: seen")]
    values = {
        "id": f"t/train/0/{number}",
        "task": "t",
        "skill": "math",
        "instance_id": "t/train/0",
        "side": "model",
        "source": "m/react/0",
        "turns": tuple(turns[:-1]),
        "reward": reward,
        "success": reward >= 1,
        **changes,
    }
    return Attempt(**values)


def pair(*attempts: Attempt, **rules: Any) -> TaskPairs:
    return make_pairs(attempts, PairRules(**rules))["t"]


def reasons(result: TaskPairs) -> dict[str, int]:
    return dict(Counter(drop.reason for drop in result.drops))


attempts_strategy = st.lists(
    st.builds(
        lambda reward, action, side, instance, prompt, conditions, number: attempt(
            reward,
            *action,
            side=side,
            instance_id=f"t/train/{instance}",
            prompt=prompt,
            conditions=conditions if side == "model" else "",
            number=number,
        ),
        st.sampled_from([-1.0, 0.0, 0.1, 0.5, 1.0]),
        st.lists(st.sampled_from(["look", "go"]), min_size=1, max_size=3),
        st.sampled_from(SOURCES),
        st.integers(0, 2),
        st.sampled_from(["Problem.", "Another."]),
        st.sampled_from(["one", "two"]),
        st.integers(0, 3),
    ),
    max_size=14,
)
rules_strategy = st.builds(
    PairRules,
    margin=st.sampled_from([None, 0.1, 0.5, 1.0]),
    pairs_per_problem=st.integers(1, 4),
    sources=st.sampled_from([("model",), ("expert",), ("model", "expert")]),
)


@given(attempts_strategy, rules_strategy, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_pairs_keep_their_promises_whatever_was_played(
    attempts: list[Attempt], rules: PairRules, chance: random.Random
) -> None:
    found = make_pairs(attempts, rules)
    pairs = [one for result in found.values() for one in result.pairs]
    for one in pairs:
        better, worse = one.better, one.worse
        assert better.prompt == worse.prompt and better.instance_id == worse.instance_id
        assert better.reward > worse.reward and better.actions != worse.actions
        assert worse.side == "model" and better.side in rules.sources
        assert better.conditions in ("", worse.conditions)
        if rules.margin is None:
            assert better.success and not worse.success
        else:
            assert one.margin >= rules.margin - 1e-9
        row = one.row()
        assert row["chosen"] != row["rejected"] and row["prompt"][-1]["role"] == "user"
    assert len({one.id for one in pairs}) == len(pairs)
    texts = [(one.better.turns, one.worse.turns, one.worse.conditions, one.worse.instance_id) for one in pairs]
    assert len({(*text, one.margin) for text, one in zip(texts, pairs, strict=True)}) == len(pairs)
    # Each attempt is in pairs, or left out once.
    in_pairs = {id(side) for one in pairs for side in (one.better, one.worse)}
    assert len(in_pairs) + sum(len(result.drops) for result in found.values()) == len(attempts)
    problems = Counter((one.worse.instance_id, one.worse.prompt, one.worse.conditions) for one in pairs)
    assert max(problems.values(), default=0) <= rules.pairs_per_problem
    assert sum(result.paired for result in found.values()) == len(problems)
    others = list(attempts)
    chance.shuffle(others)
    again = make_pairs(others, rules)
    assert [one.row() for result in again.values() for one in result.pairs] == [one.row() for one in pairs]
    assert {task: reasons(result) for task, result in again.items()} == {
        task: reasons(result) for task, result in found.items()
    }


@given(attempts_strategy, rules_strategy)
@settings(max_examples=100, deadline=None)
def test_a_problem_has_a_pair_exactly_where_one_is_allowed_and_it_is_the_widest(
    attempts: list[Attempt], rules: PairRules
) -> None:
    rules = replace(rules, pairs_per_problem=1)
    found: dict[tuple[Any, ...], Pair] = {
        (one.worse.instance_id, one.worse.prompt, one.worse.conditions): one
        for result in make_pairs(attempts, rules).values()
        for one in result.pairs
    }
    allowed: dict[tuple[Any, ...], list[float]] = {}
    for high, low in itertools.product(attempts, attempts):
        if low.side != "model" or (high.instance_id, high.prompt) != (low.instance_id, low.prompt):
            continue
        if high.side == "model" and high.conditions != low.conditions:
            continue
        key = (low.instance_id, low.prompt, low.conditions)
        succeeded = any(
            one.success and one.side == "model" and (one.instance_id, one.prompt, one.conditions) == key
            for one in attempts
        )
        has_expert = any(one.side == "expert" and (one.instance_id, one.prompt) == key[:2] for one in attempts)
        takes_expert = "expert" in rules.sources and has_expert and not ("model" in rules.sources and succeeded)
        if (high.side == "expert") != takes_expert or high.side not in rules.sources:
            continue
        if rules.is_wide(high, low) and high.actions != low.actions:
            allowed.setdefault(key, []).append(high.reward - low.reward)
    assert {key: one.margin for key, one in found.items()} == {key: max(each) for key, each in allowed.items()}


def test_the_best_goes_with_the_worst_and_of_equal_ones_the_shortest_then_the_first_by_id() -> None:
    best = [attempt(1, "a", "b", number=1), attempt(1, "b", number=3), attempt(1, "a", number=2)]
    worst = [attempt(0.5, "c", number=4), attempt(0, "d", "e", number=5), attempt(0, "f", number=7)]
    (only,) = pair(*best, *worst).pairs
    assert (only.better.id, only.worse.id, only.margin) == ("t/train/0/2", "t/train/0/7", 1.0)


def test_several_pairs_of_a_problem_use_each_attempt_before_one_is_used_again() -> None:
    attempts = [
        attempt(1, "a", number=1),
        attempt(1, "b", number=2),
        attempt(0, "c", number=3),
        attempt(0, "d", number=4),
    ]
    ids = [(one.id, one.better.id[-1], one.worse.id[-1]) for one in pair(*attempts, pairs_per_problem=3).pairs]
    assert ids == [("t/train/0/0", "1", "3"), ("t/train/0/1", "2", "4"), ("t/train/0/2", "1", "4")]


def test_an_expert_stands_in_only_where_the_model_never_succeeded() -> None:
    expert = attempt(1, "right", side="expert", source="expert", number=9)
    lost, won = attempt(0, "wrong"), attempt(1, "mine", number=1)
    assert pair(lost, expert).pairs[0].better is expert
    assert pair(lost, won, expert).pairs[0].better is won
    assert pair(lost, won, expert, sources=("expert",)).pairs[0].better is expert
    without = pair(lost, expert, sources=("model",))
    assert not without.pairs and reasons(without) == {"no_success": 1, "expert_unused": 1}


def test_what_was_said_twice_is_paired_once() -> None:
    experts = [attempt(1, "right", side="expert", source="expert", number=9, id=name) for name in ("a", "b")]
    result = pair(attempt(0, "x"), *experts, attempt(0, "x", id="z"), pairs_per_problem=4)
    assert len(result.pairs) == 1 and reasons(result) == {"duplicate": 2}


def test_a_margin_also_counts_partial_rewards_and_is_met_by_exactly_its_size() -> None:
    half, little = attempt(1.0, "a", success=False), attempt(0.9, "b", number=1)
    assert not pair(half, little).pairs
    assert pair(half, little, margin=0.1).pairs[0].better is half  # 1.0 - 0.9 < 0.1 in floating point
    assert reasons(pair(half, little, margin=0.2)) == {"no_success": 2}
    assert reasons(pair(attempt(1, "a"), attempt(0.5, "b", number=1), margin=0.6)) == {"small_margin": 2}


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([attempt(0), attempt(0, "x", number=1)], {"no_success": 2}),
        ([attempt(1), attempt(1, "x", number=1)], {"no_failure": 2}),
        ([attempt(1, "x"), attempt(0, "x", number=1)], {"equal_actions": 2}),
        ([attempt(0), attempt(0)], {"no_success": 1, "duplicate": 1}),
        ([attempt(0), attempt(1, prompt="Other.", number=1)], {"other_prompt": 2}),
        ([attempt(0), attempt(1, prompt="Other.", side="expert", number=1)], {"other_prompt": 2}),
        ([attempt(0, conditions="a"), attempt(1, conditions="b", number=1)], {"other_conditions": 2}),
        ([attempt(1, side="expert")], {"not_played": 1}),
        ([attempt(1), attempt(0), attempt(0, "y", number=1)], {"not_chosen": 1}),
    ],
)  # fmt: skip
def test_what_is_in_no_pair_has_a_reason(attempts: list[Attempt], expected: dict[str, int]) -> None:
    assert reasons(pair(*attempts)) == expected


def test_a_success_that_earned_less_than_a_failure_is_not_the_better_one() -> None:
    # Two sweeps had different thresholds.
    low = attempt(0.5, "a", success=True)
    assert not pair(low, attempt(0.8, "b", success=False, number=1)).pairs
    assert pair(low, attempt(0.4, "b", success=False, number=1)).pairs


def test_problems_are_in_the_order_of_their_numbers() -> None:
    attempts = [attempt(reward, instance_id=f"t/train/{n}", number=n) for n in (10, 9, 2) for reward in (0, 1)]
    assert [one.id for one in pair(*attempts).pairs] == ["t/train/2/0", "t/train/9/0", "t/train/10/0"]


def test_a_row_has_the_columns_of_trls_preference_layout_and_where_it_comes_from() -> None:
    row = pair(attempt(1, "a", "b"), attempt(0, "c", seed=4, number=1, source="m/react/4")).pairs[0].row()
    assert list(row) == ["id", "prompt", "chosen", "rejected", "task", "skill", "chosen_reward", "rejected_reward",
                         "chosen_source", "rejected_source", "margin", "seed"]  # fmt: skip
    assert row["prompt"] == [{"role": "system", "content": "Act."}, {"role": "user", "content": "Problem."}]
    assert [message["role"] for message in row["chosen"]] == ["assistant", "user", "assistant"]
    assert row["rejected"] == [{"role": "assistant", "content": "Thought: 1\nAction: c"}]
    assert [row[name] for name in ("id", "margin", "seed", "rejected_source")] == ["t/train/0/0", 1.0, 4, "m/react/4"]


def test_an_id_begins_with_the_task_even_where_the_instances_does_not() -> None:
    (only,) = pair(attempt(1, instance_id="p1"), attempt(0, instance_id="p1")).pairs
    assert only.id == "t/p1/0"


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ({"margin": 0.0}, "--margin=0.0: expected"),
        ({"margin": float("nan")}, "--margin=nan: expected"),
        ({"margin": 2.5}, "--margin=2.5: expected"),
        ({"pairs_per_problem": 0}, "--pairs_per_problem=0: expected at least 1"),
        ({"sources": ("expret",)}, "Did you mean 'expert'"),
        ({"sources": ()}, "--sources is empty"),
    ],
)
def test_rules_out_of_range_are_refused(rules: dict[str, Any], error: str) -> None:
    with pytest.raises(AgentBankError, match=error):
        PairRules(**rules)


def episode(**changes: Any) -> Any:
    return make_record("starter_math", 3, False, protocol=PROTOCOL, split="train", **changes)


def test_the_prompt_of_an_episode_is_what_its_agent_says_first() -> None:
    instruction = registry.get("starter_math").instruction
    for name, agent in (("act", Act()), ("rewoo", ReWOO())):
        found = attempt_of_episode(episode(agent=name))
        assert isinstance(found, Attempt)
        opening = next(agent.play(instruction, "Problem 3."))
        assert found.prompt == opening.turns  # type: ignore[union-attr]
        assert found.source == f"model/{name}/0" and found.instance_id == "starter_math/train/3"
    assert instruction in found.prompt[0].content and found.prompt[0].content != instruction


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"terminate_reason": "environment_error", "error": "gone"}, "environment_error"),
        ({"terminate_reason": "no_reply"}, "no_reply"),
        ({"conversations": ()}, "no_conversation"),
        ({"instance_id": None}, "no_conversation"),
        ({"protocol": "calculator/0"}, "other_protocol"),
        # The only reply was cut off where the context ended.
        ({"terminate_reason": "context_exhausted", "final_observation": None}, "no_conversation"),
    ],
)
def test_an_episode_that_is_not_the_models_own_end_is_left_out(changes: dict[str, Any], reason: str) -> None:
    found = attempt_of_episode(SimpleNamespace(**{**vars(episode()), **changes}))
    assert isinstance(found, Drop) and found.reason == reason


@pytest.mark.parametrize("name", ["oracle", "recorded-oracle-react"])
def test_what_the_oracle_said_is_left_out_under_every_name(name: str) -> None:
    step = ExpertStep(action="1 + 1", intent="add")
    request = Request(conversation="c", turns=(Turn.user("Problem 3."),), agent=ReAct(), expert_steps=(step,))
    said = (("human", "Problem 3."), ("gpt", OraclePolicy().reply(request).text))
    messages = tuple({"from": speaker, "value": value} for speaker, value in said)
    found = attempt_of_episode(episode(model=name, conversations=messages))
    assert found == Drop(id=found.id, reason="no_thoughts", detail=name)


def test_a_reply_that_was_cut_off_where_the_context_ended_is_no_part_of_an_attempt() -> None:
    said = [("human", "Problem 3."), ("gpt", "Action: 1 + 1"), ("human", "Observation: 2"), ("gpt", "Thought: I se")]
    messages = tuple({"from": speaker, "value": value} for speaker, value in said)
    cut = episode(conversations=messages, terminate_reason="context_exhausted", final_observation=None)
    found = attempt_of_episode(cut)
    assert isinstance(found, Attempt) and found.completion == (Turn.assistant("Action: 1 + 1"),)
    # Here it was the observation that had no room: the last reply is whole.
    whole = attempt_of_episode(replace(cut, final_observation="2"))
    assert isinstance(whole, Attempt) and whole.completion[-1].content == "Thought: I se"


def test_a_banks_trajectory_has_the_prompt_of_an_episode_at_the_same_problem() -> None:
    trajectory = starter_trajectory("starter_math", 3)
    assert isinstance(trajectory, Trajectory)
    expert = attempt_of_trajectory(trajectory)
    played = (
        *({"from": "human", "value": turn.content} for turn in trajectory.turns[:1]),
        {"from": "gpt", "value": "?"},
    )
    own = attempt_of_episode(episode(conversations=played))
    assert isinstance(expert, Attempt) and isinstance(own, Attempt)
    assert expert.prompt == own.prompt and expert.instance_id == own.instance_id
    (only,) = make_pairs([own, expert], PairRules())["starter_math"].pairs
    assert only.better is expert and only.row()["chosen_source"] == "expert"


@pytest.mark.parametrize(
    ("reward", "reason"),
    [(None, "no_reward"), (True, "no_reward"), (0.5, "expert_failed"), (float("nan"), "expert_failed")],
)
def test_an_expert_that_did_not_earn_the_reward_is_none(reward: Any, reason: str) -> None:
    turns = (Turn.user("Problem 3."), Turn.assistant("Final Answer: 1"))
    found = attempt_of_trajectory(Trajectory(id="x", task="starter_math", turns=turns, metadata={"reward": reward}))
    assert isinstance(found, Drop) and found.reason == reason
