"""Kinds of question over a made-up database, each with the query that answers it."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from agentbank_jax.environments.starter.databases import DatabaseWorld
from agentbank_jax.environments.starter.themes import WORDINGS, Table, is_number, parent_key

# A longer list would make the observation long without making the task harder.
_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question and its query.

    Fields:
      kind: the key in `KINDS` or `UNSEEN_KINDS`, or `aggregate_where`.
      question: in words.
      sql: the query.
      tables: the tables whose columns it needs, in the order in which they are looked at.
      column: the column that decides.
      condition: what rows must fulfil, in SQL; empty where all count.
      function: the aggregate function, where there is one.
    """

    kind: str
    question: str
    sql: str
    tables: tuple[str, ...]
    column: str
    condition: str = ""
    function: str = ""


Make = Callable[[DatabaseWorld, random.Random], Query | None]


def _words(column: str, rng: random.Random) -> str:
    plain = column.replace("_", " ")
    return rng.choice((plain, WORDINGS.get(column, plain)))


def _column(table: Table, rng: random.Random, *, number: bool) -> str | None:
    columns = [column for column, domain in table.columns.items() if is_number(domain) == number]
    return rng.choice(columns) if columns else None


def _table(world: DatabaseWorld, rng: random.Random) -> Table:
    return rng.choice(list(world.tables.values()))


def _child(world: DatabaseWorld, rng: random.Random) -> tuple[Table, Table]:
    child = rng.choice([table for table in world.tables.values() if table.parent])
    return child, world.tables[child.parent or ""]


def _join(child: Table, parent: Table) -> str:
    key = parent_key(child)
    return f"FROM {child.name} JOIN {parent.name} ON {child.name}.{key} = {parent.name}.{key}"


def _equal(table: Table, column: str, rng: random.Random) -> tuple[str, str]:
    """A value of a column of words, in quotes, and the condition that asks for it."""
    value = f'"{rng.choice(table.columns[column])}"'
    return value, f"{column} = {value}"


def _filter(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=False)
    if column is None:
        return None
    value, condition = _equal(table, column, rng)
    if not 1 <= sum(f'"{row[column]}"' == value for row in world.rows[table.name]) <= _MAX_LISTED:
        return None
    said = _words(column, rng)
    question = rng.choice(
        (
            f"List the {table.label} of each {table.one} with {said} {value}.",
            f"Give the {table.label} of every {table.one} whose {said} is {value}.",
            f"Which {table.name} have {said} {value}? Show the {table.label}.",
        )
    )
    sql = f"SELECT {table.label} FROM {table.name} WHERE {condition}"
    return Query(kind="filter", question=question, sql=sql, tables=(table.name,), column=column, condition=condition)


def _compare(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=True)
    if column is None:
        return None
    rows = world.rows[table.name]
    above = rng.random() < 0.5
    # Near a value of the column, so that some rows are on either side, and round, as people ask.
    limit = round(int(rng.choice(rows)[column]), -1)
    kept = sum(int(row[column]) > limit if above else int(row[column]) < limit for row in rows)
    if not 1 <= kept <= _MAX_LISTED:
        return None
    said, side = _words(column, rng), "above" if above else "below"
    question = rng.choice(
        (
            f"List the {table.label} of each {table.one} with {said} {side} {limit}.",
            f"Give the {table.label} of every {table.one} whose {said} is {side} {limit}.",
            f"Which {table.name} have {said} {side} {limit}? Show the {table.label}.",
        )
    )
    condition = f"{column} {'>' if above else '<'} {limit}"
    sql = f"SELECT {table.label} FROM {table.name} WHERE {condition}"
    return Query(kind="compare", question=question, sql=sql, tables=(table.name,), column=column, condition=condition)


