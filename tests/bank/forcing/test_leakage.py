"""Leaks, by hand: what a step says before anything has shown it, and what it may say."""

import os
from itertools import islice
from pathlib import Path

import pytest

from agentbank_jax.bank import thoughts
from agentbank_jax.bank.forcing.known_answer import KnownAnswer, known_answer
from agentbank_jax.bank.forcing.leakage import computed_in, find_leak, is_formula, is_short
from agentbank_jax.bank.forcing.replies import REACT
from agentbank_jax.bank.rationales.template_rationales import word
from agentbank_jax.environments import registry
from agentbank_jax.environments.gsm8k_rows import read_problems
from agentbank_jax.environments.turn_text import stated_answer
from agentbank_jax.trajectories.schema import Trajectory
from tests.bank.made import gsm8k_trajectory

SHELTER = "John volunteers at a shelter twice a month for 3 hours at a time. How many hours does he volunteer per year?"
BORN = "Which country was the author of Emma born in?"


def leak(answer: str, shown: str | tuple[str, ...], thought: str, action: str, *aliases: str) -> str | None:
    known = KnownAnswer(kind="stated", text=answer, accepted=(answer, *aliases))
    return find_leak(known, (shown,) if isinstance(shown, str) else shown, thought, action)


LEAKS = {
    "number in a Thought": ("72", SHELTER, "He volunteers 72 hours, so first the months.", "2 * 12"),
    "number with a comma": ("1,200", "How much?", "It must come to 1200.", "3 * 4"),
    "number in words": ("72", SHELTER, "It should be seventy-two.", "2 * 12"),
    "number with a unit": ("$72", SHELTER, "I aim at 72.00 dollars.", "2 * 12"),
    "decimal by value": ("0.5", "What part?", "It comes to .50 here.", "1 * 3"),
    "percentage as a part": ("75%", "What share?", "The share is 0.75.", "3 * 4"),
    "number as an action": ("72", SHELTER, "I check a number.", "72"),
    "number within an action": ("72", SHELTER, "I check a number.", "72 * 1"),
    "number within a program": ("72", SHELTER, "I print it.", "```python\nprint(72)\n```"),
    "number before its equation": ("72", SHELTER, "It is 72, for 2 * 3 * 12 = 72.", "2 * 3 * 12"),
    "an equation that does not hold": ("72", SHELTER, "2 * 3 = 72.", "2 * 3"),
    "an equation from numbers that nobody told": ("72", SHELTER, "70 + 2 = 72.", "2 * 3"),
    "an action from numbers that nobody told": ("72", SHELTER, "I add.", "70 + 2"),
    "an action from small numbers alone": ("35", "How many are there?", "I multiply.", "5 * 7"),
    "a final answer that nothing shows": ("72", SHELTER, "I can answer.", "Final Answer: 72"),
    "a fraction": ("3/4", "What part of it?", "The part is 3/4.", "search[part]"),
    "a fraction in LaTeX": (r"\dfrac{3}{4}", "What part of it?", r"It is \frac{3}{4}.", "1 * 3"),
    "a fraction in LaTeX, in digits": (r"\frac{3}{4}", ("What part?", "12"), "It comes to 3 / 4.", "3 * 4"),
    "a formula in a program": (r"2\sqrt{3}", "How long?", "I print it.", "```python\nprint(r'2 \\sqrt{3}')\n```"),
    "an interval in a Thought": ("(3, 5]", ("Solve it.", "x"), "All of (3,5] will do.", "3 * 5"),
    "a formula with nothing computed": ("x^2 + 1", "Expand it.", "I can say.", "Final Answer: x^2+1"),
    "text in a Thought": ("England", BORN, "Jane Austen was born in England.", "search[Emma]"),
    "text in an action": ("England", BORN, "I search.", "search[england authors]"),
    "text in other letters": ("The Beatles", "Who sang Help!?", "The BEATLES' song.", "search[Help]"),
    "an alias": ("United Kingdom", BORN, "It is the UK, I think. Great Britain.", "search[Emma]", "Great Britain"),
    "half of a name": ("Barack Obama", "Who was the 44th president?", "I look up Obama.", "search[44th president]"),
    "a final answer in text that nothing shows": ("England", BORN, "I can answer.", "Final Answer: England"),
    "yes declared": ("yes", "Is it so?", "The answer is yes, but I check.", "search[it]"),
    "a small number declared": ("5", "How many are left?", "The answer should be 5.", "3 * 4"),
    "yes with nothing looked up": ("yes", "Is it so?", "It is so.", "Final Answer: yes"),
    "a small number with nothing computed": ("5", "How many are left?", "I can say.", "Final Answer: 5"),
    "told so: known answer": ("72", SHELTER, "To reach the known answer I multiply.", "2 * 12"),
    "told so: was given": ("72", SHELTER, "I was given the answer, so I work back.", "2 * 12"),
    "told so: expected answer": ("72", SHELTER, "This matches the expected answer.", "2 * 12"),
}

