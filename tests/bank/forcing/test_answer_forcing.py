"""Answer forcing of one instance: what is asked, counted, rejected and refused."""

import json
import time
from pathlib import Path

import pytest

from agentbank_jax.agents.endpoint import Endpoint, EndpointError, Unanswered
from agentbank_jax.agents.endpoint_client import Patience
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.forcing.answer_forcing import AnswerForcing
from agentbank_jax.bank.forcing.replies import REACT
from agentbank_jax.bank.forcing.teacher import Teacher
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError
from agentbank_jax.serving.served_model import made_model
from tests.agents.hostile_server import completion, hostile, raw, sends
from tests.bank.forcing.scripted import (
    IMAGINES,
    LOST,
    PATIENCE,
    SAID_ONCE,
    WRONG_FIRST,
    Part,
    Scripted,
)
from tests.serving.running import serving as running


def forcing(endpoint: Endpoint, cache: Path, **options) -> AnswerForcing:
    return AnswerForcing(teacher=Teacher(endpoint=endpoint, cache=cache, patience=PATIENCE), **options)


# ---- one instance ----------------------------------------------------------------------------------------------------
def of(some: list[Part], script: str, task: str = "starter_math") -> Part:
    return next(part for part in some if (part.script, part.task) == (script, task))


def annotated(annotator: AnswerForcing, part: Part) -> ActionSequence | Drop:
    return annotator.annotate(registry.get(part.task), part.instance)


@pytest.mark.parametrize("script", [*SAID_ONCE, WRONG_FIRST, IMAGINES])
def test_what_was_rejected_is_counted(tmp_path: Path, server: Scripted, all_parts: list[Part], script: str) -> None:
    part = of(all_parts, script)
    sequence = annotated(forcing(server.endpoint, tmp_path / "calls"), part)
    assert isinstance(sequence, ActionSequence) and sequence.method == "answer_forcing"
    assert tuple(zip(sequence.thoughts, (step.action for step in sequence.steps), strict=True)) == part.steps
    expected = {
        "refusal_once": {"rejected_refusal": 1},
        "garbage_once": {"rejected_unreadable": 1},
        "empty_once": {"rejected_empty": 1},
        "leak_once": {"rejected_leak": 1},
        "told_once": {"rejected_leak": 1},
        "invalid_once": {"rejected_invalid_action": 1},
        WRONG_FIRST: {},
        IMAGINES: {},
    }
    cost = dict(sequence.cost)
    assert {name: value for name, value in cost.items() if name.startswith("rejected")} == expected[script]
    assert cost["attempts"] == (2 if script == WRONG_FIRST else 1)
    assert cost["imagined"] == (len(part.steps) if script == IMAGINES else 0)
    assert cost["requests"] == len(server.asked) == len(part.steps) + (script != IMAGINES)
    assert cost["prompt_tokens"] > cost["completion_tokens"] > 0


def test_attempts_redraws_and_turns_have_limits(tmp_path: Path, server: Scripted, all_parts: list[Part]) -> None:
    spec = registry.get("starter_math")
    for script, options, requests in (
        ("leaks", {"attempts": 2, "redraws": 1}, 4),
        ("refuses", {"attempts": 1, "redraws": 0}, 1),
        ("is_wrong", {"attempts": 4, "redraws": 5}, 4),
        ("never_ends", {"attempts": 2, "max_turns": 3}, 6),
        ("never_ends", {"attempts": 1, "max_turns": 99, "seed": 1}, spec.max_steps),
    ):
        before = len(server.asked)
        drop = annotated(forcing(server.endpoint, tmp_path / "calls", **options), of(all_parts, script))
        assert isinstance(drop, Drop) and drop.reason == LOST[script]
        assert len(server.asked) - before == requests
        assert drop.detail.count("attempt ") == options["attempts"]


def test_no_request_follows_once_the_tokens_are_spent(tmp_path: Path, server: Scripted, all_parts: list[Part]) -> None:
    def annotator(tokens: int) -> AnswerForcing:
        teacher = Teacher(endpoint=server.endpoint, cache=tmp_path / "calls", max_tokens=tokens, patience=PATIENCE)
        return AnswerForcing(teacher=teacher)

    part = of(all_parts, "good")
    drop = annotated(annotator(500), part)
    assert isinstance(drop, Drop) and drop.reason == "token_budget" and "attempt 2" not in drop.detail
    asked = len(server.asked)
    assert 1 <= asked < len(part.steps)
    assert annotated(annotator(500), part) == drop and len(server.asked) == asked
    assert isinstance(annotated(annotator(100_000), part), ActionSequence)


