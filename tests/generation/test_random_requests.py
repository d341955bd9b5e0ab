"""Requests of every kind at once, each against a plain loop over the model that knows nothing of the others.

`test_schedules.py` holds that company changes nothing; here the end of a reply, its text and its pieces are as well
what the request says: stop strings, stop ids, choices, streams, the engine's length, histories that were edited.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from agentbank_jax.generation.requests import Delta, Generation, GenerationRequest, SamplingParams
from tests.generation.made import CONFIG, LENGTH, Bytes, make_engine, make_ids, plain_greedy, plain_log_probabilities

SCHEDULES = 30
STOP_IDS = (7, 30)
NAMES = ("", "a", "b", "c", "d", "e")
UNKNOWN = "\ufffd"


def decoded(ids: Sequence[int]) -> str:
    return Bytes().decode([token for token in ids if token < Bytes.vocab_size])


def plain_reply(request: GenerationRequest) -> Generation:
    """The reply token by token, its whole text searched anew after each."""
    sampling, ids = request.sampling, list(request.ids)
    stop_ids = () if sampling.ignore_stop_ids else (*STOP_IDS, *sampling.stop_ids)
    new: list[int] = []
    while len(new) < sampling.max_new_tokens and len(ids) + len(new) < LENGTH:
        new += plain_greedy([*ids, *new], 1)
        if new[-1] in stop_ids:
            return Generation(ids=tuple(new), text=decoded(new[:-1]), finish="stop", stopped_by=new[-1])
        text = decoded(new).rstrip(UNKNOWN)
        found = [(text.find(stop) + len(stop), text.find(stop), stop) for stop in sampling.stop if stop in text]
        if found:
            _, place, stop = min(found)
            texts = [decoded(new[:count]) for count in range(len(new) + 1)]
            kept = [count for count, said in enumerate(texts) if not said.endswith(UNKNOWN) and len(said) <= place]
            return Generation(ids=tuple(new[: max(kept)]), text=text[:place], finish="stop", stopped_by=stop)
    ended = "length" if len(new) == sampling.max_new_tokens else "context"
    return Generation(ids=tuple(new), text=decoded(new), finish=ended)


@dataclass
class Schedule:
    """Requests that arrive and are cancelled at random, and conversations that go on, change and are released."""

    rng: random.Random
    known: dict[str, list[int]] = field(default_factory=dict)
    seen: list[list[int]] = field(default_factory=list)
    under_way: dict[str, tuple[GenerationRequest, list[Delta]]] = field(default_factory=dict)

    def ids(self, name: str) -> list[int]:
        rng = self.rng
        if name in self.known and rng.random() < 0.8:
            ids = list(self.known[name])
            kind = rng.random()
            if kind < 0.15:
                ids = ids[: rng.randrange(1, len(ids) + 1)]
            elif kind < 0.3:
                ids[rng.randrange(len(ids))] = rng.randrange(CONFIG.vocab_size)
        elif self.seen and rng.random() < 0.5:
            ids = rng.choice(self.seen)
            ids = ids[: rng.randrange(1, len(ids) + 1)]
        else:
            ids = make_ids(rng.randrange(4), rng.choice((1, 7, 8, 9, 33)))
        if rng.random() < 0.1:
            ids = (ids * LENGTH)[: LENGTH - rng.choice((0, 1, 2, 5))]
        more = [rng.randrange(CONFIG.vocab_size) for _ in range(rng.choice((0, 1, 4, 9)))]
        return [*ids, *more][:LENGTH]

    def request(self, number: int, name: str) -> GenerationRequest:
        rng, ids = self.rng, self.ids(name)
        said = decoded(plain_greedy(ids, 8))
        places = [rng.randrange(len(said)) for _ in range(rng.choice((0, 0, 1, 2)))]
        stops = (said[place : place + rng.choice((1, 2, 4))].replace(UNKNOWN, "") for place in places)
        choices = tuple(tuple(make_ids(rng.randrange(99), rng.choice((1, 2, 9)))) for _ in range(rng.choice((2, 3, 5))))
        fits = len(ids) + max(map(len, choices)) <= LENGTH
        return GenerationRequest(
            id=str(number),
            ids=tuple(ids),
            sampling=SamplingParams(
                max_new_tokens=rng.choice((1, 2, 4, 5, 9, 200)),
                stop=tuple(stop for stop in stops if stop),
                stop_ids=(rng.randrange(CONFIG.vocab_size),) if rng.random() < 0.2 else (),
                ignore_stop_ids=rng.random() < 0.2,
            ),
            conversation=name,
            choices=choices if fits and rng.random() < 0.15 else (),
            stream=rng.random() < 0.5,
        )

    def play(self, requests: int) -> None:
        rng = self.rng
        engine = make_engine(
            slots=rng.choice((1, 3)),
            stop_ids=STOP_IDS,
            prefill_budget=rng.choice((1, 7, 30, 1000)),
            host_cache_bytes=rng.choice((0, 1000, 150_000, 1 << 30)),
        )
        number = 0
        while number < requests or self.under_way:
            for _ in range(rng.choice((0, 1, 2, 4))):
                name = rng.choice(NAMES)
                busy = {request.conversation for request, _ in self.under_way.values()}
                if number < requests and (not name or name not in busy):
                    request = self.request(number, name)
                    engine.submit(request)
                    self.under_way[request.id] = (request, [])
                    self.seen.append(list(request.ids))
                    number += 1
            if self.under_way and rng.random() < 0.08:
                cancelled = rng.choice(list(self.under_way))
                engine.cancel(cancelled)
                name = self.under_way.pop(cancelled)[0].conversation
                if rng.random() < 0.5:
                    engine.release(name)
                    self.known.pop(name, None)
            for delta in engine.step():
                request, told = self.under_way[delta.request_id]
                told.append(delta)
                if delta.generation is not None:
                    del self.under_way[delta.request_id]
                    check(request, told, delta.generation)
                    if request.conversation:
                        self.known[request.conversation] = [*request.ids, *delta.generation.ids]
        assert not engine.busy


def check(request: GenerationRequest, told: list[Delta], found: Generation) -> None:
    assert tuple(token for delta in told for token in delta.ids) == found.ids
    assert "".join(delta.text for delta in told) == (found.text if request.stream else "")
    assert len(told) == 1 or request.stream
    assert found.cached_tokens < len(request.ids)
    if not request.choices:
        expected = plain_reply(request)
        assert (found.ids, found.text, found.finish, found.stopped_by) == (
            (expected.ids, expected.text, expected.finish, expected.stopped_by)
        )
        return
    sums = []
    for choice in request.choices:
        rows = plain_log_probabilities([*request.ids, *choice])[len(request.ids) - 1 : -1]
        sums.append(float(rows[np.arange(len(choice)), choice].sum()))
    assert found.choice_logprobs == pytest.approx(sums, abs=1e-3)
    assert found.choice is not None and sums[found.choice] == pytest.approx(max(sums), abs=1e-3)
    assert found.ids == request.choices[found.choice]


@pytest.mark.parametrize("part", range(3))
def test_every_reply_is_what_a_plain_loop_says_of_its_request_alone(part: int) -> None:
    for number in range(part * SCHEDULES // 3, (part + 1) * SCHEDULES // 3):
        rng = random.Random(number)
        Schedule(rng).play(rng.randint(5, 15))
