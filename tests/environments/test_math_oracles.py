"""The published answers of the real files pass, and wrong ones do not."""

import random
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from agentbank_jax.environments import registry
from agentbank_jax.environments.answer_algebra import Algebra
from agentbank_jax.environments.answer_text import key, read_number, simplify
from agentbank_jax.environments.answers import AnswerJudge, PublishedAnswer

WRONG_ANSWERS = 500
NEXT_LETTER = {**{letter: chr(ord(letter) + 1) for letter in "abcd"}, "e": "a"}


def failures(name: str) -> list[str]:
    """The ids of a task's test problems that its expert does not solve."""
    spec = registry.get(name)
    if (reason := spec.available()) is not None:
        pytest.skip(reason)
    environment = spec.make()
    failed = []
    for index in range(spec.size("test") or 0):
        instance = spec.instance("test", index)
        environment.reset(options={"instance": instance})
        steps = environment.expert_steps()
        *_, (_, reward, terminated, _, info) = [environment.step(step.action) for step in steps]
        if not (terminated and reward == 1 and info["success"] and len(steps) <= spec.max_steps):
            failed.append(instance.id)
    environment.close()
    return failed


@pytest.mark.parametrize(("name", "size"), [("gsm8k", 660), ("mathqa", 500), ("math", 2500), ("theoremqa", 377)])
def test_every_published_answer_is_reached(benchmarks: Path, name: str, size: int) -> None:
    assert registry.get(name).size("test") == size
    assert failures(name) == []


def plain_value(text: str) -> Fraction | None:
    """A number written with digits, point and slash alone; independent of what is tested."""
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.strip().replace("$", "").replace("\\", ""))
    return Fraction(text) if re.fullmatch(r"-?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\d+/[1-9]\d*)", text) else None


def changed_number(text: str, change: str) -> str | None:
    """The text with its first number changed; None where it holds none, or the change leaves it the same."""
    found = re.search(r"(?<![\d.])-?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+)", text)
    if found is None:
        return None
    value = Fraction(found[0])
    new = {"one more": value + 1, "one less": value - 1, "ten times": value * 10}[change]
    # -6e25 and one more are one number in any floating point.
    if float(new) == float(value):
        return None
    written = str(new.numerator) if new.denominator == 1 else repr(float(new))
    return text[: found.start()] + written + text[found.end() :]


def wrong_answers(answer: PublishedAnswer, others: list[PublishedAnswer], rng: random.Random) -> Iterator[str]:
    if answer.kind == "truth":
        yield {"true": "False", "false": "True"}[answer.text]
        return
    if answer.kind == "choice":
        yield NEXT_LETTER[answer.text]
        right = dict(answer.options).get(answer.text, "")
        yield from (value for letter, value in answer.options if key(value) != key(right))
        yield from filter(None, (changed_number(right, change) for change in ("one more", "one less", "ten times")))
        return
    text = answer.text.replace(r",\!", "")
    yield from filter(None, (changed_number(text, change) for change in ("one more", "one less", "ten times")))
    if answer.kind == "list":
        items = text.split(",")
        yield from (",".join(items[:-1]), ",".join([*items, "1"]))
        at = rng.randrange(len(items))
        if changed := changed_number(items[at], "one more"):
            yield f"[{','.join([*items[:at], changed, *items[at + 1 :]])}]"
    for other in rng.sample(others, 3):
        same = plain_value(other.text) is not None and plain_value(other.text) == plain_value(answer.text)
        one, two = read_number(simplify(other.text)), read_number(simplify(answer.text))
        if one is not None and two is not None:
            same = same or bool({*one.readings()} & {*two.readings()})
        if not same and key(simplify(other.text)) != key(simplify(answer.text)):
            yield other.text


@pytest.mark.parametrize("name", ["gsm8k", "mathqa", "math", "theoremqa"])
def test_none_of_500_wrong_answers_is_accepted_under_exact(benchmarks: Path, name: str) -> None:
    spec = registry.get(name)
    answers = [spec.instance("test", index).payload.answer for index in range(spec.size("test") or 0)]
    rng = random.Random(f"wrong {name}")
    tried = []
    while len(tried) < WRONG_ANSWERS:
        answer = rng.choice(answers)
        candidates = list(wrong_answers(answer, answers, rng))
        tried += [(answer, wrong) for wrong in rng.sample(candidates, min(2, len(candidates)))]
    judge = AnswerJudge()
    accepted = [(answer.text, wrong) for answer, wrong in tried[:WRONG_ANSWERS] if judge.right(wrong, answer)]
    judge.close()
    assert accepted == []


@pytest.mark.arena
def test_math_verify_alone_knows_the_published_expressions_in_another_writing(benchmarks: Path) -> None:
    # What equal writing decides above is decided here by algebra: the way that a model's answer takes.
    spec = registry.get("math")
    texts = {spec.instance("test", index).payload.answer.text for index in range(spec.size("test") or 0)}
    expressions = [
        simple for text in sorted(texts) if read_number(simple := simplify(text)) is None and "text" not in text
    ]
    algebra = Algebra()
    unknown = [
        each for each in expressions if not algebra.same(each, each.replace(" ", "  ").replace(r"\frac", r"\dfrac"))
    ]
    algebra.close()
    assert unknown == []
