"""The starter's math family: word problems of a few steps, solved with a calculator."""

import hashlib
import random
import re
from collections.abc import Callable
from fractions import Fraction

from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance
from agentbank_jax.environments.calculator import PROTOCOL, CalculatorEnvironment, CalculatorProblem
from agentbank_jax.environments.registry import EnvironmentSpec, check_split
from agentbank_jax.environments.starter import words
from agentbank_jax.environments.starter.stories import LONGER_STORIES, STORIES, THINGS, Story

INSTRUCTION = "Solve the problem. Act with an arithmetic expression such as 12 * 3, or end with Final Answer: number."

THOUGHTS: dict[str, tuple[str, ...]] = {
    "first": (
        "First I need the {what}: {given}.",
        "First I compute the {what}: {given}.",
        "To begin, I need the {what}: {given}.",
        "I start with the {what}: {given}.",
        "Let me first find the {what}: {given}.",
        "The first thing to compute is the {what}: {given}.",
    ),
    "next": (
        "Next I need the {what}: {given}.",
        "Now I compute the {what}: {given}.",
        "Then I need the {what}: {given}.",
        "Now for the {what}: {given}.",
        "Let me now find the {what}: {given}.",
        "The next thing to compute is the {what}: {given}.",
    ),
    "answer": (
        "That is the {what}.",
        "Now I know the {what}.",
        "This gives the {what}.",
        "I have found the {what}.",
        "So this was the {what}.",
        "The {what} is known, so I can answer.",
    ),
}

_LARGEST = 999
# Of every 8 possible problems one is a test problem: which is decided by its hash, so that no
# seed can bring a test problem into training.
_PARTS = 8


def _solve(story: Story, numbers: dict[str, int]) -> list[tuple[str, int]] | None:
    """The expressions with numbers and their values; None unless all values are whole, positive and small."""
    values = dict(numbers)
    solved = []
    for position, (expression, _) in enumerate(story.steps, start=1):
        left, operator, right = expression.split()
        one, other = values[left], values[right]
        if operator == "/" and one % other:
            return None
        value = {"+": one + other, "-": one - other, "*": one * other, "/": one // other}[operator]
        if not 1 < value <= _LARGEST:
            return None
        values[f"s{position}"] = value
        solved.append((f"{one} {operator} {other}", value))
    return solved


def _plain_numbers(low: int, high: int) -> list[int]:
    """Small or round numbers, as word problems tell them; what is computed from them is neither."""
    return [number for number in range(low, high + 1) if number < 10 or number % 10 == 0]


def _draw(story: Story, rng: random.Random) -> tuple[dict[str, int], list[tuple[str, int]]]:
    while True:
        numbers = {
            letter: rng.choice(story.choices.get(letter) or _plain_numbers(low, high))
            for letter, (low, high) in story.numbers.items()
        }
        # Equal numbers would leave open which of the two a step means.
        if len(set(numbers.values())) == len(numbers) and (solved := _solve(story, numbers)):
            return numbers, solved


def _problem(story: Story, rng: random.Random) -> CalculatorProblem:
    numbers, solved = _draw(story, rng)
    people = dict(zip("nmo", rng.sample(words.FIRST_NAMES, 3), strict=True))
    items, others = rng.sample(THINGS[story.things], 2)
    told = {**people, **numbers, "items": items, "others": others}
    sentences = [rng.choice(wordings) for wordings in (*story.sentences, story.questions)]
    question = " ".join(sentences).format(**told)
    plan = []
    what = ""
    told_so = {letter: _told_so(question, number) for letter, number in numbers.items()}
    for position, ((action, value), (expression, gives)) in enumerate(zip(solved, story.steps, strict=True), start=1):
        what = gives.format(**told)
        left, _, right = expression.split()
        slots = {"what": what, "given": f"{told_so[left]}, {told_so[right]}"}
        plan.append(ExpertStep(action=action, intent="next" if position > 1 else "first", slots=slots))
        told_so[f"s{position}"] = f"{what} {value}"
    answer = solved[-1][1]
    plan.append(ExpertStep(action=f"{FINAL_ANSWER_PREFIX} {answer}", intent="answer", slots={"what": what}))
    return CalculatorProblem(question=question, answer=Fraction(answer), plan=tuple(plan))


def _told_so(question: str, number: int) -> str:
    """The number as the question gives it, with the word before it: `gives 50`."""
    found = re.search(rf"(?:[^\s.]+ )?\b{number}\b", question)
    assert found, f"{number} is not told in: {question}"
    return found.group()


def _generator(family: str, stories: tuple[Story, ...]) -> Callable[[str, int], Instance]:
    def instance(split: str, index: int) -> Instance:
        wanted = check_split(split) == "test"
        rng = random.Random(f"{family}/{split}/{index}")
        while True:
            problem = _problem(rng.choice(stories), rng)
            digest = hashlib.sha256(problem.question.encode())
            if (digest.digest()[0] % _PARTS == 0) == wanted:
                break
        return Instance(
            id=f"{family}/{split}/{index}",
            fingerprint=digest.hexdigest(),
            payload=problem,
            difficulty=len(problem.plan) - 1,
        )

    return instance


SPECS = (
    EnvironmentSpec(
        name="starter_math",
        skill="math",
        action_space="continuous",
        max_steps=8,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        make=CalculatorEnvironment,
        instance=_generator("starter_math", STORIES),
    ),
    EnvironmentSpec(
        name="starter_math_longer",
        skill="math",
        action_space="continuous",
        max_steps=10,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        held_out=True,
        make=CalculatorEnvironment,
        instance=_generator("starter_math_longer", LONGER_STORIES),
    ),
)
