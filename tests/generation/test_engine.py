from dataclasses import replace

import jax
import numpy as np
import pytest

from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Engine
from agentbank_jax.generation.requests import Generation, GenerationRequest, RequestError, SamplingParams
from agentbank_jax.models import forward
from tests.generation.made import (
    CONFIG,
    LENGTH,
    PARAMS,
    SETTINGS,
    ask,
    make_engine,
    make_ids,
    plain_greedy,
    plain_log_probabilities,
    reply_of,
)


def test_greedy_tokens_equal_a_plain_loop_over_several_turns_of_resident_conversations() -> None:
    engine = make_engine()
    conversations: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for turn, lengths in enumerate([(1, 23, 9), (5, 1, 17), (2, 6, 3)]):
        for number, (name, length) in enumerate(zip(conversations, lengths, strict=True)):
            conversations[name] += make_ids(10 * turn + number, length)
        deltas = engine.generate([ask(name, ids, conversation=name) for name, ids in conversations.items()])
        for name, delta in zip(conversations, deltas, strict=True):
            assert delta.generation is not None and delta.generation.finish == "length"
            assert list(delta.generation.ids) == plain_greedy(conversations[name], 6)
            conversations[name] += delta.generation.ids
    # Every token was read once: all but the last generated one of each conversation.
    read = engine.stats.prefilled + engine.stats.generated
    assert read == sum(map(len, conversations.values())) - 3


def test_a_stop_id_ends_a_reply_and_belongs_to_it() -> None:
    ids = make_ids(3, 12)
    expected = plain_greedy(ids, 8)
    stop = expected[4]
    generation = reply_of(make_engine(stop_ids=(60, stop)), ask("a", ids, 8))
    assert (generation.finish, generation.stopped_by) == ("stop", stop)
    assert list(generation.ids) == expected[: expected.index(stop) + 1]
    assert list(reply_of(make_engine(), ask("a", ids, 8, stop_ids=(stop,))).ids) == list(generation.ids)
    ignored = reply_of(make_engine(stop_ids=(stop,)), ask("a", ids, 8, ignore_stop_ids=True))
    assert list(ignored.ids) == expected


def test_replies_end_when_they_end_and_others_get_their_places() -> None:
    engine = make_engine(slots=2)
    counts = {"a": 10, "b": 2, "c": 9}
    requests = {name: ask(name, make_ids(20 + count, 10 + count), count) for name, count in counts.items()}
    for request in requests.values():
        engine.submit(request)
    ended: dict[str, Generation] = {}
    order = []
    while engine.busy:
        for delta in engine.step():
            assert delta.generation is not None
            ended[delta.request_id] = delta.generation
            order.append(delta.request_id)
    # The third had no place until the second ended, long before the first.
    assert order[0] == "b" and set(order) == set("abc")
    for name, request in requests.items():
        assert list(ended[name].ids) == plain_greedy(request.ids, request.sampling.max_new_tokens)


def test_a_conversation_ends_exactly_at_the_engines_length() -> None:
    ids = make_ids(8, LENGTH - 3)
    engine = make_engine()
    generation = reply_of(engine, ask("a", ids, 10, "a"))
    assert generation.finish == "context" and list(generation.ids) == plain_greedy(ids, 3)
    nothing = reply_of(engine, ask("a", [*ids, *generation.ids], 10, "a"))
    assert (nothing.ids, nothing.finish) == ((), "context")


def test_longer_conversations_make_the_cache_longer_without_a_change() -> None:
    ids = make_ids(9, 250)
    options = {"max_length": 640, "settings": None}
    across = reply_of(make_engine(**options), ask("a", ids, 40))  # past 256
    engine = make_engine(**options)
    rest, _ = engine.generate([ask("a", [*ids, *across.ids[:20]], 20), ask("b", make_ids(1, 530), 20)])
    assert rest.generation is not None and rest.generation.ids == across.ids[20:]


def test_scanned_layers_generate_the_same() -> None:
    scanned = Engine(
        replace(CONFIG, scan_layers=True), PARAMS, stop_ids=(), slots=3, max_length=LENGTH, settings=SETTINGS
    )
    request = ask("a", make_ids(4, 10))
    assert reply_of(scanned, request).ids == reply_of(make_engine(), request).ids


