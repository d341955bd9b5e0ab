"""Calls of a language model, kept on disk: what was answered once is never asked, nor paid, again.

A file of SQLite's in its write-ahead mode, which several processes may use at once. A reply is in it, whole, before
anybody sees it: a process that is killed loses at most the request that was under way. What a server refuses costs
nothing and is not kept, for the cause may be mended. The file must lie on a disk of the machine: SQLite's write-ahead
mode does not work over network file systems.
"""

import contextlib
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentbank_jax.agents.policy import Reply
from agentbank_jax.errors import AgentBankError, first_line

_VERSION = 1
_SECONDS_TO_WAIT = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, tokens INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS costs (
    account TEXT PRIMARY KEY, requests INTEGER NOT NULL, cached INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL
) WITHOUT ROWID;
"""
_CHARGE = """
INSERT INTO costs VALUES (:account, :requests, :cached, :prompt_tokens, :completion_tokens)
ON CONFLICT (account) DO UPDATE SET
    requests = requests + excluded.requests, cached = cached + excluded.cached,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens
"""


class CallCacheError(AgentBankError):
    """A cache that cannot be read or written."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What calls have cost.

    Fields:
      requests: that a server answered.
      cached: that the cache answered instead.
      prompt_tokens, completion_tokens: of the requests that a server answered, as it counts them.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def call_key(model: str, body: Mapping[str, Any]) -> str:
    """Names a call: the SHA-256 of the model's name, the messages and how the reply is drawn.

    The server's address is no part of it: the same model may be served at another port tomorrow.
    """
    text = json.dumps({"model": model, **body}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class CallCache:
    """Replies by the keys of their calls, and what they have cost; of one thread.

    Args:
      path: the file, which is made where it is missing, with its folder.

    Raises:
      CallCacheError: it cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each statement is a transaction of its own, unless one is begun.
            self._database = sqlite3.connect(path, timeout=_SECONDS_TO_WAIT, isolation_level=None)
        try:
            with self._told():
                self._set_up()
        except CallCacheError:
            self._database.close()
            raise

    def _set_up(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            if self._database.execute("SELECT 1 FROM sqlite_schema WHERE name NOT IN ('calls', 'costs')").fetchone():
                raise CallCacheError(f"{self._path} is another program's database; name another file.")
            self._write_ahead()
            with self._transaction():
                for statement in _TABLES.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise CallCacheError(
                f"{self._path} is a cache of version {version}; expected {_VERSION}. Name another file."
            )

    def _write_ahead(self) -> None:
        # For this lock SQLite does not wait by itself.
        deadline = time.monotonic() + _SECONDS_TO_WAIT
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def find(self, key: str) -> Reply | None:
        """The reply that a call got, if it was made before."""
        with self._told():
            row = self._database.execute(
                "SELECT text, tokens, prompt_tokens FROM calls WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        text, tokens, prompt_tokens = row
        return Reply(text=text, tokens=tokens, prompt_tokens=prompt_tokens)

    def keep(self, key: str, reply: Reply, account: str) -> Reply:
        """Keeps a reply and charges an account with it, both or neither.

        Returns:
          The reply that is kept under the key from now on: another process's, where that came first.
        """
        row = (key, reply.text, reply.tokens, reply.prompt_tokens)
        with self._told(), self._transaction():
            self._database.execute("INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?)", row)
            self._charge(account, Cost(requests=1, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.tokens))
        kept = self.find(key)
        assert kept is not None, "it was kept just now"
        return kept

    def count_cached(self, number: int, account: str) -> None:
        """Counts calls that the cache has answered."""
        with self._told():
            self._charge(account, Cost(cached=number))

    def costs(self) -> dict[str, Cost]:
        """What each account was charged with, over all runs."""
        with self._told():
            rows = self._database.execute(
                "SELECT account, requests, cached, prompt_tokens, completion_tokens FROM costs ORDER BY account"
            ).fetchall()
        return {
            account: Cost(requests=requests, cached=cached, prompt_tokens=prompt, completion_tokens=completion)
            for account, requests, cached, prompt, completion in rows
        }

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def _charge(self, account: str, cost: Cost) -> None:
        self._database.execute(_CHARGE, {"account": account, **vars(cost)})

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        # Immediate: one that began as a reader could not wait for another writer.
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise CallCacheError(
                f"{self._path}: the cache of calls cannot be used ({first_line(error)}); expected a file of its own "
                "on a disk of this machine, with room."
            ) from None
