"""Steps of a worked solution in GSM8K's notation: expressions, and the text around each as a Thought."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from agentbank_jax.bank.algebra import computations
from agentbank_jax.bank.equations import evaluate, find_equations, has_operator, numbers, tidy
from agentbank_jax.environments.gsm8k_rows import NUMBER

_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_RESULT = re.compile(rf"\s*-?\s*[$€£]?\s*-?(?:{NUMBER})(?:\s*%)?")
_EQUALS_BEFORE = re.compile(r"\s*=\s*-?[$€£]?\s*-?$")
_CLAUSE = re.compile(r"[,;:.!?](?=\s|$)|\s(?=(?:and|so|which|then|but|because|since|while|for a total|making)\b)")
_CONNECTOR = re.compile(r"[\s,:;(]*\b(?:because|since|as|which is|or|that is|is|by|of|from)?\s*[$(]*$", re.IGNORECASE)
_LEADING = re.compile(r"^(?:[\s,;:.)!?*+/=-]|%\s|(?:and|so|then|but|which|thus|therefore)\b)+", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")

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


@dataclass(frozen=True, kw_only=True)
class Step:
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


def read_steps(question: str, solution: str, answer: Fraction, rng: random.Random) -> list[Step]:
    """Returns the expressions of a worked solution in order, each once, with clean Thoughts.

    Args:
      question: numbers in it are known from the start.
      solution: sentences with calculator annotations.
      answer: the published answer, which no Thought tells before it is computed.
      rng: chooses a wording where the solution has none.
    """
    drafts: list[tuple[_Event, _Sentence]] = []
    context = ""
    for plain, events in _lines(solution):
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
    known = known_numbers(question)
    steps: list[Step] = []
    seen: set[str] = set()
    for index, (event, sentence) in enumerate(drafts):
        if event.expression in seen:
            continue
        seen.add(event.expression)
        unknown = {value for value in [*values[index:], answer] if value is not None} - known
        unknown -= {value for _, _, value in numbers(event.expression)}
        thought = _thought(sentence, event.expression, values[index], unknown)
        steps.append(
            Step(
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


def known_numbers(question: str) -> set[Fraction]:
    """Returns the numbers that a question gives, in digits or in words."""
    known = {value for _, _, value in numbers(question)}
    words = re.findall(r"[a-z]+", question.lower())
    return known | {Fraction(_NUMBER_WORDS[word]) for word in words if word in _NUMBER_WORDS}
