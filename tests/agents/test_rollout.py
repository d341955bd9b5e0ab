import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.agents.episode import Episode, Outcome
from agentbank_jax.agents.policy import ImmediatePolicy, OraclePolicy, Policy, RandomPolicy, Reply, Request
from agentbank_jax.agents.rollout import roll_out
from agentbank_jax.environments.base import TextEnvironment
from tests.agents.counting import BrokenEnvironment, CountingEnvironment, counting_instance, counting_spec


def episode(index: int, *, make: Callable[[], TextEnvironment] = CountingEnvironment, max_steps: int = 10) -> Episode:
    return Episode(
        id=f"counting/test/{index}",
        spec=counting_spec(make),
        instance=lambda: counting_instance(index),
        max_steps=max_steps,
    )


class ScriptedPolicy(ImmediatePolicy):
    """Says the same texts in every episode, then repeats the last."""

    def __init__(self, *texts: str, capacity: int = 4) -> None:
        super().__init__(name="scripted", capacity=capacity)
        self._texts = texts
        self.batches: list[int] = []
        self.released: list[str] = []

    def collect(self) -> list[tuple[str, Reply]]:
        self.batches.append(len(self._waiting))
        return super().collect()

    def reply(self, request: Request) -> Reply:
        said = sum(turn.role == "assistant" for turn in request.turns)
        return Reply(text=self._texts[min(said, len(self._texts) - 1)], tokens=5)

    def release(self, conversation: str) -> None:
        self.released.append(conversation)


class DawdlingPolicy(OraclePolicy):
    """Has one reply ready at a time, the last that was asked for."""

    def collect(self) -> list[tuple[str, Reply]]:
        request = self._waiting.pop()
        return [(request.conversation, self.reply(request))]


def play(policy: Policy, *episodes: Episode, max_unparseable: int = 3) -> dict[str, Outcome]:
    return {outcome.episode.id: outcome for outcome in roll_out(episodes, policy, max_unparseable=max_unparseable)}


def one(policy: Policy, **arguments: object) -> Outcome:
    (outcome,) = play(policy, episode(0, **arguments)).values()  # type: ignore[arg-type]
    return outcome


def test_the_oracle_succeeds_everywhere_and_the_conversation_is_whole() -> None:
    outcomes = play(OraclePolicy(capacity=3), *(episode(index) for index in range(10)))
    assert len(outcomes) == 10
    for outcome in outcomes.values():
        assert outcome.success and outcome.terminate_reason == "success" and outcome.reward == 1.0
        assert outcome.invalid_actions == 0 and outcome.final_observation == "Right."
        assert [turn.role for turn in outcome.turns] == ["system"] + ["user", "assistant"] * outcome.steps
        assert all(turn.content.startswith("Observation: ") for turn in outcome.turns[3::2])


@settings(max_examples=25, deadline=None)
@given(capacity=st.integers(1, 9), order=st.permutations(range(7)))
def test_an_episode_does_not_depend_on_its_neighbours(capacity: int, order: list[int]) -> None:
    alone = {index: one_random(index) for index in order}
    together = play(RandomPolicy(capacity=capacity), *(episode(index) for index in order))
    for index in order:
        outcome = together[f"counting/test/{index}"]
        assert (outcome.turns, outcome.reward, outcome.terminate_reason) == alone[index]


def one_random(index: int) -> tuple[object, ...]:
    (outcome,) = play(RandomPolicy(capacity=1), episode(index)).values()
    return outcome.turns, outcome.reward, outcome.terminate_reason


def test_places_are_refilled_at_once_and_capacity_is_kept() -> None:
    policy = ScriptedPolicy("Thought: t\nFinal Answer: 0", capacity=3)
    play(policy, *(episode(index) for index in range(7)))
    assert policy.batches == [3, 3, 1]
    assert sorted(policy.released) == [f"counting/test/{index}" for index in range(7)]


def test_nobody_waits_for_a_reply_that_takes_longer() -> None:
    outcomes = play(DawdlingPolicy(capacity=3), *(episode(index) for index in range(7)))
    assert len(outcomes) == 7 and all(outcome.success for outcome in outcomes.values())


def test_a_wrong_answer_is_finished_without_success() -> None:
    outcome = one(ScriptedPolicy("Thought: t\nFinal Answer: 9"))
    assert (outcome.terminate_reason, outcome.success, outcome.reward) == ("finished", False, 0.0)


def test_replies_without_an_action_are_told_so_and_end_the_episode_after_the_limit() -> None:
    outcome = one(ScriptedPolicy("blah"))
    assert outcome.terminate_reason == "unparseable"
    assert (outcome.steps, outcome.invalid_actions, outcome.tokens) == (3, 3, 15)
    assert "Action:" in outcome.turns[3].content and outcome.turns[-1].role == "assistant"


def test_a_parseable_reply_starts_the_count_of_unparseable_ones_anew() -> None:
    texts = ("blah", "Action: add 1", "blah", "Action: add 1", "Final Answer: 2")
    outcome = one(ScriptedPolicy(*texts))
    policy_limit_two = play(ScriptedPolicy(*texts), episode(0), max_unparseable=2)["counting/test/0"]
    assert outcome.success and policy_limit_two.success and outcome.invalid_actions == 2


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (("Action: add 1", "Action: dance", "blah", "Final Answer: 2"), 2),
        (("Action: add 1", "blah", "Action: dance", "Final Answer: 2"), 2),
        (("Action: add 2", "Final Answer: 2"), None),
    ],
)
def test_the_first_reply_that_was_refused_or_held_no_action_is_known(texts: tuple[str, ...], first: int | None) -> None:
    assert one(ScriptedPolicy(*texts)).first_invalid == first


def test_actions_that_the_environment_refuses_count_as_invalid_until_the_step_limit() -> None:
    outcome = one(ScriptedPolicy("Action: dance"), max_steps=4)
    assert (outcome.terminate_reason, outcome.steps, outcome.invalid_actions) == ("max_steps", 4, 4)
    assert outcome.turns[-1].role == "assistant" and outcome.final_observation == "Unknown action."


@pytest.mark.parametrize("where", ["reset", "step", "expert_steps"])
def test_a_broken_environment_is_recorded_and_the_others_go_on(where: str) -> None:
    outcomes = play(OraclePolicy(), episode(0, make=lambda: BrokenEnvironment(where)), episode(1))
    broken, whole = outcomes["counting/test/0"], outcomes["counting/test/1"]
    assert broken.terminate_reason == "environment_error" and not broken.success
    assert broken.error is not None and broken.error.startswith("RuntimeError: ")
    assert whole.success


def test_a_random_policy_draws_only_from_the_valid_actions() -> None:
    environment = CountingEnvironment()
    environment.reset(options={"instance": counting_instance(0)})
    rng = random.Random(0)
    assert {environment.sample_action(rng) for _ in range(50)} == set(environment.valid_actions())


class FullContextPolicy(ScriptedPolicy):
    def reply(self, request: Request) -> Reply:
        return Reply(text="", ended="context_exhausted")


def test_a_full_context_ends_the_episode() -> None:
    outcome = one(FullContextPolicy("unused"))
    assert (outcome.terminate_reason, outcome.steps, outcome.success) == ("context_exhausted", 0, False)
