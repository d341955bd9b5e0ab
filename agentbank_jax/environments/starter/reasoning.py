"""The starter's reasoning family: questions of several hops over a made-up world."""

import functools
import hashlib
import random
from collections.abc import Callable

from agentbank_jax.environments.base import FINAL_ANSWER_PREFIX, ExpertStep, Instance
from agentbank_jax.environments.registry import EnvironmentSpec, check_split
from agentbank_jax.environments.search_qa import PROTOCOL, SearchProblem, SearchQAEnvironment
from agentbank_jax.environments.starter.knowledge import KINDS, KnowledgeWorld, knowledge_world

INSTRUCTION = (
    "Answer the question. Act with search[name], which shows the best passage, or end with Final Answer: answer."
)

INSTANCES_PER_WORLD = 400

THOUGHTS: dict[str, tuple[str, ...]] = {
    "search_first": (
        "I need the {relation} of {entity}.",
        "First I look for the {relation} of {entity}.",
        "To begin, I search for {entity} and its {relation}.",
        "Let me find the {relation} of {entity}.",
        "I start with {entity}, to learn the {relation}.",
        "The first thing to know is the {relation} of {entity}.",
    ),
    "search_next": (
        "It says {previous} {found}. Now I need the {relation}.",
        "I found {previous} {found}. Next I look for the {relation}.",
        "So it is {previous} {found}. Let me find the {relation}.",
        "I see {previous} {found}. Now the {relation}.",
        "It names {previous} {found}. I still need the {relation}.",
        "Good, {previous} {found}. I search for the {relation}.",
    ),
    "answer": (
        "It says {previous} {found}.",
        "I found {previous} {found}, so I can answer.",
        "So it is {previous} {found}.",
        "I see {previous} {found}.",
        "It names {previous} {found}. That is the answer.",
        "Good, {previous} {found}. I am done.",
    ),
}

_STARTS = [kind for kind, shape in KINDS.items() for _ in range(shape.starts)]


def _chain(world: KnowledgeWorld, hops: int, rng: random.Random) -> tuple[list[str], list[str]]:
    """Walks `hops` relations from a random thing; returns the things passed, none twice, and the relations."""
    while True:
        entity = rng.choice(world.names[rng.choice(_STARTS)])
        entities, relations = [entity], []
        for _ in range(hops):
            relation = rng.choice(list(world.facts[entity]))
            entity = world.facts[entity][relation]
            entities.append(entity)
            relations.append(relation)
        if len(set(entities)) == hops + 1:
            return entities, relations


def _problem(world: KnowledgeWorld, hops: int, rng: random.Random) -> SearchProblem:
    entities, keys = _chain(world, hops, rng)
    relations = [KINDS[world.kinds[entity]].relations[key] for entity, key in zip(entities, keys, strict=False)]
    asked = entities[0]
    for relation in relations[:-1]:
        asked = rng.choice(relation.phrases).format(x=asked)
    # A phrase brings its own article where the templates for teams, rivers and museums have one.
    question = rng.choice(relations[-1].questions).format(x=asked).replace("the the ", "the ")
    plan = [
        ExpertStep(
            action=f"search[{entities[0]}]",
            intent="search_first",
            slots={"entity": entities[0], "relation": relations[0].noun},
        )
    ]
    for found, previous, relation in zip(entities[1:], relations, relations[1:], strict=False):
        slots = {"found": found, "previous": previous.label, "relation": relation.noun}
        plan.append(ExpertStep(action=f"search[{found}]", intent="search_next", slots=slots))
    answer = entities[-1]
    slots = {"found": answer, "previous": relations[-1].label}
    plan.append(ExpertStep(action=f"{FINAL_ANSWER_PREFIX} {answer}", intent="answer", slots=slots))
    return SearchProblem(question=question, answers=(answer,), corpus=world.corpus, plan=tuple(plan))


@functools.lru_cache(maxsize=4)
def _world_instances(family: str, split: str, world_index: int, hops: tuple[int, ...]) -> tuple[Instance, ...]:
    """All instances of one world, no two with the same question."""
    world = knowledge_world(f"starter_reasoning/{split}/{world_index}")
    rng = random.Random(f"{family}/{split}/{world_index}")
    found: dict[str, Instance] = {}
    while len(found) < INSTANCES_PER_WORLD:
        index = world_index * INSTANCES_PER_WORLD + len(found)
        length = hops[index % len(hops)]
        problem = _problem(world, length, rng)
        fingerprint = hashlib.sha256(f"{world.corpus.key}\n{problem.question}".encode()).hexdigest()
        found.setdefault(
            fingerprint,
            Instance(id=f"{family}/{split}/{index}", fingerprint=fingerprint, payload=problem, difficulty=length),
        )
    return tuple(found.values())


def _generator(family: str, hops: tuple[int, ...]) -> Callable[[str, int], Instance]:
    def instance(split: str, index: int) -> Instance:
        world_index, position = divmod(index, INSTANCES_PER_WORLD)
        return _world_instances(family, check_split(split), world_index, hops)[position]

    return instance


SPECS = (
    EnvironmentSpec(
        name="starter_reasoning",
        skill="reasoning",
        action_space="continuous",
        max_steps=8,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        make=SearchQAEnvironment,
        instance=_generator("starter_reasoning", (2, 3)),
    ),
    EnvironmentSpec(
        name="starter_reasoning_longer_hop",
        skill="reasoning",
        action_space="continuous",
        max_steps=10,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        held_out=True,
        make=SearchQAEnvironment,
        instance=_generator("starter_reasoning_longer_hop", (4,)),
    ),
)