def _count(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=False)
    if column is None:
        return None
    value, condition = _equal(table, column, rng)
    said = _words(column, rng)
    question = rng.choice(
        (
            f"How many {table.name} have {said} {value}?",
            f"Count the {table.name} whose {said} is {value}.",
            f"What is the number of {table.name} with {said} {value}?",
        )
    )
    sql = f"SELECT COUNT(*) FROM {table.name} WHERE {condition}"
    return Query(kind="count", question=question, sql=sql, tables=(table.name,), column=column, condition=condition)


def _extreme(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=True)
    if column is None:
        return None
    highest = rng.random() < 0.5
    values = [int(row[column]) for row in world.rows[table.name]]
    if values.count(max(values) if highest else min(values)) > 1:
        return None
    said, side = _words(column, rng), "highest" if highest else "lowest"
    question = rng.choice(
        (
            f"Which {table.one} has the {side} {said}? Show the {table.label}.",
            f"What is the {table.label} of the {table.one} with the {side} {said}?",
            f"Give the {table.label} of the {table.one} that has the {side} {said}.",
        )
    )
    order = "DESC" if highest else "ASC"
    sql = f"SELECT {table.label} FROM {table.name} ORDER BY {column} {order} LIMIT 1"
    return Query(kind="extreme", question=question, sql=sql, tables=(table.name,), column=column)


def _aggregate(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=True)
    if column is None:
        return None
    function, called = rng.choice((("AVG", "average"), ("SUM", "total"), ("MAX", "maximum"), ("MIN", "minimum")))
    said = _words(column, rng)
    sql = f"SELECT {function}({column}) FROM {table.name}"
    asked = rng.choice(
        (f"What is the {called} {said} of", f"Find the {called} {said} of", f"Give the {called} {said} of")
    )
    end = "?" if asked.startswith("What") else "."
    category = _column(table, rng, number=False)
    kind, condition = "aggregate", ""
    if category is None or rng.random() < 0.5:
        question = f"{asked} all {table.name}{end}"
    else:
        kind = "aggregate_where"
        value, condition = _equal(table, category, rng)
        if not any(f'"{row[category]}"' == value for row in world.rows[table.name]):
            return None
        question = f"{asked} the {table.name} with {_words(category, rng)} {value}{end}"
        sql += f" WHERE {condition}"
    return Query(
        kind=kind,
        question=question,
        sql=sql,
        tables=(table.name,),
        column=column,
        condition=condition,
        function=function,
    )


def _join_list(world: DatabaseWorld, rng: random.Random) -> Query | None:
    child, parent = _child(world, rng)
    owner = rng.choice(world.rows[parent.name])
    if not 1 <= sum(row[parent_key(child)] == owner[parent.key] for row in world.rows[child.name]) <= _MAX_LISTED:
        return None
    name = f'"{owner[parent.label]}"'
    question = rng.choice(
        (
            f"List the {child.label} of each {child.one} of the {parent.one} {name}.",
            f"Which {child.name} belong to the {parent.one} {name}? Show the {child.label}.",
            f"Give the {child.label} of every {child.one} that the {parent.one} {name} has.",
        )
    )
    condition = f"{parent.name}.{parent.label} = {name}"
    sql = f"SELECT {child.name}.{child.label} {_join(child, parent)} WHERE {condition}"
    return Query(
        kind="join_list",
        question=question,
        sql=sql,
        tables=(child.name, parent.name),
        column=parent_key(child),
        condition=condition,
    )


def _join_count(world: DatabaseWorld, rng: random.Random) -> Query | None:
    child, parent = _child(world, rng)
    column = _column(parent, rng, number=False)
    if column is None:
        return None
    value, condition = _equal(parent, column, rng)
    said = _words(column, rng)
    question = rng.choice(
        (
            f"How many {child.name} belong to {parent.name} with {said} {value}?",
            f"Count the {child.name} of all {parent.name} whose {said} is {value}.",
            f"What is the number of {child.name} of {parent.name} with {said} {value}?",
        )
    )
    condition = f"{parent.name}.{condition}"
    sql = f"SELECT COUNT(*) {_join(child, parent)} WHERE {condition}"
    return Query(
        kind="join_count",
        question=question,
        sql=sql,
        tables=(child.name, parent.name),
        column=parent_key(child),
        condition=condition,
    )


