"""GSM8K's worked solutions, reformatted as trajectories in the calculator environment.

GSM8K (Cobbe et al. 2021, arXiv 2110.14168) writes a solution as sentences with calculator
annotations, `She earned 0.2 x 50 = $<<0.2*50=10>>10.`, and ends it with `#### 10`. Each annotated
expression becomes an action, and the sentence, without annotation and result, the Thought before
it. Equations that carry no annotation are read too. The observations are what the environment
computes. A row is kept only if one of them equals the published answer.
"""

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from agentbank_jax.bank.algebra import computations
from agentbank_jax.bank.equations import NUMBER, evaluate, find_equations, has_operator, numbers, tidy
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, Instance
from agentbank_jax.environments.calculator import CalculatorEnvironment, CalculatorProblem, format_value, same_value
from agentbank_jax.errors import AgentBankError
from agentbank_jax.trajectories.schema import Trajectory, Turn

TASK = "gsm8k"
SOURCE = "GSM8K (openai/grade-school-math)"
LICENSE = "MIT"

_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_RESULT = re.compile(rf"\s*-?\s*[$€£]?\s*-?(?:{NUMBER})(?:\s*%)?")
_EQUALS_BEFORE = re.compile(r"\s*=\s*-?[$€£]?\s*-?$")
_CLAUSE = re.compile(r"[,;:.!?](?=\s|$)|\s(?=(?:and|so|which|then|but|because|since|while|for a total|making)\b)")
_CONNECTOR = re.compile(r"[\s,:;(]*\b(?:because|since|as|which is|or|that is|is|by|of|from)?\s*[$(]*$", re.IGNORECASE)
_LEADING = re.compile(r"^(?:[\s,;:.)!?*+/=-]|%\s|(?:and|so|then|but|which|thus|therefore)\b)+", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")
_FINAL = re.compile(rf"-?[$€£]?\s*-?(?:{NUMBER})\.?")

_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBER_WORDS: Mapping[str, int] = {word: value for value, word in enumerate(_COUNTING.split())} | {
    **dict.fromkeys(("once",), 1),
    **dict.fromkeys(("half", "twice", "double", "doubled", "couple", "pair"), 2),
    **dict.fromkeys(("thrice", "triple", "tripled", "third", "thirds"), 3),
    **dict.fromkeys(("quarter", "quarters"), 4),
    **dict.fromkeys(("week", "weeks", "weekly"), 7),
    **{"dozen": 12, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100, "thousand": 1000},
}

_PLAIN_THOUGHTS = (
    "Next, I should compute {expression}.",
    "Now I need {expression}.",
    "The next step is to work out {expression}.",
    "I calculate {expression}.",
    "This calls for {expression}.",
    "Let me find {expression}.",
)
_FINAL_THOUGHTS = (
    "This is what the question asks for.",
    "That answers the question.",
    "Now I know the answer.",
    "All steps are done, so I can answer.",
    "The last result is the answer.",
    "Nothing more is needed to answer.",
)
_EARLIER_THOUGHTS = (
    "The question asks for the {answer} found above.",
    "Of these results, {answer} answers the question.",
    "So the answer is the {answer} from before.",
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A row of GSM8K: question, worked solution (without its last line), and published answer as digits."""

    number: int
    question: str
    solution: str
    answer: str

    @property
    def id(self) -> str:
        return f"{TASK}/train/{self.number}"

    @property
    def fingerprint(self) -> str:
        """Hash of the question, blanks aside, by which duplicates are known."""
        return hashlib.sha256(" ".join(self.question.split()).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An expression with the Thought that leads to it."""

    expression: str
    thought: str


@dataclass(frozen=True, kw_only=True)
class _Sentence:
    """Text around an expression: earlier lines that compute nothing, what precedes it, itself, what follows."""

    context: str
    before: str
    left: str
    after: str


@dataclass(frozen=True, kw_only=True)
class _Event:
    """Where a line computes something: text before `cut` leads to it, and its result ends at `end`."""

    cut: int
    end: int
    start: int | None
    expression: str


def read_problems(path: str | Path) -> Iterator[Problem]:
    """Yields the rows of a file in GSM8K's layout: JSON lines with `question` and `answer`, perhaps gzipped.

    Raises:
      AgentBankError: where the file cannot be read, or a row breaks the layout; names file, row
        (counted from 1) and field.
    """
    try:
        content = Path(path).read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        lines = content.decode("utf-8").split("\n")
    except (OSError, EOFError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise AgentBankError(
            f"{path}: cannot be read ({reason}); expected GSM8K's JSON lines, plain or gzipped."
        ) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise AgentBankError(f"{path}:{number}: not JSON ({error}); expected one object per line.") from None
        for name in ("question", "answer"):
            if not isinstance(row, dict) or not isinstance(row.get(name), str):
                found = repr(row.get(name))[:40] if isinstance(row, dict) else type(row).__name__
                raise AgentBankError(f"{path}:{number}:{name}: {found}; expected a string.")
        solution, mark, answer = row["answer"].rpartition("####")
        answer = answer.strip()
        if not mark or not _FINAL.fullmatch(answer):
            raise AgentBankError(f"{path}:{number}:answer: ends in {answer[-40:]!r}; expected '#### <number>'.")
        digits = re.sub(r"[^\d.-]", "", answer).rstrip(".")
        yield Problem(number=number, question=row["question"].strip(), solution=solution.strip(), answer=digits)


def convert(problem: Problem, *, seed: int = 0) -> Trajectory | Drop:
    """Replays a worked solution in the calculator environment.

    Args:
      problem: the row.
      seed: varies the wording where the solution has none.

    Returns:
      A trajectory whose observations are the environment's and whose reward is 1, or the reason
      why there is none: `no_expression`, `rejected_expression`, `pasted_answer`, `rounded_answer`,
      `other_unit`, `other_sign`, `answer_not_computed`, `not_rewarded`.
    """
    # A string seeds `Random` by its hash value under SHA-512, the same in every process.
    rng = random.Random(f"{seed}/{problem.id}")
    steps = _steps(problem, rng)
    if not steps:
        return Drop(id=problem.id, reason="no_expression", detail=problem.solution)
    target = Fraction(problem.answer)
    environment = CalculatorEnvironment()
    payload = CalculatorProblem(question=problem.question, answer=target)
    instance = Instance(id=problem.id, fingerprint=problem.fingerprint, payload=payload, difficulty=len(steps))
    observation, _ = environment.reset(options={"instance": instance})
    turns = [Turn.user(observation)]
    known = _known_numbers(problem.question)
    results: list[Fraction] = []
    found = pasted = False
    for step in steps:
        observation, _, _, _, info = environment.step(step.expression)
        if info["invalid_action"]:
            return Drop(id=problem.id, reason="rejected_expression", detail=f"{step.expression}: {observation}")
        result: Fraction = info["value"]
        if same_value(result, target):
            if target not in known and _pastes(step.expression, target):
                pasted = True
            else:
                found = True
        results.append(result)
        known.add(result)
        turns += [
            Turn.assistant(f"Thought: {step.thought}\nAction: {step.expression}"),
            Turn.user(f"Observation: {observation}"),
        ]
    if not found:
        reason = "pasted_answer" if pasted else _why_not(target, results)
        detail = f"answer {problem.answer}; computed " + ", ".join(
            f"{step.expression} = {format_value(result)}" for step, result in zip(steps, results, strict=True)
        )
        return Drop(id=problem.id, reason=reason, detail=detail)
    wordings = _FINAL_THOUGHTS if same_value(results[-1], target) else _EARLIER_THOUGHTS
    final = rng.choice(wordings).format(answer=problem.answer)
    observation, reward, terminated, _, _ = environment.step(f"{FINAL_ANSWER_PREFIX} {problem.answer}")
    if reward != 1.0 or not terminated:
        return Drop(id=problem.id, reason="not_rewarded", detail=observation)
    turns.append(Turn.assistant(f"Thought: {final}\n{FINAL_ANSWER_PREFIX} {problem.answer}"))
    metadata: dict[str, Any] = {
        "skill": "math",
        "source": SOURCE,
        "license": LICENSE,
        "reward": 1.0,
        "annotation": "reformatting",
        "difficulty": len(steps),
        "seed": seed,
    }
    return Trajectory(id=problem.id, task=TASK, turns=tuple(turns), metadata=metadata)


def _steps(problem: Problem, rng: random.Random) -> list[_Step]:
    """Returns the expressions of a solution in order, each once, with clean Thoughts."""
    drafts: list[tuple[_Event, _Sentence]] = []
    context = ""
    for plain, events in _lines(problem.solution):
        if not events:
            context = f"{context}\n{plain}".strip()
            continue
        position = 0
        for index, event in enumerate(events):
            tail_end = len(plain)
            if index + 1 < len(events):
                boundary = _CLAUSE.search(plain, event.end, events[index + 1].cut)
                tail_end = boundary.start() if boundary else event.end
            start = event.cut if event.start is None else max(event.start, position)
            left = plain[start : event.cut]
            # Units make the left side long and would come twice: `480 miles + 80 miles = 560 miles`.
            if not left or re.search(r"[A-Za-z]{2,}|\b[a-wyz]\b", left):
                left = f" {event.expression}"
            sentence = _Sentence(
                context=context, before=plain[position:start], left=left, after=plain[event.end : tail_end]
            )
            drafts.append((event, sentence))
            position, context = tail_end, ""
    values = [evaluate(event.expression) for event, _ in drafts]
    known = _known_numbers(problem.question)
    steps: list[_Step] = []
    seen: set[str] = set()
    for index, (event, sentence) in enumerate(drafts):
        if event.expression in seen:
            continue
        seen.add(event.expression)
        unknown = {value for value in [*values[index:], Fraction(problem.answer)] if value is not None} - known
        unknown -= {value for _, _, value in numbers(event.expression)}
        thought = _thought(sentence, event.expression, values[index], unknown)
        steps.append(
            _Step(
                expression=event.expression,
                thought=thought or rng.choice(_PLAIN_THOUGHTS).format(expression=event.expression),
            )
        )
        if (value := values[index]) is not None:
            known.add(value)
    return steps


def _lines(solution: str) -> list[tuple[str, list[_Event]]]:
    """Returns the lines without annotations, and what each computes, in order."""
    lines = [_events(line) for line in solution.split("\n")]
    for computation in computations([plain for plain, _ in lines]):
        events = lines[computation.line][1]
        equals, end = computation.equals, computation.end
        if any(event.cut <= equals < event.end or equals <= event.cut < end for event in events):
            continue
        events += [
            _Event(cut=equals + 1, end=end if last else equals + 1, start=None, expression=expression)
            for expression, last in zip(
                computation.expressions, [False] * (len(computation.expressions) - 1) + [True], strict=True
            )
        ]
    return [(plain, sorted(events, key=lambda event: event.cut)) for plain, events in lines]


def _events(line: str) -> tuple[str, list[_Event]]:
    """Returns the line without annotations, and what it computes, in order."""
    plain = ""
    position = 0
    annotations: list[tuple[int, str]] = []
    for match in _ANNOTATION.finditer(line):
        plain += line[position : match.start()]
        position = match.end()
        annotations.append((len(plain), match.group(1)))
    plain += line[position:]
    equations = list(find_equations(plain))
    events: list[_Event] = []
    taken: list[tuple[int, int]] = []
    for offset, content in annotations:
        expression = tidy(content.rpartition("=")[0])
        stated = _RESULT.match(plain, offset)
        end = stated.end() if stated else offset
        before = _EQUALS_BEFORE.search(plain, 0, offset)
        cut = before.start() if before else offset
        taken.append((cut, max(end, cut + 1)))
        # A bare number (`<<9=9>>`) computes nothing.
        if expression is None or not has_operator(expression):
            continue
        same = next((equation for equation in equations if cut <= equation.equals < end), None)
        start = same.start if same else (cut if before else None)
        events.append(_Event(cut=cut, end=end, start=start, expression=expression))
    annotated_spans = [(event.cut, event.end) for event in events]
    for equation in equations:
        if any(low <= equation.equals < high for low, high in annotated_spans):
            continue
        cut = len(plain[: equation.equals].rstrip())
        events.append(_Event(cut=cut, end=equation.end, start=equation.start, expression=equation.expression))
    return plain, sorted(events, key=lambda event: event.cut)


def _thought(sentence: _Sentence, expression: str, value: Fraction | None, unknown: set[Fraction]) -> str | None:
    """Makes one clean Thought, or None where nothing readable is left without a result in it."""
    before = _LEADING.sub("", sentence.before)
    after = sentence.after
    early = [(start, end, number) for start, end, number in numbers(after) if number in unknown]
    if early:
        # What follows the result may tell it again: cut there, at a clause.
        clauses = [match.start() for match in _CLAUSE.finditer(after, 0, early[0][0])]
        after = after[: clauses[-1]] if clauses else ""
    early = [(start, end, number) for start, end, number in numbers(before) if number in unknown]
    if any(number != value for _, _, number in early):
        kept = [piece for piece in _SENTENCE.split(before) if not _leaks(piece, unknown)]
        written = f"{' '.join(kept)}{sentence.left}{after}" if kept and not before.endswith(kept[0]) else ""
    elif early:
        # `She eats 32 slices because 2 x 16` becomes `She eats 2 * 16 slices`.
        written = before
        for start, end, _ in reversed(early):
            written = f"{written[:start]}{expression}{written[end:]}"
        written = _CONNECTOR.sub("", written)
    else:
        written = f"{before}{sentence.left}{after}"
    if len(re.findall(r"[A-Za-z]{2,}", written)) < 2:
        return None
    context = [
        piece.rstrip(" .") + "."
        for piece in _SENTENCE.split(sentence.context)
        if piece.strip(" .") and "=" not in piece and not _leaks(piece, unknown)
    ]
    written = written.strip(" ,;:=-")
    if context and sum(len(piece.split()) for piece in context) <= 30:
        written = f"{' '.join(context)} {written[0].upper()}{written[1:]}"
    written = re.sub(r"([$€£])\s+(?=\d)", r"\1", re.sub(r"\s+", " ", written))
    written = re.sub(r"\s+([.,;:!?])(?!\d)", r"\1", written)
    if written[-1] not in ".!?":
        written += "."
    return written[0].upper() + written[1:]


def _leaks(text: str, unknown: set[Fraction]) -> bool:
    return any(number in unknown for _, _, number in numbers(text))


def _known_numbers(question: str) -> set[Fraction]:
    known = {value for _, _, value in numbers(question)}
    words = re.findall(r"[a-z]+", question.lower())
    return known | {Fraction(_NUMBER_WORDS[word]) for word in words if word in _NUMBER_WORDS}


def _pastes(expression: str, target: Fraction) -> bool:
    """Whether the expression holds the target as an operand and only passes it on (`15*1`, `0+15`).

    Such an operand moves the result by as much as it is moved itself.
    """
    for start, end, value in numbers(expression):
        if value == target and evaluate(f"{expression[:start]}({value + 1}){expression[end:]}") == target + 1:
            return True
    return False


def _why_not(target: Fraction, results: Sequence[Fraction]) -> str:
    for result in results:
        if result and abs(result - target) < 1 and target.denominator == 1:
            return "rounded_answer"
    if any(result * factor == target for result in results for factor in (100, 1000, 60, 12)) or any(
        result == target * factor for result in results for factor in (100, 1000, 60, 12)
    ):
        return "other_unit"
    if any(result == -target for result in results):
        return "other_sign"
    return "answer_not_computed"
