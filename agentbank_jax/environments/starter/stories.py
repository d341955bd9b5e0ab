"""Word problems as data: what is told, which numbers fit, and which steps solve them.

Numbers are letters; a step is an expression of two names, where `s1` is the value of the first
step. `{n}`, `{m}` and `{o}` are people, `{items}` and `{others}` are things. In `STORIES` the word before a number
occurs nowhere else in the problem, so that it says which number is meant.
"""

from dataclasses import dataclass, field

from agentbank_jax.environments.starter import words


@dataclass(frozen=True, kw_only=True)
class Story:
    """A template of word problems.

    Fields:
      name: unique.
      numbers: for each letter its least and greatest value, in the order in which they are told.
      sentences: for each sentence its wordings.
      questions: wordings of the question.
      steps: (expression, what it gives), in order; the last gives the answer.
      things: the list in `THINGS` from which `{items}` and `{others}` are taken.
    """

    name: str
    numbers: dict[str, tuple[int, int]]
    sentences: tuple[tuple[str, ...], ...]
    questions: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    things: str = "goods"
    choices: dict[str, tuple[int, ...]] = field(default_factory=dict)


THINGS: dict[str, tuple[str, ...]] = {"goods": words.GOODS, "plants": words.PLANTS, "fruits": words.FRUITS}

