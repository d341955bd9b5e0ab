"""Whatever else the engine does, a request's tokens are its own."""

import random
from functools import lru_cache

import pytest

from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.requests import Generation, GenerationRequest, SamplingParams
from tests.generation.made import make_engine, make_ids, plain_greedy, reply_of

SCHEDULES = 500
TURNS = 3
# Some begin alike, at one place or at two, and some draw.
BEGINNINGS = (make_ids(1, 20), [*make_ids(1, 20), *make_ids(2, 9)], make_ids(3, 2))
SAMPLING = (
    SamplingParams(max_new_tokens=5),
    SamplingParams(max_new_tokens=7, temperature=1.0, seed=3),
    SamplingParams(max_new_tokens=4, temperature=0.7, top_k=9, top_p=0.8, seed=4),
    SamplingParams(max_new_tokens=6, logprobs=1),
)
SCRIPTS = tuple(range(12))


def opening(script: int) -> list[int]:
    return [*BEGINNINGS[script % 3], *make_ids(100 + script, 1 + script)]


def observation(script: int, turn: int) -> list[int]:
    return make_ids(1000 * script + turn, 1 + (script + 3 * turn) % 8)


def request(script: int, turn: int, ids: list[int], name: str) -> GenerationRequest:
    sampling = SAMPLING[(script + turn) % len(SAMPLING)]
    return GenerationRequest(id=f"{name}/{turn}", ids=tuple(ids), sampling=sampling, conversation=name)


@lru_cache
def alone(script: int) -> tuple[Generation, ...]:
    """The replies of a conversation that has an engine to itself."""
    engine, ids, replies = make_engine(slots=1), opening(script), []
    for turn in range(TURNS):
        replies.append(reply_of(engine, request(script, turn, ids, "alone")))
        ids = [*ids, *replies[-1].ids, *observation(script, turn)]
    return tuple(replies)


def test_greedy_replies_alone_are_those_of_a_plain_loop() -> None:
    for script in SCRIPTS:
        if SAMPLING[script % len(SAMPLING)].greedy:
            first = alone(script)[0]
            assert list(first.ids) == plain_greedy(opening(script), len(first.ids))


def play(rng: random.Random, engine: Engine) -> None:
    """Conversations that arrive, go on, rest, are cancelled and are released at random."""
    waiting = [(script, f"{script}") for script in rng.sample(SCRIPTS, rng.randint(1, 5))]
    known: dict[str, tuple[int, int, list[int]]] = {}
    under_way: set[str] = set()
    while waiting or known:
        if waiting and rng.random() < 0.6:
            script, name = waiting.pop()
            known[name] = (script, 0, opening(script))
        for name, (script, turn, ids) in list(known.items()):
            if name not in under_way and rng.random() < 0.7:
                engine.submit(request(script, turn, ids, name))
                under_way.add(name)
            elif name in under_way and rng.random() < 0.05:
                # The same request comes again later, unless nobody asks for it any more.
                engine.cancel(f"{name}/{turn}")
                under_way.discard(name)
                if rng.random() < 0.3:
                    engine.release(name)
                    del known[name]
        for delta in engine.step():
            name = delta.request_id.split("/")[0]
            script, turn, ids = known[name]
            assert delta.generation is not None
            expected = alone(script)[turn]
            assert (delta.generation.ids, delta.generation.finish) == (expected.ids, expected.finish)
            for found, place in zip(delta.generation.logprobs, expected.logprobs, strict=True):
                assert found.logprob == pytest.approx(place.logprob, abs=1e-4)
            under_way.discard(name)
            known[name] = (script, turn + 1, [*ids, *delta.generation.ids, *observation(script, turn)])
            if turn + 1 == TURNS:
                engine.release(name)
                del known[name]
    assert not engine.busy


@pytest.mark.parametrize("part", range(10))
def test_tokens_are_the_same_alone_and_in_any_company_order_place_and_after_eviction(part: int) -> None:
    evictions = returns = 0
    for number in range(part * SCHEDULES // 10, (part + 1) * SCHEDULES // 10):
        rng = random.Random(number)
        engine = make_engine(
            slots=rng.choice((1, 2, 3)),
            prefill_budget=rng.choice((7, 30, 1000)),
            host_cache_bytes=rng.choice((0, 40_000, 1 << 30)),
        )
        play(rng, engine)
        evictions += engine.stats.evictions
        returns += engine.stats.swapped_in
    # The schedules are worth something only if conversations had to leave and came back.
    assert evictions > 20 and returns > 5
