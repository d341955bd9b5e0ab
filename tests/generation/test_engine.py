import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentbank_jax.generation.engine import Engine, EngineError
from agentbank_jax.models import forward
from agentbank_jax.models.llama_config import LlamaConfig

CONFIG = LlamaConfig(
    vocab_size=61,
    hidden_size=32,
    intermediate_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    max_position_embeddings=640,
)
PARAMS = forward.init(CONFIG, 7)
LENGTH = 96
# One length for all checks of the plain loop, so that it compiles once.
PADDED = 160


@jax.jit
def plain_logits(tokens):
    return forward.apply(CONFIG, PARAMS, tokens, jnp.arange(PADDED)[None])[0]


def plain_greedy(ids: Sequence[int], count: int, stop_ids: Sequence[int] = ()) -> list[int]:
    """Argmax over a full forward pass for every token: what the engine must equal."""
    conversation, new = list(ids), []
    while len(new) < count:
        tokens = np.zeros((1, PADDED), np.int32)
        tokens[0, : len(conversation)] = conversation
        token = int(plain_logits(tokens)[0, len(conversation) - 1].argmax())
        conversation.append(token)
        new.append(token)
        if token in stop_ids:
            break
    return new


def make(slots: int = 3, *, stop_ids: Sequence[int] = (), chunk: int = 4, few: int = 1) -> Engine:
    return Engine(
        CONFIG,
        PARAMS,
        stop_ids=stop_ids,
        slots=slots,
        max_length=LENGTH,
        chunk=chunk,
        few=few,
        prefill_rows=2,
        prefill_widths=(4, 16),
    )