FINE = {
    "the paper's example": ("72", SHELTER, "First, I calculate the number of times in a year.", "2 * 12"),
    "its next step": ("72", (SHELTER, "24"), "Each time is 3 hours.", "24 * 3"),
    "its answer": ("72", (SHELTER, "24", "72"), "That is the number of hours.", "Final Answer: 72"),
    "said once observed": ("72", (SHELTER, "24", "72"), "So he volunteers 72 hours.", "Final Answer: 72 hours"),
    "computed before the reader": ("72", SHELTER, "2 * 3 = 6, and 6 * 12 = 72, so it is 72.", "Final Answer: 72"),
    "computed in an earlier Thought": ("72", (SHELTER, "72"), "I can answer.", "Final Answer: 72"),
    "the number is in the question": ("72", "Of 72 apples 5 are bad, and 5 come. How many?", "72 are there.", "72 - 5"),
    "in the question in words": ("12", "A dozen eggs. Twelve. How many?", "12 eggs.", "12 * 1"),
    "half of an operand": ("72", "She has 144 and gives half away.", "I halve 144.", "144/2"),
    "a percentage of an operand": ("180", "20% off a price of 225.", "Four fifths are left.", "225 * 0.8"),
    "digits within another number": ("72", SHELTER, "There are 172 or 720 or 7.2.", "2 * 12"),
    "a fraction that was printed": (r"\frac{3}{4}", ("What part?", "3/4"), "It is 3/4.", r"Final Answer: \frac{3}{4}"),
    "a fraction computed as a decimal": ("3/4", ("What part?", "0.75"), "It is 3/4.", "Final Answer: 3/4"),
    "a formula that was printed": (r"\sqrt{3}", ("How long?", "sqrt(3)"), r"\sqrt{3}.", r"Final Answer: \sqrt{3}"),
    "a formula in the question": ("x^2 + 1", "What is the degree of $x^2+1$?", "I look at x^2 + 1.", "2 * 1"),
    "a part of another fraction": ("3/4", "What part of it?", "I begin with 13/48.", "13 / 48"),
    "text once observed": ("England", (BORN, "Jane Austen was born in England."), "England.", "Final Answer: England"),
    "text in the question": ("Lyon", "Is Lyon or Paris larger?", "I compare Lyon and Paris.", "search[Lyon]"),
    "a word of a name that is none": ("New York City", "Where is it?", "I look for the city.", "search[city]"),
    "a part of another word": ("Iran", "Which country?", "The Iranian question.", "search[country]"),
    "no for a word of the language": ("no", "Is it so?", "There is no doubt that I must search.", "search[it]"),
    "yes at the end": ("yes", ("Is it so?", "It is so."), "The answer is yes.", "Final Answer: yes"),
    "a small number by chance": ("5", "How many are left?", "I need about 5 steps for this.", "search[left]"),
    "a letter by chance": ("b", "Which? a ) 3 b ) 4", "Option a or b: I compute.", "3 + 1"),
    "a choice among given answers": ("72", SHELTER, "None of the given answer choices is computed yet.", "2 * 12"),
    "another wrong answer": ("72", SHELTER, "I guess.", "Final Answer: 73"),
}