def _most_common(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=False)
    if column is None:
        return None
    ranked = Counter(row[column] for row in world.rows[table.name]).most_common(2)
    if len(ranked) < 2 or ranked[0][1] == ranked[1][1]:
        return None
    said = _words(column, rng)
    question = rng.choice(
        (
            f"Which {said} is the most common among the {table.name}?",
            f"What is the most common {said} of the {table.name}?",
            f"Find the {said} that most {table.name} have.",
        )
    )
    sql = f"SELECT {column} FROM {table.name} GROUP BY {column} ORDER BY COUNT(*) DESC LIMIT 1"
    return Query(kind="most_common", question=question, sql=sql, tables=(table.name,), column=column)


def _having(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=False)
    if column is None:
        return None
    least = rng.randint(1, 4)
    if not any(count > least for count in Counter(row[column] for row in world.rows[table.name]).values()):
        return None
    said = _words(column, rng)
    question = rng.choice(
        (
            f"Which values of {said} do more than {least} {table.name} have?",
            f"List each {said} that more than {least} {table.name} have.",
            f"Find every {said} with more than {least} {table.name}.",
        )
    )
    condition = f"COUNT(*) > {least}"
    sql = f"SELECT {column} FROM {table.name} GROUP BY {column} HAVING {condition}"
    return Query(kind="having", question=question, sql=sql, tables=(table.name,), column=column, condition=condition)


def _distinct(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=False)
    if column is None:
        return None
    said = _words(column, rng)
    question = rng.choice(
        (
            f"How many different values of {said} do the {table.name} have?",
            f"Count the different values of {said} among the {table.name}.",
            f"What is the number of different values of {said} of the {table.name}?",
        )
    )
    sql = f"SELECT COUNT(DISTINCT {column}) FROM {table.name}"
    return Query(kind="distinct", question=question, sql=sql, tables=(table.name,), column=column)


def _above_average(world: DatabaseWorld, rng: random.Random) -> Query | None:
    table = _table(world, rng)
    column = _column(table, rng, number=True)
    if column is None:
        return None
    said = _words(column, rng)
    question = rng.choice(
        (
            f"List the {table.label} of each {table.one} whose {said} is above the average.",
            f"Which {table.name} have {said} above the average? Show the {table.label}.",
        )
    )
    average = f"SELECT AVG({column}) FROM {table.name}"
    sql = f"SELECT {table.label} FROM {table.name} WHERE {column} > ({average})"
    return Query(kind="above_average", question=question, sql=sql, tables=(table.name,), column=column)


def _without(world: DatabaseWorld, rng: random.Random) -> Query | None:
    child, parent = _child(world, rng)
    key = parent_key(child)
    if {row[key] for row in world.rows[child.name]} >= {row[key] for row in world.rows[parent.name]}:
        return None
    question = rng.choice(
        (
            f"List the {parent.label} of each {parent.one} without any {child.name}.",
            f"Which {parent.name} have no {child.name}? Show the {parent.label}.",
        )
    )
    used = f"SELECT {key} FROM {child.name}"
    sql = f"SELECT {parent.label} FROM {parent.name} WHERE {key} NOT IN ({used})"
    return Query(kind="without", question=question, sql=sql, tables=(parent.name, child.name), column=key)


KINDS: dict[str, Make] = {
    "filter": _filter,
    "compare": _compare,
    "count": _count,
    "extreme": _extreme,
    "aggregate": _aggregate,
    "join_list": _join_list,
    "join_count": _join_count,
    "most_common": _most_common,
    "having": _having,
    "distinct": _distinct,
}

UNSEEN_KINDS: dict[str, Make] = {"above_average": _above_average, "without": _without}