def prompt(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(3, CONFIG.vocab_size, size=length).tolist()


def test_greedy_tokens_equal_a_plain_loop_over_several_turns_of_resident_conversations() -> None:
    engine = make()
    conversations = {0: [], 1: [], 2: []}
    for turn, lengths in enumerate([(1, 23, 9), (5, 1, 17), (2, 6, 3)]):
        additions = {slot: prompt(10 * turn + slot, length) for slot, length in enumerate(lengths)}
        engine.extend(additions)
        for slot, ids in additions.items():
            conversations[slot] += ids
        for slot, generation in enumerate(engine.generate([0, 1, 2], max_new_tokens=6)):
            assert generation.finish == "length"
            assert list(generation.ids) == plain_greedy(conversations[slot], 6)
            conversations[slot] += generation.ids
    assert [engine.length(slot) for slot in range(3)] == [len(ids) for ids in conversations.values()]
    # Every token was read at most once: all but the last generated one of each conversation.
    read = engine.prefilled_tokens + engine.generated_tokens
    assert read == sum(map(len, conversations.values())) - 3


def test_a_stop_id_ends_a_reply_and_belongs_to_it() -> None:
    ids = prompt(3, 12)
    expected = plain_greedy(ids, 8)
    stop = expected[4]
    engine = make(stop_ids=(60, stop))
    engine.extend({1: ids})
    (generation,) = engine.generate([1], max_new_tokens=8)
    assert generation.finish == "stop"
    assert list(generation.ids) == expected[: expected.index(stop) + 1]


def test_a_conversation_gives_the_same_tokens_alone_and_in_any_slot_and_company() -> None:
    ids, observation = prompt(1, 21), prompt(2, 7)
    expected = None
    rng = np.random.default_rng(0)
    engine = make()
    for trial in range(6):
        slot = int(rng.integers(3))
        for other in range(3):
            engine.reset(other)
        others = [other for other in range(3) if other != slot and rng.random() < 0.7]
        extras = {other: prompt(100 * trial + other, int(rng.integers(1, 40))) for other in others}
        batch = list({**extras, slot: ids}.items())
        rng.shuffle(batch)
        engine.extend(dict(batch))
        order = [key for key, _ in batch]
        first = engine.generate(order, max_new_tokens=5)[order.index(slot)]
        # The neighbours rest while this conversation goes on.
        engine.extend({slot: observation})
        (second,) = engine.generate([slot], max_new_tokens=5)
        expected = expected or (first, second)
        assert (first, second) == expected
    assert list(expected[0].ids) == plain_greedy(ids, 5)
    assert list(expected[1].ids) == plain_greedy([*ids, *expected[0].ids, *observation], 5)


def test_replies_end_when_they_end_and_make_room_for_others() -> None:
    prompts = {slot: prompt(20 + slot, 10 + slot) for slot in range(3)}
    engine = make()
    engine.extend(prompts)
    engine.begin(0, max_new_tokens=10)
    engine.begin(1, max_new_tokens=2)
    ended = {**engine.advance()}
    assert list(ended) == [1]  # the other needs three chunks of 4
    engine.begin(2, max_new_tokens=9)
    with pytest.raises(EngineError, match="under way"):
        engine.extend({0: [5]})
    with pytest.raises(EngineError, match="under way"):
        engine.begin(2, max_new_tokens=9)
    while len(ended) < 3:
        ended |= engine.advance()
    assert engine.advance() == {}
    for slot, count in enumerate((10, 2, 9)):
        assert list(ended[slot].ids) == plain_greedy(prompts[slot], count)


def test_resting_conversations_are_untouched_by_their_neighbours_work() -> None:
    engine = make()
    ids = prompt(5, 30)
    engine.extend({0: ids})
    for _ in range(3):
        engine.extend({1: prompt(6, 20)})
        engine.generate([1], max_new_tokens=4)
    (generation,) = engine.generate([0], max_new_tokens=5)
    assert list(generation.ids) == plain_greedy(ids, 5)


def test_a_conversation_ends_exactly_at_the_context_length() -> None:
    engine = make()
    ids = prompt(8, LENGTH - 3)
    engine.extend({2: ids})
    (generation,) = engine.generate([2], max_new_tokens=10)
    assert generation.finish == "context"
    assert list(generation.ids) == plain_greedy(ids, 3)
    assert engine.room(2) == 0
    (nothing,) = engine.generate([2], max_new_tokens=10)
    assert (nothing.ids, nothing.finish) == ((), "context")


def test_longer_conversations_move_to_longer_spans_without_a_change() -> None:
    ids = prompt(9, 250)
    short = Engine(CONFIG, PARAMS, stop_ids=(), slots=2, max_length=640)
    short.extend({0: ids})
    (across,) = short.generate([0], max_new_tokens=40)  # past 256
    other = Engine(CONFIG, PARAMS, stop_ids=(), slots=2, max_length=640)
    other.extend({0: [*ids, *across.ids[:20]], 1: prompt(1, 530)})
    (rest, _) = other.generate([0, 1], max_new_tokens=20)
    assert rest.ids == across.ids[20:]


def test_scanned_layers_generate_the_same() -> None:
    ids = prompt(4, 10)
    engines = [
        make(),
        Engine(dataclasses.replace(CONFIG, scan_layers=True), PARAMS, stop_ids=(), slots=3, max_length=LENGTH, chunk=4),
    ]
    results = []
    for engine in engines:
        engine.extend({0: ids})
        results.append(engine.generate([0], max_new_tokens=5))
    assert results[0] == results[1]


def test_wrong_uses_are_named_and_change_nothing() -> None:
    engine = make()
    engine.extend({0: [5, 6]})
    for wrong in (
        lambda: engine.extend({3: [1]}),
        lambda: engine.extend({0: []}),
        lambda: engine.extend({0: [1], 1: [1] * (LENGTH + 1)}),
        lambda: engine.generate([1], max_new_tokens=4),
        lambda: engine.generate([0], max_new_tokens=0),
        lambda: make(chunk=0),
        lambda: Engine(CONFIG, PARAMS, stop_ids=(), slots=0),
        lambda: Engine(CONFIG, PARAMS, stop_ids=(), max_length=641),
    ):
        with pytest.raises(EngineError, match="Engine"):
            wrong()
    assert engine.length(0) == 2 and engine.length(1) == 0