def test_a_beginning_that_several_share_is_read_once_also_when_they_come_together() -> None:
    shared = make_ids(1, 40)
    requests = [ask(str(n), [*shared, *make_ids(50 + n, 5 + n)], conversation=str(n)) for n in range(4)]
    engine = make_engine(slots=4)
    deltas = engine.generate(requests)
    assert engine.stats.prefilled == 40 + sum(4 + n for n in range(4))
    assert engine.stats.reused == 3 * 40
    for request, delta in zip(requests, deltas, strict=True):
        assert delta.generation is not None and list(delta.generation.ids) == plain_greedy(request.ids, 6)
    # One that comes later finds it, too, though the conversations have gone on and are released.
    for n in range(4):
        engine.release(str(n))
    before = engine.stats.prefilled
    later = reply_of(engine, ask("later", [*shared, 7, 8, 9]))
    assert later.cached_tokens == 40 and engine.stats.prefilled == before + 2


def test_one_whose_beginning_is_itself_a_beginning_of_another_waits_for_both() -> None:
    first = make_ids(1, 30)
    second = [*first, *make_ids(2, 20)]
    requests = [ask("a", [*first, 9]), ask("b", [*second, 8]), ask("c", [*second, 7])]
    engine = make_engine(prefill_budget=10)
    for request, delta in zip(requests, engine.generate(requests), strict=True):
        assert delta.generation is not None and list(delta.generation.ids) == plain_greedy(request.ids, 6)
    assert engine.stats.prefilled == 30 + 20


def test_a_conversation_that_had_to_make_room_comes_back_without_being_read_again() -> None:
    engine = make_engine(slots=1)
    conversations = {name: make_ids(n, 20) for n, name in enumerate("abc")}
    for turn in range(3):
        for name, ids in conversations.items():
            generation = reply_of(engine, ask(name, ids, 5, name))
            assert list(generation.ids) == plain_greedy(ids, 5)
            ids += [*generation.ids, *make_ids(30 + turn, 4)]
    assert engine.stats.prefilled == 3 * (19 + 2 * 4)
    assert engine.stats.swapped_in == engine.stats.evictions - 2 == 6
    assert engine.load().host_bytes > 0


def test_without_memory_of_the_host_it_is_read_again_and_gives_the_same_tokens() -> None:
    engine = make_engine(slots=1, host_cache_bytes=0)
    for name in "abab":
        assert list(reply_of(engine, ask(name, make_ids(ord(name), 20), 5, name)).ids) == plain_greedy(
            make_ids(ord(name), 20), 5
        )
    assert engine.stats.prefilled == 4 * 19 and engine.stats.swapped_in == 0 == engine.load().host_bytes


def test_a_history_that_was_changed_is_read_from_where_it_differs() -> None:
    engine = make_engine()
    ids = make_ids(1, 30)
    reply_of(engine, ask("a", ids, 5, "a"))
    changed = [*ids[:17], ids[17] - 1, *ids[18:]]
    generation = reply_of(engine, ask("a", changed, 5, "a"))
    assert generation.cached_tokens == 17 and list(generation.ids) == plain_greedy(changed, 5)


def test_a_cancelled_request_gives_its_place_and_its_beginning_to_others() -> None:
    shared = make_ids(1, 40)
    engine = make_engine(slots=2, prefill_budget=10)
    engine.submit(ask("leader", [*shared, 3], 50))
    engine.submit(ask("follower", [*shared, 4]))
    engine.submit(ask("waiting", make_ids(2, 5)))
    engine.step()
    engine.cancel("leader")
    engine.cancel("never there")
    ended = {}
    while engine.busy:
        ended |= {delta.request_id: delta.generation for delta in engine.step()}
    assert set(ended) == {"follower", "waiting"}
    assert list(ended["follower"].ids) == plain_greedy([*shared, 4], 6)
    assert engine.load().running == engine.load().waiting == 0


def test_log_probabilities_are_those_of_the_model_whatever_the_temperature() -> None:
    ids = make_ids(1, 30)
    request = ask("a", ids, 6, logprobs=3, prompt_logprobs=2, temperature=1.5, seed=3)
    generation = reply_of(make_engine(), request)
    expected = plain_log_probabilities([*ids, *generation.ids])
    places = [*generation.prompt_logprobs, *generation.logprobs]
    assert [place.token for place in places] == [*ids[1:], *generation.ids]
    for row, place in zip(expected, places, strict=False):
        assert place.logprob == pytest.approx(row[place.token], abs=1e-5)
        assert [token for token, _ in place.top] == np.argsort(-row, kind="stable")[: len(place.top)].tolist()
        assert [logprob for _, logprob in place.top] == pytest.approx(-np.sort(-row)[: len(place.top)], abs=1e-5)
    assert {len(place.top) for place in generation.logprobs} == {3}
    assert {len(place.top) for place in generation.prompt_logprobs} == {2}


