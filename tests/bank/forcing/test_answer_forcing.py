"""Answer forcing against a server that misbehaves: the right trajectories come out, and nothing is paid twice."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentbank_jax.agents.endpoint import Endpoint, EndpointError, Unanswered
from agentbank_jax.agents.endpoint_client import Patience
from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.forcing.answer_forcing import AnswerForcing
from agentbank_jax.bank.forcing.call_cache import CallCache
from agentbank_jax.bank.forcing.replies import REACT
from agentbank_jax.bank.forcing.teacher import Teacher
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.replay import replay
from agentbank_jax.bank.staging import DROPS
from agentbank_jax.environments import registry
from agentbank_jax.errors import AgentBankError
from agentbank_jax.serving.served_model import made_model
from agentbank_jax.trajectories.formats.agentbank import read_trajectories
from tests.agents.hostile_server import completion, hostile, raw, sends
from tests.bank.forcing.forcing_recipe import ForcingRecipe
from tests.bank.forcing.scripted import (
    IMAGINES,
    KEPT,
    LOST,
    PATIENCE,
    SAID_ONCE,
    TASKS,
    UNPAID,
    WRONG_FIRST,
    Part,
    Scripted,
    parts,
    serving,
)
from tests.bank.made import build_in
from tests.serving.running import serving as running

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def all_parts() -> list[Part]:
    return parts()


@pytest.fixture
def server(all_parts: list[Part]) -> Iterator[Scripted]:
    yield from serving(all_parts)


def forcing(endpoint: Endpoint, cache: Path, **options) -> AnswerForcing:
    return AnswerForcing(teacher=Teacher(endpoint=endpoint, cache=cache, patience=PATIENCE), **options)


def recipes(some: list[Part], annotator: AnswerForcing) -> list[ForcingRecipe]:
    return [
        ForcingRecipe(task=task, indices=tuple(part.index for part in some if part.task == task), annotator=annotator)
        for task in TASKS
    ]


def files(folder: Path) -> dict[str, bytes]:
    """What builds leave, but for their locks."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def cached_keys(cache: Path) -> set[str]:
    held = CallCache(cache)
    try:
        return {key for (key,) in held._database.execute("SELECT key FROM calls")}
    finally:
        held.close()


def check_bank(folder: Path, some: list[Part]) -> None:
    """That the bank holds each instance once, kept or dropped, as its script says; and that it replays."""
    for task in TASKS:
        mine = {part.instance.id: part for part in some if part.task == task}
        kept = list(read_trajectories(f"{folder}/{task}/train-*.parquet", task))
        dropped = [json.loads(line) for line in (folder / task / DROPS).read_text().split("\n") if line]
        assert sorted([*(each.id for each in kept), *(row["id"] for row in dropped)]) == sorted(mine)
        assert {each.id for each in kept} == {name for name, part in mine.items() if part.script in KEPT}
        assert {row["id"]: row["reason"] for row in dropped} == {
            name: LOST[part.script] for name, part in mine.items() if part.script in LOST
        }
        spec = registry.get(task)
        for trajectory in kept:
            part = mine[trajectory.id]
            said = [REACT.parse(turn.content) for turn in trajectory.turns if turn.role == "assistant"]
            assert [(each.thought, each.action) for each in said if each] == list(part.steps)
            replayed = replay(spec, part.instance, [each.action for each in said if each])
            assert not isinstance(replayed, Drop) and replayed.reward == trajectory.metadata["reward"] == 1
            told = [turn.content.removeprefix("Observation: ") for turn in trajectory.turns if turn.role == "user"]
            assert tuple(told) == replayed.observations


def test_the_right_trajectories_come_out_of_a_server_that_misbehaves_and_a_rerun_is_free(
    tmp_path: Path, server: Scripted, all_parts: list[Part]
) -> None:
    cache, started = tmp_path / "calls.sqlite", time.monotonic()
    made = recipes(all_parts, forcing(server.endpoint, cache))
    results = build_in(tmp_path / "one", made, workers=2)
    assert time.monotonic() - started < 120, "what goes wrong costs bounded time"
    check_bank(tmp_path / "one", all_parts)
    assert all(result.drops == dict.fromkeys(LOST.values(), 1) for result in results)

    # Each paid reply is kept once and charged once.
    assert set(server.answered) == cached_keys(cache)
    held = CallCache(cache)
    costs = held.costs()
    held.close()
    assert set(costs) == set(TASKS)
    assert sum(cost.requests for cost in costs.values()) == len(server.answered) > 200
    assert all(cost.prompt_tokens > cost.completion_tokens > 0 == cost.cached for cost in costs.values())

    first = len(server.asked)
    build_in(tmp_path / "two", made, workers=1)
    assert files(tmp_path / "two") == files(tmp_path / "one")
    again = Counter(server.asked[first:])
    unpaid = {key for part in all_parts if part.script in UNPAID for key in server.seen[part.question, 1]}
    assert set(again) == unpaid, "what was answered is never asked again; what was refused cost nothing"
    held = CallCache(cache)
    assert sum(cost.requests for cost in held.costs().values()) == len(server.answered)
    assert sum(cost.cached for cost in held.costs().values()) >= len(server.answered)
    held.close()


def test_a_killed_build_ends_in_the_same_bank_and_asks_nothing_that_was_answered(
    tmp_path: Path, server: Scripted, all_parts: list[Part]
) -> None:
    cache, some = tmp_path / "calls.sqlite", [part for part in all_parts if part.script not in UNPAID]
    made = recipes(some, forcing(server.endpoint, cache))
    (tmp_path / "recipes").write_bytes(pickle.dumps(made))
    server.pause = 0.05
    program = (
        "import pathlib, pickle, sys; from tests.bank.made import build_in\n"
        "build_in(pathlib.Path(sys.argv[2]), pickle.loads(open(sys.argv[1], 'rb').read()), workers=2)"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "recipes"), str(tmp_path / "killed")]
    process = subprocess.Popen(arguments, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(server.answered) < 60 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    server.pause = 0.0
    kept, asked = cached_keys(cache), len(server.asked)
    assert 20 < len(kept) < 300
    build_in(tmp_path / "killed", made, workers=2)
    assert not kept & set(server.asked[asked:])
    check_bank(tmp_path / "killed", some)

    build_in(tmp_path / "whole", made, workers=1)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


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
