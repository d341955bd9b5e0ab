"""The starter's programming family: questions over made-up databases, answered with SQL."""

import functools
import hashlib
import random
from collections.abc import Callable

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.intercode_sql import PROTOCOL, InterCodeSQLEnvironment, SQLProblem
from agentbank_jax.environments.registry import EnvironmentSpec, check_split
from agentbank_jax.environments.starter.databases import DatabaseWorld, database_world
from agentbank_jax.environments.starter.queries import KINDS, UNSEEN_KINDS, Make, Query

INSTRUCTION = (
    "Answer the question with SQL. Act with SHOW TABLES, DESC table or a query, each in a fenced sql block; "
    "submit hands in the last result."
)

# Few, so that a test of 40 episodes meets several themes; of the unseen kinds a database has fewer questions.
INSTANCES_PER_WORLD = 8
UNSEEN_INSTANCES_PER_WORLD = 4

THOUGHTS: dict[str, tuple[str, ...]] = {
    "show_tables": (
        "First I look at the tables.",
        "I start with the list of tables.",
        "Let me see which tables there are.",
        "I need to know the tables first.",
        "To begin, I list the tables.",
        "Which tables does the database have?",
    ),
    "describe": (
        "I need the columns of {table}.",
        "Let me see the columns of {table}.",
        "The table {table} fits. I look at its columns.",
        "I look at the columns of {table}.",
        "The question is about {table}, so I describe it.",
        "Which columns does {table} have?",
    ),
    "describe_next": (
        "I also need the columns of {table}.",
        "Now the columns of {table}.",
        "Let me see the columns of {table} too.",
        "The question also needs {table}. I look at its columns.",
        "I must join {table}, so I describe it.",
        "Next I look at the columns of {table}.",
    ),
    "filter": (
        "I select the rows of {table} where {condition}.",
        "Now I list {table} where {condition}.",
        "I keep the rows where {condition}.",
        "The rows where {condition} are wanted.",
        "From {table} I take those where {condition}.",
        "I need the {table} where {condition}.",
    ),
    "compare": (
        "I select the rows of {table} where {condition}.",
        "Now I list {table} where {condition}.",
        "I keep the rows where {condition}.",
        "A comparison decides: where {condition}.",
        "From {table} I take those where {condition}.",
        "I need the {table} where {condition}.",
    ),
    "count": (
        "I count the rows of {table} where {condition}.",
        "Now I count {table} where {condition}.",
        "I count where {condition}.",
        "A count of the rows where {condition} answers this.",
        "How many {table} are there where {condition}?",
        "I need the number of {table} where {condition}.",
    ),
    "extreme": (
        "I sort {table} by {column} and keep one row.",
        "Now I order by {column} and take the first.",
        "The first row by {column} is the answer.",
        "I order {table} by {column} with a limit.",
        "Sorting by {column} gives the right row.",
        "I need one row of {table}, ordered by {column}.",
    ),
    "aggregate": (
        "I compute {function}({column}) over {table}.",
        "Now I need {function}({column}).",
        "{function}({column}) of all {table} answers this.",
        "I use {function}({column}).",
        "The value is {function}({column}) of {table}.",
        "I need one number, {function}({column}).",
    ),
    "aggregate_where": (
        "I compute {function}({column}) where {condition}.",
        "Now I need {function}({column}) where {condition}.",
        "{function}({column}) over the rows where {condition} answers this.",
        "I use {function}({column}) on {table} where {condition}.",
        "The value is {function}({column}) where {condition}.",
        "I need one number, {function}({column}) where {condition}.",
    ),
    "join_list": (
        "I join the tables on {column} where {condition}.",
        "Now I join on {column} and list {table} where {condition}.",
        "A join on {column} gives these {table}, where {condition}.",
        "The tables share {column}, so I join them where {condition}.",
        "I list {table} with a join on {column} where {condition}.",
        "I join on {column} to find the {table} where {condition}.",
    ),
    "join_count": (
        "I join the tables on {column} and count where {condition}.",
        "Now I join on {column} and count {table} where {condition}.",
        "A join on {column} lets me count where {condition}.",
        "The tables share {column}, so I join and count where {condition}.",
        "I count {table} with a join on {column} where {condition}.",
        "I join on {column} to count the {table} where {condition}.",
    ),
    "most_common": (
        "I group {table} by {column} and take the largest group.",
        "Now I group by {column} and order by the count.",
        "The largest group by {column} is the answer.",
        "I group by {column}, the most frequent first.",
        "Grouping by {column} shows which is most common.",
        "I need the most frequent {column} of {table}.",
    ),
    "having": (
        "I group {table} by {column} and keep groups with {condition}.",
        "Now I group by {column} having {condition}.",
        "The groups by {column} need {condition}.",
        "I group by {column} and use HAVING {condition}.",
        "Grouping by {column} shows those with {condition}.",
        "I need the {column} groups with {condition}.",
    ),
    "distinct": (
        "I count the distinct values of {column}.",
        "Now I count each {column} once.",
        "A distinct count of {column} answers this.",
        "I count different values of {column} in {table}.",
        "Each {column} must be counted only once.",
        "I need the number of distinct {column} values.",
    ),
    "above_average": (
        "I compare {column} with its average.",
        "Now I filter {table} by the average of {column}.",
        "A subquery gives the average of {column}.",
        "I need the average of {column} first, in a subquery.",
        "The rows of {table} above the average {column} count.",
        "I list {table} whose {column} exceeds the average.",
    ),
    "without": (
        "I list {table} whose {column} is not in the other.",
        "Now I look for a {column} that is never used.",
        "A subquery gives each {column} in use.",
        "I need each {column} that the other table lacks.",
        "The {column} must not be in the other table.",
        "I list {table} with NOT IN on {column}.",
    ),
    "submit": (
        "This answers the question.",
        "The result is what was asked for.",
        "I have the answer, so I submit.",
        "That is the result. I submit it.",
        "The query worked, so I submit.",
        "Now I can submit the result.",
    ),
}