STORIES: tuple[Story, ...] = (
    Story(
        name="boxes",
        numbers={"a": (2, 12), "b": (3, 15), "c": (2, 40)},
        sentences=(
            (
                "{n} buys {a} boxes, each with {b} {items}.",
                "{n} has {a} boxes. Each holds {b} {items}.",
                "{n} keeps {a} boxes which contain {b} {items} each.",
            ),
            (
                "{n} gives {c} {items} to {m}.",
                "{m} takes {c} of these {items}.",
            ),
        ),
        questions=("How many {items} does {n} have left?", "How many {items} are left for {n}?"),
        steps=(("a * b", "{items} in all boxes"), ("s1 - c", "{items} left")),
    ),
    Story(
        name="savings",
        numbers={"a": (3, 20), "b": (2, 12), "c": (5, 60)},
        sentences=(
            (
                "{n} saves {a} dollars each week during {b} weeks.",
                "Each week {n} saves {a} dollars. This goes on over {b} weeks.",
            ),
            (
                "Then {n} spends {c} dollars on {items}.",
                "After that {n} pays {c} dollars for {items}.",
            ),
        ),
        questions=("How many dollars does {n} have left?", "How much money is left?"),
        steps=(("a * b", "dollars saved"), ("s1 - c", "dollars left")),
    ),
    Story(
        name="shop",
        numbers={"a": (2, 12), "p": (2, 15), "b": (2, 12), "q": (2, 15)},
        sentences=(
            (
                "{n} buys {a} {items} at {p} dollars each and also {b} {others} priced {q} dollars each.",
                "{n} takes {a} {items} costing {p} dollars each, then {b} {others} worth {q} dollars each.",
            ),
        ),
        questions=("How many dollars does {n} pay in total?", "How much does {n} pay for everything?"),
        steps=(("a * p", "cost of the {items}"), ("b * q", "cost of the {others}"), ("s1 + s2", "total cost")),
    ),
    Story(
        name="share",
        numbers={"a": (4, 60), "b": (4, 60), "c": (2, 9)},
        sentences=(
            (
                "{n} has {a} {items} and {m} gets {b} {items}.",
                "{n} finds {a} {items}. {m} brings {b} {items}.",
            ),
            (
                "They share all of them equally among {c} friends.",
                "They put them together and divide them equally between {c} children.",
            ),
        ),
        questions=("How many {items} does each one get?", "How many {items} go to each of them?"),
        steps=(("a + b", "{items} together"), ("s1 / c", "{items} for each")),
    ),
    Story(
        name="times",
        numbers={"a": (3, 40), "b": (2, 9)},
        sentences=(
            (
                "{n} has {a} {items}.",
                "{n} owns {a} {items}.",
            ),
            (
                "{m} keeps {b} times as many {items} as {n}.",
                "{m} holds {b} times as many.",
            ),
        ),
        questions=("How many {items} do they have together?", "How many {items} do {n} and {m} have in total?"),
        steps=(("a * b", "{items} of {m}"), ("a + s1", "{items} together")),
    ),
    Story(
        name="three_people",
        numbers={"a": (5, 60), "b": (3, 40), "c": (2, 30)},
        sentences=(
            (
                "{n} picks {a} {items}.",
                "{n} collects {a} {items}.",
            ),
            (
                "{m} gets {b} more than {n}.",
                "{m} finds {b} more {items} than {n}.",
            ),
            (
                "{o} keeps {c} fewer than {m}.",
                "{o} brings {c} fewer {items} than {m}.",
            ),
        ),
        questions=("How many {items} do the three have together?", "How many {items} are there in total?"),
        steps=(
            ("a + b", "{items} of {m}"),
            ("s1 - c", "{items} of {o}"),
            ("a + s1", "{items} of {n} and {m}"),
            ("s3 + s2", "{items} of all three"),
        ),
    ),
    Story(
        name="change",
        numbers={"a": (2, 9), "p": (2, 12), "q": (3, 30), "c": (50, 200)},
        choices={"c": (50, 80, 100, 120, 150, 200)},
        sentences=(
            (
                "{n} buys {a} {items} at {p} dollars each and a lamp for {q} dollars.",
                "{n} wants {a} {items}, which cost {p} dollars each, and a hat for {q} dollars.",
            ),
            ("{n} pays with {c} dollars.", "{n} has {c} dollars to pay with."),
        ),
        questions=("How many dollars does {n} get back?", "How much change does {n} get?"),
        steps=(("a * p", "cost of the {items}"), ("s1 + q", "total cost"), ("c - s2", "change")),
    ),
    Story(
        name="hens",
        numbers={"a": (2, 20), "b": (2, 9), "c": (2, 30), "d": (2, 6)},
        sentences=(
            (
                "{n} has {a} hens. Each hen lays {b} eggs a week.",
                "The farm of {n} keeps {a} hens that lay {b} eggs each, every week.",
            ),
            (
                "{n} eats {c} eggs and sells the rest for {d} dollars each.",
                "The family of {n} uses {c} eggs. The rest sell at {d} dollars each.",
            ),
        ),
        questions=("How many dollars does {n} earn a week?", "How much money does {n} make each week?"),
        steps=(("a * b", "eggs in a week"), ("s1 - c", "eggs to sell"), ("s2 * d", "dollars earned")),
    ),
    Story(
        name="reading",
        numbers={"a": (60, 300), "b": (5, 30), "c": (2, 9), "d": (2, 9)},
        sentences=(
            (
                "{n} opens a book containing {a} pages.",
                "A book has {a} pages, and {n} starts it.",
            ),
            (
                "{n} reads {b} pages a day for {c} days.",
                "At first {n} manages {b} pages each day during {c} days.",
            ),
            (
                "The rest takes {d} more days, with the same number of pages each day.",
                "{n} divides the rest equally over {d} days.",
            ),
        ),
        questions=(
            "How many pages does {n} read on each of the last days?",
            "How many pages is that on each of the last days?",
        ),
        steps=(("b * c", "pages read at first"), ("a - s1", "pages left"), ("s2 / d", "pages for each day")),
    ),
    Story(
        name="bus",
        numbers={"a": (12, 60), "b": (2, 30), "c": (2, 30)},
        sentences=(
            (
                "{n} drives a bus with {a} people.",
                "The train of {n} carries {a} people.",
            ),
            (
                "At the first stop {b} people get off and {c} people get on.",
                "First {b} of them get off. Then {c} others get on.",
            ),
        ),
        questions=("How many people are there now?", "How many people travel on?"),
        steps=(("a - b", "people who stay"), ("s1 + c", "people now")),
    ),
    Story(
        name="rows",
        numbers={"a": (2, 12), "b": (3, 15), "c": (2, 12), "d": (3, 15), "e": (2, 20)},
        things="plants",
        sentences=(
            (
                "{n} sets {a} rows with {b} {items} each and {c} rows having {d} {others} each.",
                "The garden of {n} shows {a} rows with {b} {items} each, then {c} rows having {d} {others} each.",
            ),
            (
                "Later {e} plants die.",
                "A storm breaks {e} of the plants.",
            ),
        ),
        questions=("How many plants are left?", "How many plants does {n} still have?"),
        steps=(
            ("a * b", "{items} in all rows"),
            ("c * d", "{others} in all rows"),
            ("s1 + s2", "plants in total"),
            ("s3 - e", "plants left"),
        ),
    ),
    Story(
        name="work",
        numbers={"a": (3, 30), "p": (5, 20), "b": (2, 12), "q": (6, 25), "r": (5, 60)},
        sentences=(
            (
                "{n} works {a} hours for {p} dollars an hour and {b} hours on Sunday at {q} dollars an hour.",
                "{n} earns {p} dollars an hour during {a} hours, and on Sunday {q} dollars an hour through {b} hours.",
            ),
            (
                "{n} spends {r} dollars on food.",
                "The food of {n} costs {r} dollars.",
            ),
        ),
        questions=("How many dollars are left?", "How much money does {n} keep?"),
        steps=(
            ("a * p", "pay for the week"),
            ("b * q", "pay for Sunday"),
            ("s1 + s2", "total pay"),
            ("s3 - r", "dollars left"),
        ),
    ),
    Story(
        name="trip",
        numbers={"a": (20, 60), "b": (2, 6), "c": (20, 60), "d": (2, 6)},
        sentences=(
            (
                "{n} drives {a} miles an hour for {b} hours, then {c} miles an hour during {d} hours.",
                "At {a} miles an hour, {n} travels for {b} hours. After a rest come {c} miles an hour over {d} hours.",
            ),
        ),
        questions=("How many miles is that in total?", "How many miles does {n} travel?"),
        steps=(("a * b", "miles at first"), ("c * d", "miles after that"), ("s1 + s2", "miles in total")),
    ),
    Story(
        name="bags",
        numbers={"a": (20, 99), "b": (2, 19), "c": (2, 9), "d": (2, 9)},
        sentences=(
            (
                "{n} makes {a} {items} and keeps {b}.",
                "There lie {a} {items} on the table, and {n} takes {b} away.",
            ),
            (
                "{n} packs the rest in bags of {c} and sells each bag for {d} dollars.",
                "The rest is packed {c} to a bag. Each bag costs {d} dollars.",
            ),
        ),
        questions=("How many dollars does {n} earn?", "How much money do the bags bring?"),
        steps=(("a - b", "{items} to pack"), ("s1 / c", "bags"), ("s2 * d", "dollars earned")),
    ),
    Story(
        name="classes",
        numbers={"a": (2, 12), "b": (10, 30), "c": (2, 20), "d": (2, 9)},
        sentences=(
            (
                "The school of {n} has {a} classes with {b} children each and {c} teachers.",
                "The school of {n} employs {c} teachers for {a} classes holding {b} children each.",
            ),
            (
                "All of them go to the lake as {d} equal groups.",
                "They all visit the museum, forming {d} groups of the same size.",
            ),
        ),
        questions=("How many people are in each group?", "How many people go in one group?"),
        steps=(("a * b", "children"), ("s1 + c", "people in total"), ("s2 / d", "people in each group")),
    ),
)

