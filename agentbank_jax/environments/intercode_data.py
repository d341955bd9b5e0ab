"""InterCode's problems as published: questions over Spider's databases, and NL2Bash's over its file systems.

InterCode: Yang et al. 2023, arXiv 2306.14898. The user has the files; the project ships none of them.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.benchmark_data import folder
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_rows, typed_field
from agentbank_jax.environments.intercode_bash import BashProblem
from agentbank_jax.environments.intercode_files import Entry, read_manifest
from agentbank_jax.environments.intercode_sql import Database, SQLProblem
from agentbank_jax.errors import AgentBankError

_HARDNESS = {"easy": 1, "medium": 2, "hard": 3, "extra": 4}
# What Spider's own files call them.
_SPIDER = {"db": "db_id", "query": "question", "gold": "query"}
_SYSTEM = re.compile(r"_fs_(\w+)\.json")
# Where a database called NAME lies beside the questions: as SQLite files alone, and as Spider has them.
_PLACES = ("databases/{0}.sqlite", "database/{0}/{0}.sqlite")


def read_sql(path: Path, split: str) -> Iterator[Instance]:
    """Reads all questions of a file: a list or JSON lines of `db`, `query`, `gold` and, perhaps, `hardness`.

    Spider's own layout is read as well (`db_id`, `question`, and the gold `query`); it states no hardness.

    The databases lie beside it, as `databases/NAME.sqlite` or `database/NAME/NAME.sqlite`.

    Raises:
      AgentBankError: where the file cannot be read, a row breaks the layout, or a database is missing.
    """
    for number, row in read_rows(path, {}):
        if "db" not in row and "db_id" in row:
            row = {name: row.get(theirs) for name, theirs in _SPIDER.items()}
        for name in _SPIDER:
            typed_field(row, name, str, f"{path}:{number}")
        database = _database(path.parent, row["db"])
        if database is None:
            places = " or ".join(place.format(row["db"]) for place in _PLACES)
            raise AgentBankError(f"{path}:{number}:db: '{row['db']}'; expected its database in {places} beside it.")
        gold = row["gold"].strip()
        yield Instance(
            id=f"intercode_sql/{split}/{number}",
            fingerprint=question_fingerprint(f"{row['db']} {row['query']}"),
            payload=SQLProblem(
                question=row["query"].strip(),
                database=database,
                gold=gold,
                plan=(
                    ExpertStep(action=f"```sql\n{gold}\n```", intent="solve"),
                    ExpertStep(action="submit", intent="submit"),
                ),
            ),
            difficulty=_HARDNESS.get(str(row.get("hardness")), 1),
        )


@functools.lru_cache(maxsize=256)
def _database(beside: Path, name: str) -> Database | None:
    for place in _PLACES:
        path = beside / place.format(name)
        if path.is_file():
            # One that is exchanged is another one.
            return Database(key=f"{path} {path.stat().st_mtime_ns}", path=str(path))
    return None


def read_bash(path: Path, split: str) -> Iterator[Instance]:
    """Reads all queries of one file system: a list of `query` and `gold`, in a file that ends in `_fs_N.json`.

    The file system is beside it, as the manifest `filesystem_N.json`.

    Raises:
      AgentBankError: where a file cannot be read or breaks the layout.
    """
    match = _SYSTEM.search(path.name)
    if match is None:
        raise AgentBankError(f"{path}: expected a name that ends in '_fs_N.json', N its file system.")
    manifest = path.parent / f"filesystem_{match[1]}.json"
    entries: tuple[Entry, ...] = read_manifest(manifest)
    for number, row in read_rows(path, {"query": str, "gold": str}):
        yield Instance(
            id=f"intercode_bash/{split}/fs_{match[1]}/{number}",
            fingerprint=question_fingerprint(row["query"]),
            payload=BashProblem(query=row["query"].strip(), gold=row["gold"], entries=entries),
        )


def databases_missing() -> str | None:
    """None where the folder of InterCode-SQL has databases, else what is missing."""
    place = folder("intercode_sql")
    if place is None:
        return None
    beside = place.parent if place.is_file() else place
    if any(beside.glob("databases/*.sqlite")) or any(beside.glob("database/*/*.sqlite")):
        return None
    return f"{beside} holds no databases/*.sqlite; get them from yale-lily.github.io/spider (its folder database/)"