@pytest.mark.parametrize("case", LEAKS.values(), ids=LEAKS)
def test_a_leak_is_found(case) -> None:
    assert leak(*case)


@pytest.mark.parametrize("case", FINE.values(), ids=FINE)
def test_what_was_shown_or_is_short_may_be_said(case) -> None:
    assert leak(*case) is None


def test_what_a_thought_computes_counts_as_shown() -> None:
    assert computed_in("2 * 3 = 6, and 6 * 12 = 72; 70 + 2 = 72.", (SHELTER,)) == ("6", "72")


def test_short_answers_are_truths_letters_and_single_digits() -> None:
    assert all(map(is_short, ("yes", "No", "True", "b", "Io", "9", "-3", "$4")))
    assert not any(map(is_short, ("10", "0.5", "Ann", "yes it is", "3/4")))


def test_formulas_are_written_in_signs_and_names_are_not() -> None:
    assert all(map(is_formula, (r"\frac{3}{4}", r"\text{(B)}", "(3,5]", "x^2+1", r"10\%", "b=4", "4,6,14", "4-4-2")))
    assert not any(map(is_formula, ("Barack Obama", "C++", "July 4, 1776", "COVID-19", "Help! (song)", "AC/DC", "U2")))


def test_a_program_leaks_only_by_saying_that_one_is_known() -> None:
    program = KnownAnswer(kind="program", text="```python\nx = 1\n```", accepted=("```python\nx = 1\n```",))
    assert find_leak(program, ("Write x.",), "I assign.", "```python\nx = 1\n```") is None
    assert find_leak(program, ("Write x.",), "I copy the reference solution.", "```python\nx = 1\n```")


@pytest.mark.parametrize("name", ["starter_math", "starter_reasoning", "starter_programming"])
def test_no_experts_trajectory_of_the_starter_leaks(name: str) -> None:
    spec = registry.get(name)
    for index in range(60):
        instance = spec.instance("train", index)
        environment = spec.make()
        answer = known_answer(environment, instance)
        assert answer is not None
        question, _ = environment.reset(options={"instance": instance})
        shown = [question]
        for step in environment.expert_steps():
            thought = word(thoughts.templates_of(name), step, index)
            assert find_leak(answer, shown, thought, step.action) is None, (shown, thought, step.action)
            shown.append(environment.step(step.action)[0])
        environment.close()


def test_an_embodied_expert_publishes_no_answer() -> None:
    spec = registry.get("starter_embodied")
    assert known_answer(spec.make(), spec.instance("train", 0)) is None


def test_of_gsm8ks_own_solutions_hardly_any_is_taken_for_a_leak() -> None:
    folder = os.environ.get("AGENTBANK_TEST_DATA")
    if not folder:
        pytest.skip("AGENTBANK_TEST_DATA is unset; it names a folder with gsm8k/train.jsonl.gz")
    problems = islice(read_problems(Path(folder) / "gsm8k" / "train.jsonl.gz", "train"), 1000)
    items = [gsm8k_trajectory(problem) for problem in problems]
    trajectories = [item for item in items if isinstance(item, Trajectory)]
    leaking = sum(_leaks(trajectory) for trajectory in trajectories)
    assert len(trajectories) > 950 and leaking / len(trajectories) < 0.03


def _leaks(trajectory: Trajectory) -> bool:
    said = [parsed for turn in trajectory.turns if turn.trained and (parsed := REACT.parse(turn.content))]
    told = [turn.content for turn in trajectory.turns if turn.role == "user"]
    answer = stated_answer(said[-1].action)
    assert answer is not None
    known, shown = KnownAnswer(kind="stated", text=answer, accepted=(answer,)), []
    for observation, step in zip(told, said, strict=True):
        shown.append(observation)
        if find_leak(known, shown, step.thought, step.action) is not None:
            return True
        shown += computed_in(step.thought, shown)
    return False
