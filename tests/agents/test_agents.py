"""Act, Reflexion and ReWOO: what each asks for, tells and counts, over scripted policies and real environments."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.agents.act import Act
from agentbank_jax.agents.agent import Agent
from agentbank_jax.agents.episode import TERMINATE_REASONS, Episode, Outcome
from agentbank_jax.agents.policy import ImmediatePolicy, OraclePolicy, RandomPolicy, Reply, Request
from agentbank_jax.agents.react import ParsedReply, ReAct
from agentbank_jax.agents.reflexion import Reflexion
from agentbank_jax.agents.registry import AGENTS, get_agent
from agentbank_jax.agents.rewoo import ReWOO
from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError
from tests.agents.counting import CountingEnvironment, counting_instance, counting_spec
from tests.agents.playing import Scripted, episodes_of, play_all, play_one

FAMILIES = [name for name in registry.names() if name.startswith("starter_")]
FULL = Reply(text="", ended="context_exhausted")


def counting(agent: Agent, *, target: int = 2, max_steps: int = 6, make: Callable[[], Any] = CountingEnvironment):
    """A game of reaching `target`."""
    return Episode(
        id="counting/test/0/0",
        spec=counting_spec(make),
        instance=lambda: counting_instance(target - 2),
        agent=agent,
        max_steps=max_steps,
    )


def contents(request: Request, role: str = "user") -> list[str]:
    return [turn.content for turn in request.turns if turn.role == role]


# ---- each agent with each policy -------------------------------------------------------------------------------------
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_oracle_succeeds_in_every_family_however_it_is_driven(agent: str, family: str) -> None:
    spec = registry.get(family)
    if reason := spec.available():
        pytest.skip(reason)
    for outcome in play_all(episodes_of(spec, get_agent(agent), 2), OraclePolicy()):
        assert outcome.success and outcome.terminate_reason == "success", outcome.turns
        assert outcome.invalid_actions == 0 and not outcome.earlier


def test_the_oracle_as_rewoo_plans_all_but_its_last_step_and_is_asked_twice() -> None:
    (episode,) = episodes_of(registry.get("starter_math"), ReWOO(), 1)
    outcome = play_one(episode, OraclePolicy())
    plan, solution = (turn.content for turn in outcome.turns if turn.role == "assistant")
    assert plan.count("#E") == plan.count("Plan: ") == outcome.steps - 1 > 1
    assert "Final Answer:" in solution


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("family", ["starter_math", "starter_web"])
def test_random_play_ends_for_a_known_reason_and_is_the_same_again(agent: str, family: str) -> None:
    def play() -> list[tuple[Any, ...]]:
        outcomes = play_all(episodes_of(registry.get(family), get_agent(agent, trials=2), 4), RandomPolicy())
        return sorted((one.episode.id, one.terminate_reason, one.reward, one.steps, one.turns) for one in outcomes)

    first = play()
    assert first == play() and {reason for _, reason, *_ in first} <= set(TERMINATE_REASONS)


class Blabbing(ImmediatePolicy):
    """Says nothing that any agent could read."""

    def reply(self, request: Request) -> Reply:
        return Reply(text="I would rather not.", tokens=1)


@pytest.mark.parametrize("agent", AGENTS)
def test_a_policy_that_never_acts_is_unparseable_in_every_trial(agent: str) -> None:
    outcome = play_one(counting(get_agent(agent, trials=2)), Blabbing(name="blabbing"))
    trials = 2 if agent == "reflexion" else 1
    assert outcome.terminate_reason == "unparseable" and len(outcome.earlier) == trials - 1
    assert outcome.steps == outcome.invalid_actions == 3 * trials


@pytest.mark.parametrize("agent", AGENTS)
def test_a_context_that_is_full_at_once_ends_the_episode(agent: str) -> None:
    outcome = play_one(counting(get_agent(agent)), Scripted(FULL))
    assert (outcome.terminate_reason, outcome.steps, outcome.success) == ("context_exhausted", 0, False)


def test_agents_differ_in_their_facts_and_an_unknown_one_is_named() -> None:
    agents = [*(get_agent(name) for name in AGENTS), Reflexion(trials=2), Reflexion(memory=1)]
    assert len({agent.facts for agent in agents}) == len(agents)
    assert [agent.name for agent in agents[:4]] == list(AGENTS)
    with pytest.raises(AgentBankError, match="Did you mean 'rewoo'"):
        get_agent("rewo")


# ---- Act -------------------------------------------------------------------------------------------------------------
def test_act_asks_for_no_thought_and_passes_over_one_that_is_written() -> None:
    policy = Scripted("Action: add 2", "Thought: It is 2.\nFinal Answer: 2")
    outcome = play_one(counting(Act()), policy)
    assert outcome.success and outcome.steps == 2
    assert contents(policy.asked[0], "system") == ["Count. Write no Thought, but the Action or the Final Answer alone."]
    assert contents(policy.asked[1]) == ["Reach 2.", "Observation: The sum is 2."]


def test_acts_reminder_names_no_thought() -> None:
    policy = Scripted("add 2", "Action: add 2", "Final Answer: 2")
    outcome = play_one(counting(Act()), policy)
    assert outcome.success and outcome.invalid_actions == 1
    assert (
        contents(policy.asked[1])[-1] == "Observation: Invalid format. Reply with 'Action: ...' or 'Final Answer: ...'."
    )


# ---- Reflexion -------------------------------------------------------------------------------------------------------
WRONG = ("Thought: t\nAction: add 1", "Thought: t\nFinal Answer: 1")
RIGHT = ("Thought: t\nAction: add 2", "Thought: t\nFinal Answer: 2")


def test_a_second_trial_sees_what_was_noted_and_its_success_counts() -> None:
    policy = Scripted(*WRONG, "  I stopped too early.\n", *RIGHT)
    outcome = play_one(counting(Reflexion()), policy)
    assert (outcome.terminate_reason, outcome.success, outcome.reward) == ("success", True, 1.0)
    assert not policy.left and outcome.steps == 4 and outcome.tokens == 50 and outcome.prompt_tokens == 500
    reflect, second = policy.asked[2:4]
    assert [request.purpose for request in policy.asked] == ["act", "act", "reflect", "act", "act"]
    assert contents(reflect)[-1].startswith("Observation: Wrong.\nYou did not reach the goal.")
    assert contents(second) == [
        "You have tried this before, without success. What you noted after each attempt:\n"
        "- I stopped too early.\n\nReach 2."
    ]
    assert [request.trial for request in policy.asked] == [1, 1, 1, 2, 2]
    assert policy.asked[0].conversation != second.conversation and second.episode == "counting/test/0/0"
    # The last conversation is that of the trial that counts; the first is kept with the reflection on it.
    assert [turn.content for turn in outcome.turns if turn.role == "assistant"] == list(RIGHT)
    (earlier,) = outcome.earlier
    assert [turn.content for turn in earlier if turn.role == "assistant"] == [*WRONG, "  I stopped too early.\n"]


def test_only_the_newest_reflections_are_kept_in_mind_and_the_last_trial_is_not_reflected_on() -> None:
    policy = Scripted(*WRONG, "one", *WRONG, "two", *WRONG, "three", *WRONG)
    outcome = play_one(counting(Reflexion(trials=4, memory=2)), policy)
    assert (outcome.terminate_reason, outcome.success) == ("finished", False) and not policy.left
    openings = [contents(request)[0] for request in policy.asked if len(contents(request)) == 1]
    noted = [[line[2:] for line in opening.split("\n") if line.startswith("- ")] for opening in openings]
    assert noted == [[], ["one"], ["one", "two"], ["two", "three"]]
    assert len(outcome.earlier) == 3 and outcome.steps == 8


def test_a_success_in_the_first_trial_is_the_only_one() -> None:
    outcome = play_one(counting(Reflexion()), Scripted(*RIGHT))
    assert outcome.success and not outcome.earlier


def test_the_environment_begins_the_same_problem_anew() -> None:
    (episode,) = episodes_of(registry.get("starter_embodied"), Reflexion(trials=2), 1)
    expert = OraclePolicy()

    class GivesUpFirst(Scripted):
        wants = expert.wants

        def reply(self, request: Request) -> Reply:
            self.asked.append(request)
            if request.trial == 2:
                return expert.reply(request)
            if request.purpose == "reflect":
                return Reply(text="I gave up.")
            return Reply(text=f"Action: {request.expert_steps[0].action}" if request.expert_steps else "")

    policy = GivesUpFirst()
    outcome = play_one(episode, policy)
    assert outcome.success and len(outcome.earlier) == 1
    first = next(turn.content for turn in outcome.earlier[0] if turn.role == "user")
    second = next(turn.content for turn in outcome.turns if turn.role == "user")
    assert second.endswith(f"\n\n{first}")


def test_the_step_limit_is_that_of_one_trial() -> None:
    policy = Scripted(*["Action: dance"] * 3, "again", *["Action: dance"] * 3)
    outcome = play_one(counting(Reflexion(trials=2), max_steps=3), policy)
    assert (outcome.terminate_reason, outcome.steps, outcome.invalid_actions) == ("max_steps", 6, 6)
    assert contents(policy.asked[3])[-1].startswith("Observation: Unknown action.\nYou did not")


def test_an_unparseable_trial_is_reflected_on_and_the_count_begins_anew() -> None:
    policy = Scripted("?", "?", "I wrote no action.", "?", *RIGHT)
    outcome = play_one(counting(Reflexion()), policy, max_unparseable=2)
    assert outcome.success and outcome.invalid_actions == 3 and outcome.steps == 5
    assert contents(policy.asked[2])[-1].startswith("Observation: Invalid format.")


def test_a_context_that_is_full_within_a_trial_ends_the_episode_and_keeps_what_was_done() -> None:
    outcome = play_one(counting(Reflexion()), Scripted(*WRONG, "note", "Action: add 1", FULL))
    assert (outcome.terminate_reason, outcome.success, outcome.steps) == ("context_exhausted", False, 3)
    assert outcome.turns[-1].content == "Action: add 1" and outcome.final_observation == "The sum is 1."
    assert len(outcome.earlier) == 1


def test_where_there_is_no_room_to_reflect_the_trial_is_the_episode() -> None:
    outcome = play_one(counting(Reflexion()), Scripted(*WRONG, FULL))
    assert (outcome.terminate_reason, outcome.reward, outcome.steps) == ("finished", 0.0, 2)
    assert outcome.final_observation == "Wrong." and outcome.turns[-1].content == WRONG[-1] and not outcome.earlier


class CrashingOnce(CountingEnvironment):
    """Breaks in its second problem, the first time."""

    resets = 0
    crashed = False

    def reset(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        CrashingOnce.resets += 1
        return super().reset(**arguments)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if CrashingOnce.resets == 2 and not CrashingOnce.crashed:
            CrashingOnce.crashed = True
            raise RuntimeError("the engine broke")
        return super().step(action)


def _without_time(outcome: Outcome) -> tuple[Any, ...]:
    names = ("turns", "earlier", "reward", "success", "steps", "invalid_actions", "terminate_reason", "tokens", "error")
    return tuple(getattr(outcome, name) for name in names)


def test_a_crash_in_the_second_trial_begins_the_episode_anew_with_the_same_outcome() -> None:
    texts = (*WRONG, "note", *RIGHT)
    whole = play_one(counting(Reflexion()), Scripted(*texts))
    CrashingOnce.resets, CrashingOnce.crashed = 0, False
    policy = Scripted(*texts[:4], *texts)  # what was said before the crash, and all of it
    outcome = play_one(counting(Reflexion(), make=CrashingOnce), policy)
    assert CrashingOnce.crashed and not policy.left
    assert _without_time(outcome) == _without_time(whole) and outcome.success


# ---- ReWOO -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("reply", "plan"),
    [
        ("Plan: a\n#E1 = look\nPlan: b\n#E2 = go to #E1", [("1", "look"), ("2", "go to #E1")]),
        ("  #E3: look  \n#E3 = again", [("3", "look"), ("3", "again")]),
        ("#E1 = ```sql\nSELECT 1\n#E2 = x\nPlan: y\n```\nPlan: z\n#E2 = b", [
            ("1", "```sql\nSELECT 1\n#E2 = x\nPlan: y\n```"), ("2", "b")]),
        ("#E1 = first\nsecond\n\nPlan: p\nnot an action", [("1", "first\nsecond")]),
        ("#E1 = Final Answer: 3", [("1", "Final Answer: 3")]),
        ("#E1 = a\nFinal Answer: 3\nmore", [("1", "a")]),
        ("Plan: only words", []),
        ("#E1 =\n#E2 = \n", []),
        ("", []),
        ("#E1 = ```python\nx = 1", [("1", "```python\nx = 1")]),
    ],
)  # fmt: skip
def test_a_plan_is_read_as_numbered_actions(reply: str, plan: list[tuple[str, str]]) -> None:
    assert ReWOO().parse_plan(reply) == plan


@given(st.text() | st.lists(st.sampled_from(["#E1 =", " x", "```", "\n", "Plan:", "Final Answer:", "\r"])).map("".join))
def test_reading_a_plan_never_raises_and_no_action_is_empty(reply: str) -> None:
    assert all(action.strip() and number.isdigit() for number, action in ReWOO().parse_plan(reply))
    for agent in (Act(), Reflexion(), ReWOO()):
        agent.parse(reply)


_word = st.text(st.characters(codec="utf-8", exclude_characters="`\r\n"), min_size=1).map(str.strip).filter(bool)
_code = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="`\r\n"))).map(
    lambda lines: "\n".join(["```python", *lines, "```"])
)


@given(st.lists(st.tuples(_word, _word | _code | _word.map(lambda text: f"Final Answer: {text}")), max_size=5))
def test_a_plan_that_is_rendered_is_read_as_it_was(steps: list[tuple[str, str]]) -> None:
    plan = ReWOO().parse_plan(ReWOO().render_plan(tuple(steps)))
    assert plan == [(str(number), action) for number, (_, action) in enumerate(steps, start=1)]


@given(thought=_word.filter(lambda text: ":" not in text), action=_code)
@pytest.mark.parametrize("agent", [ReAct(), Act(), Reflexion(), ReWOO()], ids=lambda agent: agent.name)
def test_what_any_agent_renders_it_reads_as_it_was(agent: ReAct, thought: str, action: str) -> None:
    said = agent.render(thought, action)
    assert agent.parse(said) == ParsedReply(thought="" if agent.name == "act" else thought, action=action)


def test_a_plan_is_worked_through_with_earlier_results_in_place_and_then_solved() -> None:
    spec = registry.get("starter_math")
    (episode,) = episodes_of(spec, ReWOO(), 1)
    plan = "Plan: a\n#E1 = 2 * 3\nPlan: b\n#E2 = #E1 + #E1 + #E9\nPlan: c\n#E3 = #E1 + 4"
    policy = Scripted(plan, "Final Answer: 10")
    outcome = play_one(episode, policy)
    solve = contents(policy.asked[1])[-1].split("\n")
    assert solve[0] == "Observation: #E1 = 6" and "#E3 = 10" in solve
    assert outcome.steps == 4 and outcome.invalid_actions == 1, "what is named and not there stays as it is"
    assert solve[-1] == "End the task now, with 'Final Answer: ...' or the last 'Action: ...'."
    assert "First plan the whole task" in contents(policy.asked[0], "system")[0]
    assert [request.purpose for request in policy.asked] == ["plan", "act"] and outcome.tokens == 20


def test_a_reply_without_a_plan_is_told_so_and_may_be_followed_by_one() -> None:
    policy = Scripted("Action: add 2", "#E1 = add 2", "Final Answer: 2")
    outcome = play_one(counting(ReWOO()), policy)
    assert outcome.success and (outcome.steps, outcome.invalid_actions) == (3, 1)
    assert contents(policy.asked[1])[-1].startswith("Observation: Invalid format. Write for each action a line 'Plan")


def test_an_environment_that_ends_within_the_plan_ends_the_episode() -> None:
    policy = Scripted("#E1 = add 2\n#E2 = Final Answer: 2\n#E3 = add 1")
    outcome = play_one(counting(ReWOO()), policy)
    assert outcome.success and outcome.steps == 2 and outcome.final_observation == "Right."
    long = play_one(counting(ReWOO(), max_steps=2), Scripted("#E1 = add 1\n#E2 = add 1\n#E3 = add 1"))
    assert (long.terminate_reason, long.steps) == ("max_steps", 2)


def test_a_solution_that_does_not_end_the_task_goes_on_step_by_step() -> None:
    policy = Scripted("#E1 = add 1", "Action: add 1", "Final Answer: 2")
    outcome = play_one(counting(ReWOO()), policy)
    assert outcome.success and outcome.steps == 3
    assert contents(policy.asked[2])[-1] == "Observation: The sum is 2."
    endless = play_one(counting(ReWOO(), max_steps=4), Scripted("#E1 = add 1", *["Action: dance"] * 3))
    assert (endless.terminate_reason, endless.steps) == ("max_steps", 4)
