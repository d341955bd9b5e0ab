import random
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.intercode_sql import (
    Database,
    InterCodeSQLEnvironment,
    QueryError,
    ReadOnlyDatabase,
    SQLProblem,
    result_reward,
)
from agentbank_jax.errors import AgentBankError

SCRIPT = """
CREATE TABLE artists (artist_id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE songs (song_id INTEGER PRIMARY KEY, title TEXT, artist_id INTEGER REFERENCES artists);
INSERT INTO artists VALUES (1, 'Clara Stone'), (2, 'Paul Reed');
INSERT INTO songs VALUES (1, 'Silent Rain', 1), (2, 'Amber Moon', 1), (3, 'Wild Rose', 2);
"""
DATABASE = Database(key="songs", script=SCRIPT)
GOLD = "SELECT title FROM songs WHERE artist_id = 1"


def started(gold: str = GOLD) -> InterCodeSQLEnvironment:
    environment = InterCodeSQLEnvironment()
    problem = SQLProblem(question="Which songs are by Clara Stone?", database=DATABASE, gold=gold)
    environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=problem)})
    return environment


@pytest.mark.parametrize(
    "action", [GOLD, GOLD + ";", f"```sql\n{GOLD}\n```", f"```\n{GOLD};\n```", f"```SQL\n{GOLD}```"]
)
def test_a_query_may_be_bare_or_fenced(action: str) -> None:
    environment = started()
    observation, reward, terminated, _, info = environment.step(action)
    assert observation == "[('Silent Rain',), ('Amber Moon',)]" and reward == 0 and not terminated
    assert not info["invalid_action"]
    _, reward, terminated, _, info = environment.step("submit")
    assert reward == 1 and terminated and info["success"]


def test_tables_and_columns_can_be_listed() -> None:
    columns = "[('artist_id', 'integer'), ('name', 'text')]"
    assert started().step("SHOW TABLES;")[0] == "[('artists',), ('songs',)]"
    for action in ("DESC artists", "describe `Artists`;", "SHOW COLUMNS FROM artists", "```sql\nDESC artists\n```"):
        assert started().step(action)[0] == columns


def test_a_wrong_query_is_answered_with_its_error() -> None:
    environment = started()
    observation, reward, terminated, _, info = environment.step("SELECT x FROM missing")
    assert observation == "Error executing query: no such table: missing"
    assert info["invalid_action"] and reward == 0 and not terminated
    assert environment.step("DESC missing")[0] == "Error executing query: no such table: missing"


def test_the_last_result_counts() -> None:
    environment = started()
    environment.step(GOLD)
    environment.step("SELECT x FROM missing")
    assert environment.step("submit")[1] == 0


def test_submitting_at_once_earns_nothing() -> None:
    assert started().step("submit")[1] == 0


@pytest.mark.parametrize(
    "action",
    ["INSERT INTO artists VALUES (3, 'x')", "DROP TABLE songs", "UPDATE artists SET name = 'x'", "CREATE TABLE a (b)",
     "ATTACH '/tmp/x' AS y", "PRAGMA writable_schema = 1", "SELECT load_extension('x')", "VACUUM INTO '/tmp/x'",
     "BEGIN", "SELECT 1; SELECT 2", "SELECT '\x00'", "SELECT '\ud800'"],
)  # fmt: skip
def test_what_is_no_single_reading_query_is_refused(action: str) -> None:
    environment = started()
    assert environment.step(action)[4]["invalid_action"]
    assert environment.step("SELECT COUNT(*) FROM artists")[0] == "[(2,)]"


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT SUM(x) FROM c",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
        "SELECT zeroblob(900000000)",
    ],
)
def test_a_query_can_neither_run_nor_grow_for_ever(query: str) -> None:
    database = ReadOnlyDatabase(DATABASE, timeout_s=0.2, max_rows=1000)
    start = time.monotonic()
    with pytest.raises(QueryError):
        database.run(query)
    assert time.monotonic() - start < 5
    assert database.run("SELECT 1") == [(1,)]


@given(st.text(max_size=40))
@settings(max_examples=60)
def test_no_text_raises(action: str) -> None:
    assert isinstance(started().step(action)[0], str)


A, B, C, D = ("a",), ("b",), ("c",), ("d",)


@pytest.mark.parametrize(
    ("result", "gold", "reward"),
    [
        ([], [], 1.0),
        (None, [], 0.0),
        (None, [A], 0.0),
        ([A], [], 0.0),
        ([A], [A], 1.0),
        ([A], [A, B], 0.5),
        ([A, A], [A], 0.5),
        ([A, A], [A, A], 1.0),
        ([A, B, C], [A, B, C], 1.0),
        ([B, A], [A, B], -1.0),
        # Of three pairs two agree.
        ([A, C, B], [A, B, C], 0.33),
        # Two of three rows shared, in order.
        ([A, B, D], [A, B], 0.67),
        # One shared row has no order: the overlap is not rounded.
        ([A, B, C], [A], 1 / 3),
        ([(1,)], [("1",)], 0.0),
    ],
)
def test_the_reward_is_overlap_times_agreement_of_order(result, gold, reward: float) -> None:
    assert result_reward(result, gold) == pytest.approx(reward)


@given(st.lists(st.tuples(st.integers(0, 5)), max_size=8), st.lists(st.tuples(st.integers(0, 5)), max_size=8))
@settings(max_examples=60)
def test_the_reward_stays_in_its_range_and_is_one_for_equals(one, other) -> None:
    assert -1 <= result_reward(one, other) <= 1
    assert result_reward(one, one) == 1


def test_a_long_result_is_cut_in_the_observation_only() -> None:
    environment = InterCodeSQLEnvironment(max_characters=20)
    problem = SQLProblem(question="?", database=DATABASE, gold="SELECT title FROM songs")
    environment.reset(options={"instance": Instance(id="x", fingerprint="x", payload=problem)})
    assert len(environment.step("SELECT title FROM songs")[0]) == 23
    assert environment.step("submit")[1] == 1


def test_a_file_is_read_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "songs.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCRIPT)
    before = path.read_bytes()
    database = ReadOnlyDatabase(Database(key="file", path=str(path)))
    assert database.run("SELECT COUNT(*) FROM songs") == [(3,)]
    with pytest.raises(QueryError):
        database.run("DELETE FROM songs")
    assert path.read_bytes() == before


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AgentBankError, match="cannot be read"):
        ReadOnlyDatabase(Database(key="none", path=str(tmp_path / "none.sqlite")))


def test_a_random_action_is_understood() -> None:
    rng = random.Random(0)
    for _ in range(30):
        environment = started()
        assert not environment.step(environment.sample_action(rng))[4]["invalid_action"]
