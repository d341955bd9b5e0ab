"""Made-up databases: the tables of a theme, filled at random."""

import functools
import hashlib
import random
from dataclasses import dataclass, replace
from itertools import product

from agentbank_jax.environments.intercode_sql import Database
from agentbank_jax.environments.starter.themes import THEMES, UNSEEN_THEMES, Table, is_number, parent_key


@dataclass(frozen=True, kw_only=True, eq=False)
class DatabaseWorld:
    """A filled database.

    Fields:
      tables: its tables, with the columns that this database has.
      rows: by table, its rows, each a value by column.
      database: the same for the engine.
    """

    tables: dict[str, Table]
    rows: dict[str, list[dict[str, str | int]]]
    database: Database


def _fill(table: Table, parents: list[dict[str, str | int]], rng: random.Random) -> list[dict[str, str | int]]:
    labels = rng.sample(
        [f"{lead} {second}" for lead, second in product(table.leads, table.seconds)], rng.randint(8, 14)
    )
    rows = []
    for number, label in enumerate(labels, start=1):
        row: dict[str, str | int] = {table.key: number, table.label: label}
        if table.parent:
            # The later parents may stay without children.
            row[parent_key(table)] = rng.randint(1, max(2, len(parents) * 2 // 3))
        for column, domain in table.columns.items():
            row[column] = rng.randint(*domain) if is_number(domain) else str(rng.choice(domain))
        rows.append(row)
    return rows


def _script(tables: dict[str, Table], rows: dict[str, list[dict[str, str | int]]]) -> str:
    statements = []
    for table in tables.values():
        columns = []
        for column in rows[table.name][0]:
            kind = "integer" if isinstance(rows[table.name][0][column], int) else "text"
            primary = " PRIMARY KEY" if column == table.key else ""
            refers = f" REFERENCES {table.parent}" if table.parent and column == parent_key(table) else ""
            columns.append(f"{column} {kind}{primary}{refers}")
        values = ", ".join(str(tuple(row.values())) for row in rows[table.name])
        statements.append(
            f"CREATE TABLE {table.name} ({', '.join(columns)});\nINSERT INTO {table.name} VALUES {values};"
        )
    return "\n".join(statements)


@functools.lru_cache(maxsize=4)
def database_world(seed: str, *, unseen: bool) -> DatabaseWorld:
    """Returns the database with this seed, a pure function of it: a theme, its columns but one each, and rows."""
    rng = random.Random(seed)
    themes = UNSEEN_THEMES if unseen else THEMES
    tables: dict[str, Table] = {}
    rows: dict[str, list[dict[str, str | int]]] = {}
    for table in themes[rng.choice(list(themes))]:
        columns = rng.sample(list(table.columns), len(table.columns) - 1)
        kept = replace(table, columns={column: table.columns[column] for column in columns})
        tables[table.name] = kept
        rows[table.name] = _fill(kept, rows[table.parent] if table.parent else [], rng)
    script = _script(tables, rows)
    key = hashlib.sha256(script.encode()).hexdigest()
    return DatabaseWorld(tables=tables, rows=rows, database=Database(key=key, script=script))
