from collections.abc import Sequence

import pytest

from agentbank_jax.agents.model_policy import ModelPolicy
from agentbank_jax.agents.policy import Reply, Request
from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.engine import Generation
from agentbank_jax.trajectories.schema import Turn
from tests.agents.counting import CountingEnvironment

STOP = 2


class LetterTemplate:
    """One id a letter; [1] before a user turn."""

    stop_ids = (STOP,)

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        return [1, *(ord(letter) for turn in turns for letter in turn.content)]

    def continuation_ids(self, content: str) -> list[int]:
        return self.prompt_ids([Turn.user(content)])

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token) for token in ids if token != STOP).strip()


class RecordingEngine:
    """Replies what it is told to, and records what it was given to read."""

    def __init__(self, replies: list[Generation], slots: int = 2, length: int = 100) -> None:
        self.slots = slots
        self.length = length
        self.used = [0] * slots
        self.begun: list[int] = []
        self.read: list[tuple[int, list[int]]] = []
        self._replies = iter(replies)

    def room(self, slot: int) -> int:
        return self.length - self.used[slot]

    def reset(self, slot: int) -> None:
        self.used[slot] = 0

    def extend(self, additions: dict[int, list[int]]) -> None:
        for slot, ids in additions.items():
            self.read.append((slot, ids))
            self.used[slot] += len(ids)

    def begin(self, slot: int, *, max_new_tokens: int) -> None:
        self.begun.append(slot)

    def advance(self) -> dict[int, Generation]:
        """One reply ends at a time, in the order of their beginning."""
        slot = self.begun.pop(0)
        generation = next(self._replies)
        self.used[slot] += len(generation.ids)
        return {slot: generation}


def says(text: str, finish: str = "stop") -> Generation:
    ids = [*map(ord, text), *([STOP] if finish == "stop" else [])]
    return Generation(ids=tuple(ids), finish=finish)  # type: ignore[arg-type]


def request(*contents: str, episode: str = "a") -> Request:
    turns = tuple(
        Turn.user(content) if index % 2 == 0 else Turn.assistant(content) for index, content in enumerate(contents)
    )
    return Request(episode_id=episode, turns=turns, environment=CountingEnvironment(), seed=0)


def policy(engine: RecordingEngine) -> ModelPolicy:
    return ModelPolicy(engine, LetterTemplate(), max_new_tokens=8, vocab_size=1000)  # type: ignore[arg-type]


def ask(model: ModelPolicy, *requests: Request) -> list[Reply]:
    """The replies to some requests, however they arrive."""
    for each in requests:
        model.submit(each)
    replies: dict[str, Reply] = {}
    while len(replies) < len(requests):
        collected = model.collect()
        assert collected
        replies |= dict(collected)
    return [replies[each.episode_id] for each in requests]


def test_only_what_is_new_is_read_and_the_reply_counts_its_stop_token() -> None:
    engine = RecordingEngine([says("look"), says("go")])
    model = policy(engine)
    (first,) = ask(model, request("hi"))
    (second,) = ask(model, request("hi", first.text, "obs"))
    assert (first.text, first.tokens, second.text) == ("look", 5, "go")
    assert engine.read == [(0, [1, *map(ord, "hi")]), (0, [1, *map(ord, "obs")])]


def test_a_reply_cut_off_at_its_limit_is_given_its_stop_token_before_the_observation() -> None:
    engine = RecordingEngine([says("look", "length"), says("go")])
    model = policy(engine)
    (first,) = ask(model, request("hi"))
    assert first.ended is None
    ask(model, request("hi", first.text, "obs"))
    assert engine.read[1] == (0, [STOP, 1, *map(ord, "obs")])


def test_a_conversation_that_does_not_fit_is_exhausted_and_its_neighbour_goes_on() -> None:
    engine = RecordingEngine([says("ok")], length=20)
    long, short = ask(policy(engine), request("x" * 19, episode="a"), request("y", episode="b"))
    assert (long.ended, long.text) == ("context_exhausted", "")
    assert (short.ended, short.text) == (None, "ok")


def test_a_reply_that_fills_the_context_ends_the_episode_and_keeps_its_text() -> None:
    (reply,) = ask(policy(RecordingEngine([says("loo", "context")])), request("hi"))
    assert (reply.text, reply.ended) == ("loo", "context_exhausted")


def test_a_released_place_is_given_to_the_next_episode() -> None:
    model = policy(RecordingEngine([says("a")] * 4))
    ask(model, request("1", episode="a"), request("2", episode="b"))
    with pytest.raises(AgentBankError, match="more than 2 episodes"):
        ask(model, request("3", episode="c"))
    model.release("a")
    assert ask(model, request("3", episode="c"))[0].text == "a"


def test_ids_past_the_vocabulary_have_no_text() -> None:
    generation = Generation(ids=(ord("a"), 5000, ord("b"), STOP), finish="stop")
    assert ask(policy(RecordingEngine([generation])), request("hi"))[0].text == "ab"
