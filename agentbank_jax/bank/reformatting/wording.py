"""Sentences of which reformatted Thoughts are made, where the data have names and no sentences."""

import random
from collections.abc import Mapping, Sequence

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.environments.base import ExpertStep

PHRASES: Mapping[str, tuple[str, ...]] = {
    "look_for": (
        "I look for {title}.",
        "I need to know about {title}.",
        "Let me search for {title}.",
        "I should find {title}.",
    ),
    "look_for_next": (
        "Next I look for {title}.",
        "Now I need to know about {title}.",
        "Let me search for {title} too.",
        "Then I should find {title}.",
    ),
    "search_question": (
        "I do not know yet what this is about, so I search for the question.",
        "The question itself is what I search for first.",
        "I begin with a search for what the question says.",
    ),
    "therefore": (
        "So the answer is {answer}.",
        "Therefore the answer is {answer}.",
        "That makes the answer {answer}.",
    ),
    "known": (
        "What I have found answers the question: {answer}.",
        "Now I know the answer: {answer}.",
        "That answers the question: {answer}.",
    ),
    "show_tables": (
        "First I look at the tables.",
        "I start with the list of tables.",
        "I need to know the tables first.",
    ),
    "describe": (
        "I need the columns of {table}.",
        "Let me see the columns of {table}.",
        "I look at the columns of {table}.",
    ),
    "submit": (
        "The result answers the question, so I submit it.",
        "This is what was asked for. I submit.",
        "The rows are the answer; I submit them.",
    ),
    "option": (
        "{value} is option {letter}.",
        "Option {letter} says {value}.",
        "Of the options, {letter} is {value}.",
    ),
    "near_option": (
        "{value} is nearest to option {letter}.",
        "Of the options, {letter} comes nearest to {value}.",
    ),
}


class Wording:
    """One voice for a whole trajectory: what it says follows from the instance's id.

    Args:
      identifier: of the instance.
      seed: another one gives other words.
    """

    def __init__(self, identifier: str, seed: int) -> None:
        # A string seeds `Random` by its SHA-512, the same in every process.
        self._voice = random.Random(f"{seed}/{identifier}").randrange(1 << 16)

    def say(self, name: str, /, **slots: str) -> str:
        """One of the sentences of a name out of `PHRASES`, filled with `slots`."""
        return self.choose(PHRASES[name]).format_map(slots)

    def choose(self, sentences: Sequence[str]) -> str:
        """The sentence that the voice takes."""
        return sentences[self._voice % len(sentences)]


def reformatted(steps: Sequence[ExpertStep], thoughts: Sequence[str]) -> ActionSequence:
    """Steps that the data hold, with a Thought for each; their number is their cost."""
    assert len(steps) == len(thoughts), "each step has a Thought"
    return ActionSequence(
        steps=tuple(steps), method="reformatting", thoughts=tuple(thoughts), cost={"steps": float(len(steps))}
    )


def sentence(text: str) -> str:
    """A text as one line that begins like a sentence and ends like one."""
    text = " ".join(text.split())
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?:' else '.'}"
