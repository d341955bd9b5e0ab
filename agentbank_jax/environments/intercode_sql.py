"""Questions answered with SQL, after InterCode-SQL's protocol, on SQLite: queries, then `submit`."""

import functools
import random
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from agentbank_jax.environments.base import ExpertStep, TextEnvironment, begun, payload_of
from agentbank_jax.environments.turn_text import cut, unfenced
from agentbank_jax.errors import AgentBankError

PROTOCOL = "intercode_sql/1"

_SHOW_TABLES = re.compile(r"^show\s+tables$", re.IGNORECASE)
_DESCRIBE = re.compile(r"^(?:desc|describe|show\s+columns\s+from)\s+[`'\"]?(.+?)[`'\"]?$", re.IGNORECASE)

# What a query may do; everything else (writing, ATTACH, PRAGMA, extensions) is refused.
_PERMITTED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
# A function such as instr takes the square of this, and time is only looked at between the steps of a query.
_MAX_VALUE_BYTES = 50_000
_MAX_FUNCTIONS = 100
_MAX_RESULT_BYTES = 10_000_000
_MAX_SQL_BYTES = 20_000
_MAX_HEAP_BYTES = 1 << 29
_CHECK_EVERY = 1_000

Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Database:
    """A database, as the statements that build it or as a SQLite file.

    Fields:
      key: names the content; databases with equal keys share one copy in memory.
      script: SQL statements, separated by semicolons.
      path: a SQLite file, read once and never written.
    """

    key: str
    script: str = ""
    path: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Database) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, kw_only=True)
class SQLProblem:
    """A question over a database.

    Fields:
      question: the first observation.
      database: where the answer is found.
      gold: the query whose result is the answer.
      plan: the expert's actions in order, `submit` last.
    """

    question: str
    database: Database
    gold: str
    plan: tuple[ExpertStep, ...] = field(default=())


class QueryError(Exception):
    """A query that failed or was refused; the message is the reason."""


class ReadOnlyDatabase:
    """A copy of a database in memory that answers queries and refuses everything else.

    Args:
      database: what to copy.
      timeout_s: seconds after which a query is stopped.
      max_rows: rows after which a result is refused.

    Raises:
      AgentBankError: where the file or the script cannot be read.
    """

    def __init__(self, database: Database, *, timeout_s: float = 2.0, max_rows: int = 10_000) -> None:
        self._timeout_s = timeout_s
        self._max_rows = max_rows
        # Everything runs in the thread of the caller, whichever that is; nothing is ever written.
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        try:
            if database.path is not None:
                with sqlite3.connect(f"file:{database.path}?mode=ro", uri=True) as source:
                    source.backup(self._connection)
            else:
                self._connection.executescript(database.script)
        except sqlite3.Error as error:
            raise AgentBankError(
                f"database '{database.path or database.key}' cannot be read: {error}. Expected a SQLite database."
            ) from error
        self.tables: dict[str, list[tuple[str, str]]] = {
            table: [
                (name, kind.lower())
                for _, name, kind, *_ in self._connection.execute("SELECT * FROM pragma_table_info(?)", (table,))
            ]
            for (table,) in self._connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' "
                "ORDER BY name"
            )
        }
        self._connection.execute(f"PRAGMA hard_heap_limit = {_MAX_HEAP_BYTES}")
        # Sorting stays in memory, under the limit above, instead of filling a disk.
        self._connection.execute("PRAGMA temp_store = MEMORY")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MAX_SQL_BYTES)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100)
        self._connection.set_authorizer(self._authorize)
        self._deadline = 0.0
        self._functions = 0
        self._connection.set_progress_handler(self._is_late, _CHECK_EVERY)

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _authorize(
        self, action: int, first: str | None, second: str | None, database: str | None, source: str | None
    ) -> int:
        if action not in _PERMITTED or (action == sqlite3.SQLITE_FUNCTION and second == "load_extension"):
            return sqlite3.SQLITE_DENY
        self._functions += action == sqlite3.SQLITE_FUNCTION
        return sqlite3.SQLITE_OK if self._functions <= _MAX_FUNCTIONS else sqlite3.SQLITE_DENY

    def run(self, sql: str) -> list[Row] | None:
        """Runs one statement and returns its rows; None where it was empty or a comment.

        `SHOW TABLES` and `DESC table` are answered too, as rows of names and of (column, type).

        Raises:
          QueryError: where the statement is wrong, refused, too slow or its result too large.
        """
        sql = sql.strip().rstrip(";").rstrip()
        if _SHOW_TABLES.match(sql):
            return [(table,) for table in self.tables]
        if describe := _DESCRIBE.match(sql):
            return list(self._describe(describe[1]))
        self._deadline = time.monotonic() + self._timeout_s
        self._functions = 0
        try:
            cursor = self._connection.execute(sql)
            return None if cursor.description is None else self._fetch(cursor)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            reason = f"stopped after {self._timeout_s:g} s" if str(error) == "interrupted" else str(error)
            raise QueryError(reason) from error
        except MemoryError as error:
            raise QueryError("out of memory") from error

    def _describe(self, name: str) -> Sequence[tuple[str, str]]:
        for table, columns in self.tables.items():
            if table.lower() == name.lower():
                return columns
        raise QueryError(f"no such table: {name}")

    def _fetch(self, cursor: sqlite3.Cursor) -> list[Row]:
        rows: list[Row] = []
        size = 0
        for row in cursor:
            rows.append(row)
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            if len(rows) > self._max_rows or size > _MAX_RESULT_BYTES:
                cursor.close()
                raise QueryError("the result is too large; add a LIMIT")
        return rows


