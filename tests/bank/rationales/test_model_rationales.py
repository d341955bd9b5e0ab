"""Thoughts by a model for fixed actions: shown only what was observed, checked, and the actions stay."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentbank_jax.agents.endpoint import Endpoint
from agentbank_jax.agents.endpoint_client import Patience
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.forcing.replies import Rejection
from agentbank_jax.bank.forcing.teacher import Teacher
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.rationales.model_rationales import ModelRationales
from agentbank_jax.bank.rationales.thought_check import check_thought
from agentbank_jax.bank.replay import Replayed, conversation, replay
from agentbank_jax.environments import registry
from agentbank_jax.environments.base import Instance
from agentbank_jax.errors import AgentBankError
from tests.agents.hostile_server import completion, hostile, raw

SPEC = registry.get("starter_reasoning")
GOOD = "I look at what is said of it."


def problem() -> tuple[Instance, ActionSequence, Replayed]:
    instance = SPEC.instance("train", 2)
    steps = instance.payload.plan
    environment = SPEC.make()
    environment.reset(options={"instance": instance})
    steps = tuple(environment.expert_steps())
    replayed = replay(SPEC, instance, [step.action for step in steps])
    assert isinstance(replayed, Replayed) and len(steps) >= 3
    return instance, ActionSequence(steps=steps, method="derived"), replayed


def written(url: str, cache: Path, sequence: ActionSequence | None = None, **options: Any) -> tuple[str, ...] | Drop:
    instance, found, replayed = problem()
    patience = Patience(timeout=2, retries=2, backoff=0.01)
    teacher = Teacher(endpoint=Endpoint.parse(f"{url}#m"), cache=cache, patience=patience)
    writer = ModelRationales(teacher=teacher, **options)
    assert pickle.loads(pickle.dumps(writer)) == writer
    return writer.write(SPEC, instance, sequence or found, replayed.observations)


def says(reply: Callable[[int], bytes]) -> Callable[[Any, dict[str, Any]], None]:
    """Answers the n-th request with `reply(n)`."""
    count = [0]

    def answer(connection: Any, body: dict[str, Any]) -> None:
        del body
        count[0] += 1
        connection.sendall(reply(count[0] - 1))

    return answer


def test_each_step_gets_a_thought_from_what_was_observed_before_it_and_a_rerun_asks_nothing(tmp_path: Path) -> None:
    _, sequence, replayed = problem()
    actions = [step.action for step in sequence.steps]
    with hostile(says(lambda number: completion(f"Thought: {GOOD} Step {number + 1}."))) as server:
        said = written(server.url, tmp_path / "calls")
        assert said == tuple(f"{GOOD} Step {number + 1}." for number in range(len(actions)))
        assert len(server.requests) == len(actions)
        for position, request in enumerate(server.requests):
            shown = "\n".join(message["content"] for message in request["messages"])
            assert actions[position] in shown and SPEC.instruction in shown
            assert all(text in shown for text in replayed.observations[: position + 1])
            assert not any(text in shown for text in replayed.observations[position + 1 :])
            assert all(f"Thought: {each}" in shown for each in said[:position])
        assert written(server.url, tmp_path / "calls") == said and len(server.requests) == len(actions)
    turns = conversation(replayed, said, actions)
    assert [turn.content.partition("\n")[2].removeprefix("Action: ") for turn in turns if turn.trained] == actions


def test_replies_that_are_no_thought_are_drawn_again_and_then_dropped(tmp_path: Path) -> None:
    bad = (
        b"",
        b"I'm sorry, I cannot do that.",
        b"I search.\nAction: search[something else]",
        b"So it is.\nFinal Answer: 7",
        b"I see.\nObservation: nothing",
        b"Ok.",
        b"long " * 200,
        " ".join(problem()[2].observations[1].split()[:8]).encode(),
    )
    for number, text in enumerate(bad):
        once = says(lambda n, text=text: completion(text.decode() if n == 0 else GOOD))  # type: ignore[misc]
        with hostile(once) as server:
            said = written(server.url, tmp_path / f"once{number}")
            assert said == (GOOD,) * len(problem()[1].steps)
            assert len(server.requests) == len(said) + 1
            assert server.requests[0]["seed"] != server.requests[1]["seed"]
        with hostile(says(lambda n, text=text: completion(text.decode()))) as server:  # type: ignore[misc]
            drop = written(server.url, tmp_path / f"always{number}", attempts=2)
            assert isinstance(drop, Drop) and drop.reason == "no_rationale" and drop.detail.startswith("step 1: ")
            assert len(server.requests) == 2


def test_a_request_that_is_refused_is_not_drawn_again(tmp_path: Path) -> None:
    with hostile(says(lambda number: raw(400, b"filtered"))) as server:
        drop = written(server.url, tmp_path / "calls")
    assert isinstance(drop, Drop) and "request_refused" in drop.detail and len(server.requests) == 1


def test_a_server_that_limits_and_breaks_off_is_asked_again(tmp_path: Path) -> None:
    troubles = (raw(429, b"slow", "Retry-After: 0.01"), raw(200, b"<html>"), b"")
    with hostile(says(lambda n: troubles[n] if n < 2 else completion(GOOD))) as server:
        assert written(server.url, tmp_path / "calls") == (GOOD,) * len(problem()[1].steps)


def test_the_sources_own_thoughts_are_kept_where_wanted(tmp_path: Path) -> None:
    steps = problem()[1].steps
    given = ActionSequence(steps=steps, method="derived", thoughts=("Mine.", *(None,) * (len(steps) - 1)))
    with hostile(says(lambda n: completion(GOOD))) as server:
        assert written(server.url, tmp_path / "a", given, keep_given=True) == ("Mine.", *(GOOD,) * (len(steps) - 1))
        assert written(server.url, tmp_path / "b", given) == (GOOD,) * len(steps)


QUESTION = "John works twice a month for 3 hours. How many hours a year?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("First the times in a year.", None),
        ("thought: First the times in a year.", None),
        ("I need 2 * 12 = 24 of them.", None),
        ("There are 24 of them.", "leak"),
        ("It will be 72 in the end.", "leak"),
        ("I was told the answer, so I multiply.", "leak"),
        ("The machine says that there are many of them.", "leak"),
        ("First.\n **Action:** 3 * 3", "unreadable"),
        ("First.\nTask: another", "unreadable"),
        ("1, 2, 3", "length"),
    ],
)
def test_a_thought_foresees_nothing(text: str, reason: str | None) -> None:
    later = ("24, and the machine says that there are many of them", "72")
    checked = check_thought(text, action="2 * 12", shown=(QUESTION,), later=later, answer="72", limits=(10, 100))
    assert (checked.reason if isinstance(checked, Rejection) else None) == reason
    if reason is None:
        assert checked == text.removeprefix("thought: ")


def test_values_out_of_range_are_refused(tmp_path: Path) -> None:
    teacher = Teacher(endpoint=Endpoint.parse("http://127.0.0.1:1/v1#m"), cache=tmp_path / "calls")
    for options in ({"attempts": 0}, {"shortest": 0}, {"shortest": 9, "longest": 8}):
        with pytest.raises(AgentBankError, match="model rationales: "):
            ModelRationales(teacher=teacher, **options)
