from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentbank_jax.agents.model_policy import ModelPolicy
from agentbank_jax.agents.policy import Reply, Request
from agentbank_jax.agents.react import ReAct
from agentbank_jax.errors import AgentBankError
from agentbank_jax.generation.requests import Delta, Generation, GenerationRequest, SamplingParams
from agentbank_jax.trajectories.schema import Turn

STOP = 2


class LetterTemplate:
    """One id a letter; [1] before a user turn."""

    stop_ids = (STOP,)

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        return [1, *(ord(letter) for turn in turns for letter in turn.content)]

    def continuation_ids(self, content: str) -> list[int]:
        return self.prompt_ids([Turn.user(content)])

    def reply_ids(self, content: str, start: int) -> list[int]:
        return [ord(letter) for letter in content[start:]]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token) for token in ids if token != STOP).strip()


class RecordingEngine:
    """Replies what it is told to, and records what it was given to read."""

    def __init__(self, replies: list[Generation], slots: int = 2, length: int = 100) -> None:
        self.slots, self.max_length = slots, length
        self.asked: list[GenerationRequest] = []
        self.released: list[str] = []
        self._under_way: list[GenerationRequest] = []
        self._replies = iter(replies)

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def submit(self, request: GenerationRequest) -> None:
        self.asked.append(request)
        self._under_way.append(request)

    def cancel(self, request_id: str) -> None:
        self._under_way = [request for request in self._under_way if request.id != request_id]

    def release(self, conversation: str) -> None:
        self.released.append(conversation)

    def step(self) -> list[Delta]:
        """One reply ends at a time, in the order of their beginning."""
        request = self._under_way.pop(0)
        assert request.conversation == request.id
        return [Delta(request_id=request.id, generation=next(self._replies))]


def says(text: str, finish: str = "stop") -> Generation:
    ids = [*map(ord, text), *([STOP] if finish == "stop" else [])]
    return Generation(ids=tuple(ids), finish=finish)  # type: ignore[arg-type]


def request(*contents: str, episode: str = "a") -> Request:
    turns = tuple(
        Turn.user(content) if index % 2 == 0 else Turn.assistant(content) for index, content in enumerate(contents)
    )
    return Request(conversation=episode, turns=turns, agent=ReAct())


def policy(engine: RecordingEngine, **options) -> ModelPolicy:
    return ModelPolicy(engine, LetterTemplate(), max_new_tokens=8, vocab_size=1000, **options)  # type: ignore[arg-type]


def ask(model: ModelPolicy, *requests: Request) -> list[Reply]:
    """The replies to some requests, however they arrive."""
    for each in requests:
        model.submit(each)
    replies: dict[str, Reply] = {}
    while len(replies) < len(requests):
        replies |= dict(model.collect())
    return [replies[each.conversation] for each in requests]


def test_a_conversation_is_what_was_generated_and_the_reply_counts_its_stop_token() -> None:
    engine = RecordingEngine([says("look"), says("go")])
    model = policy(engine)
    (first,) = ask(model, request("hi"))
    (second,) = ask(model, request("hi", first.text, "obs"))
    assert (first.text, first.tokens, second.text) == ("look", 5, "go")
    begun = [1, *map(ord, "hilook"), STOP]
    assert [request.ids for request in engine.asked] == [begun[:3], [*begun, 1, *map(ord, "obs")]]


def test_a_reply_cut_off_at_its_limit_is_given_its_stop_token_before_the_observation() -> None:
    engine = RecordingEngine([says("look", "length"), says("go")])
    model = policy(engine)
    (first,) = ask(model, request("hi"))
    assert first.ended is None
    ask(model, request("hi", first.text, "obs"))
    assert engine.asked[1].ids == [1, *map(ord, "hilook"), STOP, 1, *map(ord, "obs")]


def test_a_conversation_that_does_not_fit_is_exhausted_and_its_neighbour_goes_on() -> None:
    engine = RecordingEngine([says("ok")], length=20)
    long, short = ask(policy(engine), request("x" * 19, episode="a"), request("y", episode="b"))
    assert (long.ended, long.text) == ("context_exhausted", "")
    assert (short.ended, short.text) == (None, "ok")


