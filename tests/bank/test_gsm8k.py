"""GSM8K's worked solutions as trajectories: what is kept, what is dropped, and how Thoughts read."""

import os
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from agentbank_jax.bank.equations import numbers
from agentbank_jax.bank.gsm8k_solution import known_numbers
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.calculator import CalculatorEnvironment, CalculatorProblem
from agentbank_jax.environments.gsm8k_rows import Problem, read_problems
from agentbank_jax.trajectories.schema import Trajectory
from tests.bank.made import gsm8k_trajectory

QUESTION = "Ann has 12 boxes of 4 pens. She gives half of the pens to Bo. How many pens are left?"


def convert(solution: str, answer: str, question: str = QUESTION) -> Trajectory | Drop:
    return gsm8k_trajectory(Problem(split="train", number=1, question=question, solution=solution, answer=answer))


def said(item: Trajectory | Drop) -> list[str]:
    assert isinstance(item, Trajectory), item
    return [turn.content for turn in item.turns if turn.role == "assistant"]


def test_annotations_become_actions_and_the_environment_observes() -> None:
    item = convert("Ann has 12*4 = <<12*4=48>>48 pens.\nShe keeps 48/2 = <<48/2=24>>24 pens.", "24")
    assert isinstance(item, Trajectory)
    assert [turn.content for turn in item.turns[:-1]] == [
        QUESTION,
        "Thought: Ann has 12*4 pens.\nAction: 12 * 4",
        "Observation: 48",
        "Thought: She keeps 48/2 pens.\nAction: 48 / 2",
        "Observation: 24",
    ]
    assert item.turns[-1].content.endswith("\nFinal Answer: 24")


def test_a_result_told_before_it_is_computed_is_taken_out_of_the_thought() -> None:
    first, *_ = said(convert("There are 48 pens in her boxes because 12 x 4 = <<12*4=48>>48", "48"))
    assert first == "Thought: There are 12 * 4 pens in her boxes.\nAction: 12 * 4"


def test_units_are_not_said_twice() -> None:
    first, *_ = said(convert("In total 12 boxes x 4 pens = <<12*4=48>>48 pens", "48"))
    assert first == "Thought: In total 12 * 4 pens.\nAction: 12 * 4"


def test_the_observation_is_the_environments_where_the_annotation_is_wrong() -> None:
    item = convert("She has 12*4=<<12*4=50>>50.\nShe keeps 48/2=<<48/2=24>>24.", "24")
    assert isinstance(item, Trajectory)
    assert item.turns[2].content == "Observation: 48"


def test_unannotated_steps_count() -> None:
    assert said(convert("She has 12*4 = 48 pens.\nShe keeps 48 pens / 2 = 24 pens.", "24"))[1].endswith(
        "Action: 48 / 2"
    )


def test_unknowns_are_solved_for() -> None:
    lines = said(convert("Let p be the pens.\n2p = 48\nDividing both sides by 2 gives p = 24", "24"))
    assert lines[0].endswith("Action: 48 / 2")


@pytest.mark.parametrize(
    ("solution", "answer", "reason"),
    [
        ("The answer is <<24=24>>24.", "24", "no_expression"),
        ("She has 12*4=<<12*4=48>>48.", "24", "answer_not_computed"),
        ("She has 12*4=<<12*4=48>>48.\nShe keeps 30*1=<<30*1=30>>30.", "30", "pasted_answer"),
        ("She has 12*4=<<12*4=48>>48.\nShe keeps 30+0=<<30+0=30>>30.", "30", "pasted_answer"),
        ("She has 12*4=<<12*4=48>>48.\n48/5=<<48/5=9.6>>9.6 rounds up", "10", "rounded_answer"),
        ("She pays 12*.04=<<12*.04=.48>>.48 dollars.", "48", "other_unit"),
        ("She has 12/0=<<12/0=1>>1.", "1", "no_expression"),
    ],
)
def test_what_the_environment_does_not_compute_is_dropped_with_its_reason(
    solution: str, answer: str, reason: str
) -> None:
    item = convert(solution, answer)
    assert isinstance(item, Drop)
    assert item.reason == reason


def test_a_known_operand_that_equals_the_answer_is_no_paste() -> None:
    assert said(convert("She keeps 12-0... no, 24-12=<<24-12=12>>12 boxes", "12"))
    assert said(convert("She has 6+6=<<6+6=12>>12.", "12", question="How many?"))


def test_the_same_seed_gives_the_same_words() -> None:
    problem = Problem(split="train", number=3, question=QUESTION, solution="12*4=<<12*4=48>>48", answer="48")
    assert gsm8k_trajectory(problem, seed=4) == gsm8k_trajectory(problem, seed=4)
    assert len({said(gsm8k_trajectory(problem, seed=seed))[0] for seed in range(20)}) > 1


@pytest.fixture(scope="module")
def published() -> list[tuple[Problem, Trajectory | Drop]]:
    folder = os.environ.get("AGENTBANK_TEST_DATA")
    if not folder:
        pytest.skip("AGENTBANK_TEST_DATA is unset; it names a folder with gsm8k/train.jsonl.gz")
    problems = read_problems(Path(folder) / "gsm8k" / "train.jsonl.gz", "train")
    return [(problem, gsm8k_trajectory(problem)) for problem in problems]


def test_98_percent_of_the_published_rows_are_kept(published: list[tuple[Problem, Trajectory | Drop]]) -> None:
    reasons = Counter(item.reason for _, item in published if isinstance(item, Drop))
    assert len(published) == 7473
    assert len(published) - sum(reasons.values()) >= 0.98 * len(published), reasons


def test_every_kept_row_replays_to_reward_1(published: list[tuple[Problem, Trajectory | Drop]]) -> None:
    for problem, item in published:
        if isinstance(item, Drop):
            continue
        environment = CalculatorEnvironment()
        payload = CalculatorProblem(question=problem.question, answer=Fraction(problem.answer))
        observation, _ = environment.reset(
            options={"instance": Instance(id=problem.id, fingerprint=problem.fingerprint, payload=payload)}
        )
        reward, info = 0.0, {}
        for index, turn in enumerate(item.turns):
            if turn.role == "user":
                assert turn.content == (f"Observation: {observation}" if index else observation)
            else:
                action = turn.content.rpartition("\n")[2].removeprefix("Action: ")
                observation, reward, _, _, info = environment.step(action)
        assert reward == 1.0
        assert info["answer_computed"]


def test_no_thought_tells_the_answer_before_it_is_computed(
    published: list[tuple[Problem, Trajectory | Drop]],
) -> None:
    for problem, item in published:
        if isinstance(item, Drop):
            continue
        known = {value for _, _, value in numbers(problem.question)}
        known |= known_numbers(problem.question)
        answer = Fraction(problem.answer)
        for turn in item.turns[:-1]:
            thought, _, action = turn.content.partition("\nAction: ")
            if turn.role == "user":
                known |= {value for _, _, value in numbers(turn.content)}
                continue
            operands = {value for _, _, value in numbers(action)}
            assert "<<" not in thought
            assert not re.search(r"[a-z]\s*$", thought)
            if answer not in known | operands:
                assert answer not in {value for _, _, value in numbers(thought)}, (item.id, turn.content)