def test_a_prompt_is_scored_alone_where_no_reply_is_wanted_also_one_that_was_read_before() -> None:
    engine = make_engine(prefill_budget=10)
    ids = make_ids(1, 30)
    reply_of(engine, ask("a", ids))
    generation = reply_of(engine, ask("b", ids, 0, prompt_logprobs=0))
    assert (generation.ids, generation.finish) == ((), "length")
    expected = plain_log_probabilities(ids)[np.arange(29), ids[1:]]
    assert [place.logprob for place in generation.prompt_logprobs] == pytest.approx(expected, abs=1e-5)


def test_the_most_likely_of_some_replies_is_chosen_by_its_sum_and_the_conversation_goes_on_with_it() -> None:
    engine = make_engine()
    ids = make_ids(1, 30)
    choices = ((5, 6, 7), (8, 9), (10,), (10, 11), (3, 4, 5, 6, 7, 8, 9, 10, 11))
    request = replace(ask("a", ids, conversation="a"), choices=choices)
    generation = reply_of(engine, request)
    for choice, logprob in zip(choices, generation.choice_logprobs, strict=True):
        rows = plain_log_probabilities([*ids, *choice])[len(ids) - 1 : -1]
        assert logprob == pytest.approx(rows[np.arange(len(choice)), choice].sum(), abs=1e-4)
    assert generation.choice == int(np.argmax(generation.choice_logprobs)) and generation.finish == "choice"
    assert generation.ids == choices[generation.choice]
    after = [*ids, *generation.ids, 12, 13]
    follow_up = reply_of(engine, ask("a", after, conversation="a"))
    assert list(follow_up.ids) == plain_greedy(after, 6) and follow_up.cached_tokens == len(ids) - 1


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (ask("a", []), "conversation of 0 tokens"),
        (ask("a", [3] * (LENGTH + 1)), "expected 1 to 96"),
        (ask("a", [3, 61]), "each 0 to 60"),
        (ask("a", [3, -1]), "each 0 to 60"),
        (GenerationRequest(id="a", ids=(3,), choices=((5,), ())), "at least one"),
        (GenerationRequest(id="a", ids=(3,), choices=((5,) * LENGTH,)), "together"),
        (ask("under way", [3]), "another id"),
        (ask("b", [3], conversation="held"), "expected its end"),
    ],
)
def test_a_request_that_cannot_be_served_is_named_and_changes_nothing(request_: GenerationRequest, says: str) -> None:
    engine = make_engine()
    engine.submit(ask("under way", make_ids(1, 9), conversation="held"))
    with pytest.raises(RequestError, match=says):
        engine.submit(request_)
    (delta,) = [delta for _ in range(3) for delta in engine.step()]
    assert delta.generation is not None and list(delta.generation.ids) == plain_greedy(make_ids(1, 9), 6)
    assert not engine.busy and engine.step() == []


def test_log_probabilities_of_a_vocabulary_smaller_than_the_most_alternatives() -> None:
    config = replace(CONFIG, vocab_size=7)
    engine = Engine(config, forward.init(config, 0), stop_ids=(), slots=1, max_length=LENGTH, settings=SETTINGS)
    generation = reply_of(engine, ask("a", [3, 4], 2, logprobs=20, prompt_logprobs=2))
    assert [len(place.top) for place in (*generation.prompt_logprobs, *generation.logprobs)] == [2, 7, 7]


def test_text_is_refused_without_a_tokenizer() -> None:
    engine = make_engine(tokenizer=None)
    for request in (ask("a", [3], stop=("x",)), replace(ask("a", [3]), stream=True)):
        with pytest.raises(RequestError, match="tokenizer"):
            engine.submit(request)


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"max_length": 641}, {"max_length": 1}, {"prefill_budget": 0}])
def test_wrong_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(AgentBankError, match="Engine: "):
        make_engine(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": -1}, {"temperature": -0.1}, {"temperature": float("nan")}, {"top_k": -1}, {"top_p": 0.0},
        {"top_p": 1.1}, {"min_p": 1.5}, {"seed": 2**63}, {"stop": ("",)}, {"logprobs": 21}, {"prompt_logprobs": -1},
    ],
)  # fmt: skip
def test_a_sampling_value_outside_its_range_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        SamplingParams(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", ["", "int8"])
def test_parameters_that_may_be_used_up_are_freed_and_the_tokens_are_the_same(weights: str) -> None:
    def generated(params, consume: bool) -> tuple[int, ...]:
        engine = Engine(
            CONFIG, params, stop_ids=(), slots=3, max_length=LENGTH, settings=SETTINGS, weights=weights, consume=consume
        )
        return reply_of(engine, ask("a", make_ids(4, 10))).ids

    kept, used = PARAMS, forward.init(CONFIG, 7)
    assert generated(used, True) == generated(kept, False)
    stacks = jax.tree.leaves(used["layers"])
    assert all(stack.is_deleted() for stack in stacks)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(kept))