# Of 5 and 6 steps; none of them begins like a shorter one and goes on.
LONGER_STORIES: tuple[Story, ...] = (
    Story(
        name="three_goods",
        numbers={"a": (2, 9), "p": (2, 12), "b": (2, 9), "q": (2, 12), "c": (2, 9), "r": (2, 12), "d": (5, 60)},
        sentences=(
            ("{n} sells {a} {items} at {p} dollars each and {b} {others} at {q} dollars each.",),
            ("{m} sells {c} chairs at {r} dollars each.",),
            ("Together they pay {d} dollars for the stand.",),
        ),
        questions=("How many dollars do they have left together?",),
        steps=(
            ("a * p", "dollars for the {items}"),
            ("b * q", "dollars for the {others}"),
            ("c * r", "dollars for the chairs"),
            ("s1 + s2", "dollars of {n}"),
            ("s4 + s3", "dollars together"),
            ("s5 - d", "dollars left"),
        ),
    ),
    Story(
        name="orchard",
        things="fruits",
        numbers={"a": (3, 12), "b": (5, 20), "c": (2, 40), "d": (2, 6), "e": (2, 9), "f": (5, 60)},
        sentences=(
            ("{n} has {a} trees that give {b} {items} each.",),
            ("Birds eat {c} of them, and the rest is packed {d} to a bag.",),
            ("{n} sells each bag for {e} dollars and gets {f} dollars from {m} as well.",),
        ),
        questions=("How many dollars does {n} get in total?",),
        steps=(
            ("a * b", "{items} of all trees"),
            ("s1 - c", "{items} to pack"),
            ("s2 / d", "bags"),
            ("s3 * e", "dollars for the bags"),
            ("s4 + f", "dollars in total"),
        ),
    ),
)
