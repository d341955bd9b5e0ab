import pytest

from agentbank_jax.agents.chat import Chat, ChatError
from agentbank_jax.generation.requests import SamplingParams
from agentbank_jax.trajectories.schema import Turn
from tests.generation.made import Bytes, make_engine, plain_greedy

STOP = 60


class Template:
    """One id a letter; no markers, so that a reply and what follows it stand side by side."""

    stop_ids = (STOP,)

    def prompt_ids(self, turns) -> list[int]:
        return [ord(letter) - 65 for turn in turns for letter in turn.content]

    def continuation_ids(self, content: str) -> list[int]:
        return self.prompt_ids([Turn.user(content)])

    def reply_ids(self, content: str, start: int) -> list[int]:
        return self.prompt_ids([Turn.user(content[start:])])

    def decode(self, ids) -> str:
        return Bytes().decode(ids)


def make_chat(**options) -> Chat:
    return Chat(
        make_engine(slots=1, stop_ids=(STOP,)), Template(), sampling=SamplingParams(max_new_tokens=6), **options
    )


def test_each_turn_goes_on_from_the_tokens_before_it_and_reads_them_once() -> None:
    chat = make_chat(system="SYS")
    first = "".join(chat.say("ABC"))
    ids = Template().prompt_ids([Turn.user("SYSABC")])
    reply = plain_greedy(ids, 6, (STOP,))
    assert first == Bytes().decode([token for token in reply if token != STOP])
    second = "".join(chat.say("XY"))
    ids = [*ids, *reply, *([] if reply[-1] == STOP else [STOP]), *Template().continuation_ids("XY")]
    assert second == Bytes().decode([token for token in plain_greedy(ids, 6, (STOP,)) if token != STOP])
    assert [turn.content for turn in chat.turns] == ["SYS", "ABC", first, "XY", second]
    assert chat.last is not None and chat.last.cached_tokens >= len(ids) - 4


def test_a_reply_that_is_left_is_no_part_of_the_conversation() -> None:
    chat = make_chat()
    left = chat.say("ABC")
    next(left)
    left.close()
    assert chat.turns == [] and chat.last is None
    assert "".join(chat.say("ABC")) == "".join(make_chat().say("ABC"))


def test_a_new_beginning_forgets_all_but_the_instruction() -> None:
    chat = make_chat(system="SYS")
    first = "".join(chat.say("ABC"))
    chat.restart()
    assert "".join(chat.say("ABC")) == first
    chat.restart("")
    assert chat.turns == [] and "".join(chat.say("ABC")) == "".join(make_chat().say("ABC"))


def test_a_turn_without_room_is_refused_and_leaves_the_conversation_as_it_was() -> None:
    chat = make_chat()
    "".join(chat.say("ABC"))
    turns = list(chat.turns)
    with pytest.raises(ChatError, match="expected fewer than 96"):
        list(chat.say("A" * 96))
    assert chat.turns == turns and "".join(chat.say("B"))


def test_the_largest_seed_has_a_successor() -> None:
    sampling = SamplingParams(max_new_tokens=2, temperature=1.0, seed=2**63 - 1)
    chat = Chat(make_engine(slots=1), Template(), sampling=sampling)
    for _ in range(2):
        list(chat.say("ABC"))
    assert len(chat.turns) == 4