def test_a_reply_that_fills_the_context_ends_the_episode_and_keeps_its_text() -> None:
    (reply,) = ask(policy(RecordingEngine([says("loo", "context")])), request("hi"))
    assert (reply.text, reply.ended) == ("loo", "context_exhausted")


def test_a_released_place_is_given_to_the_next_episode() -> None:
    engine = RecordingEngine([says("a")] * 4)
    model = policy(engine)
    ask(model, request("1", episode="a"), request("2", episode="b"))
    with pytest.raises(AgentBankError, match="more than 2 episodes"):
        ask(model, request("3", episode="c"))
    model.release("a")
    assert engine.released == ["a"]
    assert ask(model, request("3", episode="c"))[0].text == "a"


def test_ids_past_the_vocabulary_have_no_text() -> None:
    generation = Generation(ids=(ord("a"), 5000, ord("b"), STOP), finish="stop")
    assert ask(policy(RecordingEngine([generation])), request("hi"))[0].text == "ab"


def listing(*contents: str, actions: tuple[str, ...] = ("look", "look up")) -> Request:
    return replace(request(*contents), valid_actions=actions)


def test_an_action_is_chosen_among_those_that_the_environment_lists_behind_a_free_thought() -> None:
    thought = Generation(ids=tuple(map(ord, "Thought: x")), finish="stop", stopped_by="\nAction:")
    chosen = (*map(ord, "\nAction: look up"), STOP)
    choice = Generation(ids=chosen, finish="choice", choice=1, choice_logprobs=(-2.0, -1.0))
    engine = RecordingEngine([thought, choice, says("Final Answer: y")])
    model = policy(engine, choose_actions=True)
    (reply,) = ask(model, listing("hi"))
    assert (reply.text, reply.tokens) == ("Thought: x\nAction: look up", 10 + len(chosen))
    free, among = engine.asked
    assert free.sampling.stop == ("\nAction:",) and not free.choices
    assert among.choices == ((*map(ord, "\nAction: look"), STOP), chosen)
    assert among.ids == [*free.ids, *thought.ids]
    # A reply that takes no action needs no choice, and the conversation goes on from what was chosen.
    (last,) = ask(model, listing("hi", reply.text, "obs"))
    assert last.text == "Final Answer: y"
    assert engine.asked[2].ids == [*among.ids, *chosen, 1, *map(ord, "obs")]


def test_a_final_answer_that_the_environment_lists_is_one_of_the_choices() -> None:
    thought = Generation(ids=tuple(map(ord, "Thought: x")), finish="stop", stopped_by="\nFinal Answer:")
    engine = RecordingEngine([thought, Generation(ids=(9, STOP), finish="choice", choice=2)])
    (reply,) = ask(policy(engine, choose_actions=True), listing("hi", actions=("add 1", "add 2", "Final Answer: 0")))
    free, among = engine.asked
    assert free.sampling.stop == ("\nAction:", "\nFinal Answer:")
    assert among.choices[2] == (*map(ord, "\nFinal Answer: 0"), STOP)
    assert reply.text == "Thought: x\nFinal Answer: 0"


def test_only_a_policy_that_chooses_asks_for_the_valid_actions_and_only_when_it_acts() -> None:
    assert policy(RecordingEngine([]), choose_actions=True).wants.valid_actions
    assert not policy(RecordingEngine([])).wants.valid_actions
    engine = RecordingEngine([says("words")])
    ask(policy(engine, choose_actions=True), replace(listing("hi"), purpose="reflect"))
    assert engine.asked[0].sampling.stop == ()


def test_each_reply_draws_with_a_seed_of_its_own_the_same_each_time() -> None:
    def seeds(start: int) -> list[int]:
        engine = RecordingEngine([says("a")] * 3)
        model = policy(engine, sampling=SamplingParams(temperature=1.0, seed=start))
        ask(model, request("hi"), request("hi", episode="b"))
        ask(model, request("hi", "a", "obs"))
        assert {asked.sampling.temperature for asked in engine.asked} == {1.0}
        return [asked.sampling.seed for asked in engine.asked]

    assert seeds(1) == seeds(1) and len({*seeds(1), *seeds(2)}) == 6
