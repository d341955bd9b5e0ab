"""A made-up world of people, works and places: the corpus of the starter's questions."""

import functools
import hashlib
import random
from dataclasses import dataclass
from itertools import product

from agentbank_jax.environments.passage_index import Passage
from agentbank_jax.environments.search_qa import Corpus
from agentbank_jax.environments.starter import words


@dataclass(frozen=True, kw_only=True)
class Relation:
    """How things of one kind lead to a thing of another.

    Fields:
      tail: the kind that it leads to.
      noun: the word that names it, as in "the author".
      phrases: ways to speak of what it leads to, with `{x}` for what it starts from.
      questions: ways to ask for it.
    """

    tail: str
    noun: str
    phrases: tuple[str, ...]
    questions: tuple[str, ...]

    @property
    def label(self) -> str:
        """The noun as a passage heads the fact with it, as in "Author"."""
        return self.noun.capitalize()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of thing.

    Fields:
      count: how many a world has.
      second_words: what its names may end in.
      relations: by name, what its things lead to.
      introduction: the beginning of a passage about `{x}`.
      leads: what its names begin with.
      starts: how often questions start here, relative to the other kinds.
    """

    count: int
    second_words: tuple[str, ...]
    relations: dict[str, Relation]
    introduction: str
    leads: tuple[str, ...] = words.LEADS
    starts: int = 1


def _who(tail: str, noun: str, *phrases: str) -> Relation:
    phrases = (f"the {noun} of {{x}}", *phrases)
    return Relation(tail=tail, noun=noun, phrases=phrases, questions=tuple(f"Who is {phrase}?" for phrase in phrases))


def _which(tail: str, noun: str, phrases: tuple[str, ...], *questions: str) -> Relation:
    return Relation(tail=tail, noun=noun, phrases=phrases, questions=questions)


# How a passage goes on after its introduction: what begins it, what stands between facts, and one fact. Every
# fact is told with the relation's label, so that who knows what to look for finds it word for word.
_TELLINGS = (
    (" with ", " and ", "{label} {entity}"),
    (". Known are ", " and ", "{label} {entity}"),
    (": ", ", ", "{label} {entity}"),
    (". See also ", "; ", "{label} {entity}"),
)

KINDS: dict[str, Kind] = {
    "novel": Kind(
        count=320,
        second_words=words.WORKS,
        starts=4,
        relations={
            "author": _who("person", "author", "the writer of {x}", "the person who wrote {x}"),
            "setting": _which(
                "city", "setting", ("the setting of {x}", "the city where {x} is set"), "Where is {x} set?",
                "Which city is the setting of {x}?",
            ),
        },
        introduction="{x} is a novel",
    ),
    "film": Kind(
        count=320,
        second_words=words.WORKS,
        starts=4,
        relations={
            "director": _who("person", "director", "the person who directed {x}"),
            "composer": _who("person", "composer", "the person who wrote the music of {x}"),
        },
        introduction="{x} is a film",
    ),
    "painting": Kind(
        count=260,
        second_words=words.WORKS,
        starts=3,
        relations={
            "painter": _who("person", "painter", "the person who painted {x}"),
            "museum": _which(
                "museum", "museum", ("the museum of {x}", "the museum where {x} hangs"),
                "In which museum does {x} hang?", "Which museum shows {x}?",
            ),
        },
        introduction="{x} is a painting",
    ),
    "person": Kind(
        count=760,
        leads=words.FIRST_NAMES,
        second_words=words.SURNAMES,
        starts=2,
        relations={
            "birthplace": _which(
                "city", "birthplace", ("the birthplace of {x}", "the city where {x} was born"), "Where was {x} born?",
                "In which city was {x} born?", "What is the birthplace of {x}?",
            ),
            "employer": _which(
                "company", "employer", ("the employer of {x}", "the company that employs {x}"),
                "Which company employs {x}?", "Which company does {x} work for?", "What is the employer of {x}?",
            ),
            "spouse": _who("person", "spouse", "the person married to {x}"),
        },
        introduction="{x} is a person",
    ),
    "company": Kind(
        count=200,
        second_words=words.COMPANIES,
        starts=3,
        relations={
            "founder": _who("person", "founder", "the person who founded {x}"),
            "base": _which(
                "city", "base", ("the base of {x}", "the city where {x} is based"), "Where is {x} based?",
                "In which city is {x} based?",
            ),
        },
        introduction="{x} is a company",
    ),
    "city": Kind(
        count=260,
        second_words=words.CITIES,
        relations={
            "mayor": _who("person", "mayor"),
            "region": _which(
                "region", "region", ("the region of {x}",), "In which region is {x}?", "What is the region of {x}?"
            ),
            "river": _which(
                "river", "river", ("the river of {x}", "the river that runs through {x}"), "What is the river of {x}?",
                "Which river runs through {x}?",
            ),
        },
        introduction="{x} is a city",
    ),
    "river": Kind(
        count=90,
        second_words=words.RIVERS,
        relations={
            "lake": _which(
                "lake", "lake", ("the lake of the {x}", "the lake that the {x} flows into"),
                "Which lake does the {x} flow into?",
            ),
            "source": _which(
                "region", "source", ("the source of the {x}", "the region where the {x} rises"),
                "In which region does the {x} rise?", "Which region is the source of the {x}?",
            ),
        },
        introduction="The {x} is a river",
    ),
    "lake": Kind(
        count=60,
        second_words=words.LAKES,
        relations={
            "port": _which(
                "city", "port", ("the main port of {x}",), "What is the main port of {x}?",
                "Which city is the main port of {x}?",
            ),
        },
        introduction="{x} is a lake",
    ),
    "region": Kind(
        count=40,
        second_words=words.REGIONS,
        relations={
            "governor": _who("person", "governor"),
            "capital": _which(
                "city", "capital", ("the capital of {x}",), "What is the capital of {x}?",
                "Which city is the capital of {x}?",
            ),
        },
        introduction="{x} is a region",
    ),
    "museum": Kind(
        count=70,
        second_words=words.MUSEUMS,
        relations={
            "architect": _who("person", "architect"),
            "home": _which(
                "city", "home", ("the home of the {x}", "the city of the {x}"), "In which city is the {x}?",
                "Which city is the home of the {x}?",
            ),
        },
        introduction="The {x} is a museum",
    ),
    "school": Kind(
        count=80,
        second_words=words.SCHOOLS,
        starts=3,
        relations={
            "principal": _who("person", "principal"),
            "town": _which(
                "city", "town", ("the town of {x}", "the city where {x} stands"), "In which city does {x} stand?",
                "What is the town of {x}?",
            ),
        },
        introduction="{x} is a school",
    ),
    "team": Kind(
        count=80,
        second_words=words.TEAMS,
        starts=3,
        relations={
            "coach": _who("person", "coach", "the person who trains the {x}"),
            "sponsor": _which(
                "company", "sponsor", ("the sponsor of the {x}", "the company that sponsors the {x}"),
                "Which company sponsors the {x}?", "What is the sponsor of the {x}?",
            ),
        },
        introduction="The {x} are a team",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class KnowledgeWorld:
    """A world.

    Fields:
      names: of every kind of thing, the names of the things.
      facts: by name, what each relation leads to.
      kinds: by name, the kind.
      corpus: one passage for each thing.
    """

    names: dict[str, tuple[str, ...]]
    facts: dict[str, dict[str, str]]
    kinds: dict[str, str]
    corpus: Corpus


@functools.lru_cache(maxsize=2)
def knowledge_world(seed: str) -> KnowledgeWorld:
    """Returns the world with this seed, a pure function of it."""
    rng = random.Random(seed)
    names: dict[str, tuple[str, ...]] = {}
    kinds: dict[str, str] = {}
    for kind, shape in KINDS.items():
        free = [name for pair in product(shape.leads, shape.second_words) if (name := " ".join(pair)) not in kinds]
        names[kind] = tuple(rng.sample(free, shape.count))
        kinds.update(dict.fromkeys(names[kind], kind))
    # Marriage goes both ways, so the people are paired off.
    spouses = _couples(names["person"])
    facts: dict[str, dict[str, str]] = {}
    passages = []
    for kind, shape in KINDS.items():
        for name in names[kind]:
            known = {key: rng.choice(names[relation.tail]) for key, relation in shape.relations.items()}
            if kind == "person":
                known["spouse"] = spouses[name]
            facts[name] = known
            passages.append(Passage(title=name, text=_passage(shape, name, known, rng)))
    rng.shuffle(passages)
    key = hashlib.sha256("\n".join(passage.text for passage in passages).encode()).hexdigest()
    return KnowledgeWorld(names=names, facts=facts, kinds=kinds, corpus=Corpus(key=key, passages=tuple(passages)))


def _passage(shape: Kind, name: str, known: dict[str, str], rng: random.Random) -> str:
    """All that is known of a thing, in one of several tellings and in any order."""
    start, between, fact = rng.choice(_TELLINGS)
    facts = [fact.format(label=shape.relations[key].label, entity=entity) for key, entity in known.items()]
    rng.shuffle(facts)
    return f"{shape.introduction.format(x=name)}{start}{between.join(facts)}."


def _couples(people: tuple[str, ...]) -> dict[str, str]:
    couples: dict[str, str] = {}
    for one, other in zip(people[::2], people[1::2], strict=True):
        couples[one], couples[other] = other, one
    return couples