def _fenced(sql: str) -> str:
    return f"```sql\n{sql}\n```"


def _problem(world: DatabaseWorld, query: Query) -> SQLProblem:
    plan = [ExpertStep(action=_fenced("SHOW TABLES"), intent="show_tables")]
    for position, table in enumerate(query.tables):
        intent = "describe_next" if position else "describe"
        plan.append(ExpertStep(action=_fenced(f"DESC {table}"), intent=intent, slots={"table": table}))
    slots = {
        "table": query.tables[0],
        "column": query.column,
        "condition": query.condition,
        "function": query.function,
    }
    plan.append(ExpertStep(action=_fenced(query.sql), intent=query.kind, slots=slots))
    plan.append(ExpertStep(action="submit", intent="submit"))
    return SQLProblem(question=query.question, database=world.database, gold=query.sql, plan=tuple(plan))


@functools.lru_cache(maxsize=8)
def _world_instances(family: str, split: str, world_index: int, *, unseen: bool) -> tuple[Instance, ...]:
    """All instances of one database, no two with the same question."""
    seed = f"{family}/{split}/{world_index}"
    world = database_world(seed, unseen=unseen)
    kinds: dict[str, Make] = UNSEEN_KINDS if unseen else KINDS
    count = UNSEEN_INSTANCES_PER_WORLD if unseen else INSTANCES_PER_WORLD
    rng = random.Random(f"{seed}/questions")
    found: dict[str, Instance] = {}
    while len(found) < count:
        index = world_index * count + len(found)
        query = kinds[rng.choice(list(kinds))](world, rng)
        if query is None:
            continue
        fingerprint = hashlib.sha256(f"{world.database.key}\n{query.question}".encode()).hexdigest()
        found.setdefault(
            fingerprint,
            Instance(
                id=f"{family}/{split}/{index}",
                fingerprint=fingerprint,
                payload=_problem(world, query),
                difficulty=len(query.tables),
            ),
        )
    return tuple(found.values())


def _generator(family: str, *, unseen: bool) -> Callable[[str, int], Instance]:
    count = UNSEEN_INSTANCES_PER_WORLD if unseen else INSTANCES_PER_WORLD

    def instance(split: str, index: int) -> Instance:
        world_index, position = divmod(index, count)
        return _world_instances(family, check_split(split), world_index, unseen=unseen)[position]

    return instance


SPECS = (
    EnvironmentSpec(
        name="starter_programming",
        skill="programming",
        action_space="continuous",
        max_steps=10,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        make=InterCodeSQLEnvironment,
        instance=_generator("starter_programming", unseen=False),
    ),
    EnvironmentSpec(
        name="starter_programming_unseen",
        skill="programming",
        action_space="continuous",
        max_steps=10,
        protocol=PROTOCOL,
        instruction=INSTRUCTION,
        held_out=True,
        make=InterCodeSQLEnvironment,
        instance=_generator("starter_programming_unseen", unseen=True),
    ),
)