def test_the_teacher_is_told_the_answer_and_the_environment_says_nothing_of_it(
    tmp_path: Path, all_parts: list[Part]
) -> None:
    part = of(all_parts, "good")
    with hostile(sends(completion(REACT.render(*part.steps[0])))) as server:
        teacher = Teacher(endpoint=Endpoint.parse(f"{server.url}#m"), cache=tmp_path / "calls", patience=PATIENCE)
        annotated(AnswerForcing(teacher=teacher, attempts=1, max_turns=2), part)
    system, *others = server.requests[1]["messages"]
    assert part.answer in system["content"] and registry.get(part.task).instruction in system["content"]
    assert others[0] == {"role": "user", "content": part.question}
    assert others[1]["content"] == REACT.render(*part.steps[0])
    assert server.requests[0]["stop"] == ["\nObservation:", "\nTask:", "\n---"]
    assert server.requests[0]["seed"] != server.requests[1]["seed"]
    assert not any(part.answer in message["content"] for message in others[:2])


def test_the_projects_own_server_can_be_the_teacher(tmp_path: Path, all_parts: list[Part]) -> None:
    part = of(all_parts, "good")

    def say(text: str) -> str:
        return REACT.render(*part.steps[text.count("Observation: ")])

    with running(made_model(), say=say, max_length=4096) as server:
        sequence = annotated(forcing(Endpoint.parse(f"{server.url}/v1#made-tiny"), tmp_path / "calls"), part)
    assert isinstance(sequence, ActionSequence)
    assert tuple(zip(sequence.thoughts, (step.action for step in sequence.steps), strict=True)) == part.steps
    assert sequence.cost["prompt_tokens"] > sequence.cost["completion_tokens"] > 0


def test_a_server_that_never_answers_stops_the_build_or_drops_the_instance(
    tmp_path: Path, all_parts: list[Part]
) -> None:
    hasty = Patience(timeout=0.2, retries=1, backoff=0.01)
    with hostile(lambda connection, body: time.sleep(1)) as server:
        for on_failure in ("stop", "drop"):
            teacher = Teacher(
                endpoint=Endpoint.parse(f"{server.url}#m"),
                cache=tmp_path / "calls",
                patience=hasty,
                on_failure=on_failure,  # type: ignore[arg-type]
            )
            annotator = AnswerForcing(teacher=teacher, attempts=1, redraws=0)
            if on_failure == "stop":
                with pytest.raises(Unanswered, match="gave no whole reply within"):
                    annotated(annotator, of(all_parts, "good"))
            else:
                drop = annotated(annotator, of(all_parts, "good"))
                assert isinstance(drop, Drop) and drop.reason == "unanswered"


def test_a_server_that_lets_nobody_in_stops_the_build(tmp_path: Path, all_parts: list[Part]) -> None:
    with hostile(sends(raw(401, b"who are you?"))) as server, pytest.raises(EndpointError, match="OPENAI_API_KEY"):
        annotated(forcing(Endpoint.parse(f"{server.url}#m"), tmp_path / "calls"), of(all_parts, "good"))


def test_an_environment_without_a_published_answer_is_no_request(tmp_path: Path, server: Scripted) -> None:
    spec = registry.get("starter_embodied")
    drop = forcing(server.endpoint, tmp_path / "calls").annotate(spec, spec.instance("train", 0))
    assert isinstance(drop, Drop) and drop.reason == "no_answer" and not server.asked


def test_values_out_of_range_are_refused(tmp_path: Path) -> None:
    endpoint = Endpoint.parse("http://127.0.0.1:1/v1#m")
    for options in ({"attempts": 0}, {"redraws": -1}, {"max_turns": 0}):
        with pytest.raises(AgentBankError, match="expected at least"):
            forcing(endpoint, tmp_path / "calls", **options)
    for options in ({"temperature": 3.0}, {"top_p": 0.0}, {"max_tokens": 0}, {"on_failure": "stpo"}):
        with pytest.raises(AgentBankError, match="teacher: "):
            Teacher(endpoint=endpoint, cache=tmp_path / "calls", **options)  # type: ignore[arg-type]


def test_facts_hold_all_but_the_place_of_the_server_and_of_the_cache(tmp_path: Path) -> None:
    facts = [
        json.dumps(forcing(Endpoint.parse(f"{url}#{model}"), tmp_path / cache, seed=seed).facts(), sort_keys=True)
        for url, model, cache, seed in (
            ("http://127.0.0.1:1/v1", "m", "a", 0),
            ("http://127.0.0.1:2/v1", "m", "b", 0),
            ("http://127.0.0.1:1/v1", "n", "a", 0),
            ("http://127.0.0.1:1/v1", "m", "a", 1),
        )
    ]
    assert facts[0] == facts[1] and len(set(facts)) == 3
