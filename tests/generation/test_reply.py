import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbank_jax.generation.programs import Scores
from agentbank_jax.generation.reply import Reply
from agentbank_jax.generation.requests import Delta, GenerationRequest, SamplingParams
from tests.generation.made import Bytes, ask, make_engine, make_ids, plain_greedy, reply_of

STOP = 99


def ids_of(text: str) -> list[int]:
    """Ids of capital letters, and of `€` in its three parts."""
    return [token for letter in text for token in ((57, 58, 59) if letter == "€" else (ord(letter) - 65,))]


def reply(stop: tuple[str, ...] = (), *, stream: bool = True, count: int = 100, logprobs: int | None = None) -> Reply:
    sampling = SamplingParams(max_new_tokens=count, stop=stop, logprobs=logprobs)
    return Reply(
        GenerationRequest(id="r", ids=(1,), sampling=sampling, stream=stream), stop_ids=(STOP,), decode=Bytes().decode
    )


def take(reply: Reply, ids: list[int], *, stopped: bool = False) -> Delta | None:
    scores = Scores(-np.array(ids, float), np.zeros((len(ids), 1), int), np.zeros((len(ids), 1)))
    return reply.take(ids, stopped=stopped, scores=scores, full=False)


def test_a_stop_string_that_spans_tokens_and_calls_ends_the_text_and_the_ids_before_it() -> None:
    under_way = reply(("END",), logprobs=0)
    deltas = [take(under_way, ids_of(part)) for part in ("AB", "CE", "N", "DXY")]
    assert [(delta.text, list(delta.ids)) for delta in deltas if delta] == [
        ("AB", ids_of("AB")), ("C", ids_of("C")), ("", []),
    ]  # fmt: skip
    assert deltas[2] is None
    generation = under_way.generation
    assert generation is not None and generation.text == "ABC" and list(generation.ids) == ids_of("ABC")
    assert (generation.finish, generation.stopped_by) == ("stop", "END")
    assert [place.token for place in generation.logprobs] == ids_of("ABC") == under_way.ids


def test_of_several_stop_strings_the_one_that_is_complete_first_counts_and_of_two_the_longer() -> None:
    under_way = reply(("ZZ", "CD", "D"), stream=False)
    delta = take(under_way, ids_of("ABCDZZ"))
    assert delta is not None and delta.generation is not None
    assert (delta.generation.text, delta.generation.stopped_by) == ("AB", "CD")


def test_what_looked_like_a_stop_string_is_told_when_it_was_none() -> None:
    under_way = reply(("END",))
    assert take(under_way, ids_of("AEN")).text == "A"  # type: ignore[union-attr]
    assert take(under_way, ids_of("X")).text == "ENX"  # type: ignore[union-attr]
    last = take(under_way, [*ids_of("E"), STOP], stopped=True)
    assert last is not None and last.text == "E" and last.generation is not None
    assert last.generation.text == "AENXE" and last.generation.ids[-1] == STOP


def test_a_character_of_several_tokens_is_told_whole_and_with_all_its_tokens() -> None:
    under_way = reply()
    deltas = [take(under_way, [token]) for token in ids_of("A€B")]
    assert deltas[1] is deltas[2] is None
    told = [(delta.text, list(delta.ids)) for delta in deltas if delta]
    assert told == [(letter, ids_of(letter)) for letter in "A€B"]


def test_a_token_that_the_stop_string_shares_leaves_but_its_text_before_stays() -> None:
    class Pairs(Bytes):
        def decode(self, ids):
            return "".join({1: "ab", 2: "cE", 3: "ND"}[token] for token in ids)

    sampling = SamplingParams(max_new_tokens=9, stop=("END",))
    under_way = Reply(GenerationRequest(id="r", ids=(1,), sampling=sampling), stop_ids=(), decode=Pairs().decode)
    delta = under_way.take([1, 2, 3], stopped=False, scores=None, full=False)
    assert delta is not None and delta.generation is not None
    assert (delta.generation.text, delta.generation.ids) == ("abc", (1,))


@given(
    text=st.text("ABEND€", max_size=30),
    stops=st.lists(st.text("ABEND€", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    ends=st.booleans(),
)
def test_however_the_tokens_come_the_deltas_make_the_reply_and_end_at_the_stop_string_that_is_complete_first(
    text: str, stops: list[str], cuts: list[int], ends: bool
) -> None:
    ids, under_way, deltas = ids_of(text), reply(tuple(stops)), []
    if ends:
        ids.append(STOP)
    while ids and under_way.generation is None:
        count = cuts[len(deltas) % len(cuts)]
        part, ids = ids[:count], ids[count:]
        deltas.append(take(under_way, part, stopped=STOP in part))
    if under_way.generation is None:
        deltas.append(under_way.take([], stopped=False, scores=None, full=True))
    told = [delta for delta in deltas if delta is not None]
    generation = under_way.generation
    assert generation is not None
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    first = min(found, default=(None, None))[1]
    assert generation.text == (text if first is None else text[:first])
    assert "".join(delta.text for delta in told) == generation.text
    assert tuple(token for delta in told for token in delta.ids) == generation.ids
    assert generation.ids == tuple(ids_of(generation.text)) + ((STOP,) if ends and first is None else ())


def test_the_engine_forgets_the_tokens_of_a_stop_string() -> None:
    ids = make_ids(3, 12)
    expected = plain_greedy(ids, 8)
    text = Bytes().decode(expected)
    engine = make_engine()
    generation = reply_of(engine, ask("a", ids, 8, "a", stop=(text[3:5],)))
    place = text.index(text[3:5])
    assert generation.text == text[:place] and list(generation.ids) == expected[:place]
    after = [*ids, *generation.ids, 5, 6]
    follow_up = reply_of(engine, ask("a", after, 5, "a"))
    assert list(follow_up.ids) == plain_greedy(after, 5)
    assert follow_up.cached_tokens == len(ids) + place


def test_streamed_deltas_come_while_the_reply_is_under_way() -> None:
    engine = make_engine()
    request = GenerationRequest(id="a", ids=make_ids(3, 12), sampling=SamplingParams(max_new_tokens=10), stream=True)
    engine.submit(request)
    deltas = []
    while engine.busy:
        deltas += engine.step()
    assert len(deltas) == 3 and [delta.generation is None for delta in deltas] == [True, True, False]
    assert [token for delta in deltas for token in delta.ids] == plain_greedy(request.ids, 10)
    assert "".join(delta.text for delta in deltas) == deltas[-1].generation.text


@pytest.mark.parametrize("seed", range(5))
def test_text_of_random_bytes_is_that_of_all_tokens_at_once(seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 60, 50).tolist()
    under_way = reply(count=50)
    told = [take(under_way, [token]) for token in ids]
    assert "".join(delta.text for delta in told if delta) == Bytes().decode(ids) == under_way.generation.text  # type: ignore[union-attr]