@functools.lru_cache(maxsize=16)
def open_database(database: Database) -> ReadOnlyDatabase:
    """Returns the copy of a database in memory, made at the first call for its key."""
    return ReadOnlyDatabase(database)


def result_reward(result: Sequence[Row] | None, gold: Sequence[Row]) -> float:
    """InterCode-SQL's reward: intersection over union of the rows, times the agreement of their order.

    Rows are compared as strings, as multisets. The shared rows, in the order of either result,
    make two sequences of strings; Kendall's tau-b between the two scales the reward and is left out
    where it is undefined (fewer than two distinct shared rows). A reward so scaled is rounded to 2
    places and can be negative.

    Args:
      result: the rows of the agent's last action, None where it gave none.
      gold: the rows of the gold query.

    Returns:
      A reward in [-1, 1]; 1 where both results are empty.
    """
    if result is None:
        return 0.0
    ours, theirs = [str(row) for row in result], [str(row) for row in gold]
    shared = Counter(ours) & Counter(theirs)
    union = (Counter(ours) | Counter(theirs)).total()
    if union == 0:
        return 1.0
    overlap = shared.total() / union
    tau = _kendall_tau(_only(ours, shared), _only(theirs, shared))
    return overlap if isnan(tau) else round(overlap * tau, 2)


def _only(rows: Sequence[str], shared: Counter[str]) -> list[str]:
    """The shared rows in the order of `rows`; of repeated ones the first."""
    left = shared.copy()
    kept = []
    for row in rows:
        if left[row] > 0:
            left[row] -= 1
            kept.append(row)
    return kept


def _kendall_tau(ours: Sequence[str], theirs: Sequence[str]) -> float:
    ranks = {row: rank for rank, row in enumerate(sorted(set(ours)))}
    if len(ranks) < 2:
        return float("nan")
    if ours == theirs:
        return 1.0
    # Imported here: it takes most of a second, and equal orders do not need it.
    from scipy.stats import kendalltau

    return float(kendalltau([ranks[row] for row in ours], [ranks[row] for row in theirs]).statistic)


class InterCodeSQLEnvironment(TextEnvironment):
    """Runs SQL, bare or in a fenced block, and on `submit` scores the last action's rows against the gold query's.

    The observation is the rows as a list of tuples, or `Error executing query: …`. The database is
    read-only. `info` of the final step holds `success` (reward 1) and `gold_rows`, the number of rows
    of the gold result.

    Args:
      max_characters: where an observation is cut.
    """

    def __init__(self, *, max_characters: int = 1000) -> None:
        self._max_characters = max_characters
        self._problem: SQLProblem | None = None
        self._rows: list[Row] | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._problem = payload_of(options, SQLProblem, "intercode_sql")
        self._rows = None
        return self._current.question, {"invalid_action": False}

    @property
    def _current(self) -> SQLProblem:
        return begun(self._problem, "intercode_sql")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        database = open_database(problem.database)
        sql = unfenced(action, "sql")
        if sql.lower() == "submit":
            gold = database.run(problem.gold) or []
            reward = result_reward(self._rows, gold)
            info = {"invalid_action": False, "success": reward >= 1, "gold_rows": len(gold)}
            return "Submitted.", reward, True, False, info
        try:
            self._rows = database.run(sql)
        except QueryError as error:
            self._rows = None
            text = f"Error executing query: {error}"[: self._max_characters]
            return text, 0.0, False, False, {"invalid_action": True}
        return cut(str(self._rows), self._max_characters), 0.0, False, False, {"invalid_action": False}

    def expert_steps(self) -> list[ExpertStep]:
        return list(self._current.plan)

    def sample_action(self, rng: random.Random) -> str:
        tables = open_database(self._current.database).tables
        table = rng.choice(list(tables))
        column = rng.choice(tables[table])[0]
        sql = rng.choice(
            (
                "SHOW TABLES",
                f"DESC {table}",
                f'SELECT "{column}" FROM "{table}"',
                f'SELECT COUNT(*) FROM "{table}"',
                f'SELECT "{column}" FROM "{table}" ORDER BY "{column}" DESC LIMIT 1',
                "submit",
            )
        )
        return sql if sql == "submit" else f"```sql\n{sql}\n```"
