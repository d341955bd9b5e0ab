"""Spider's gold queries as InterCode-SQL episodes: the tables, their columns, the query, `submit`.

Spider: Yu et al. 2018, arXiv 1809.08887. The question names no table, so an agent has to look before it can write the
query; what the query does is told from its clauses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import Wording, reformatted
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.intercode_sql import SQLProblem, open_database
from agentbank_jax.environments.registry import EnvironmentSpec

_FROM = re.compile(r"\b(?:FROM|JOIN)\s+[`\"\[]?(\w+)", re.IGNORECASE)
# In double quotes there is a text too, but for the name of a table.
_TEXT = re.compile(r"'[^']*'|(?<!FROM )(?<!JOIN )\"[^\"]*\"", re.IGNORECASE)
_AGGREGATE = re.compile(r"\b(COUNT|SUM|AVG|MIN|MAX)\s*\(", re.IGNORECASE)
_AGGREGATES = {"COUNT": "count", "SUM": "sum", "AVG": "average", "MIN": "least value", "MAX": "greatest value"}
_CLAUSES = (
    (r"\bWHERE\b", "keep the rows that meet the condition"),
    (r"\bGROUP\s+BY\b", "group them"),
    (r"\bHAVING\b", "keep the groups that meet the condition"),
    (r"\bINTERSECT\b", "keep what both parts have"),
    (r"\bEXCEPT\b", "leave out what the other part has"),
    (r"\bUNION\b", "put both parts together"),
    (r"\bORDER\s+BY\b", "put them in order"),
    (r"\bLIMIT\b", "keep the first"),
)


@dataclass(frozen=True, kw_only=True)
class QueryReformatter:
    """Looks at the tables that the gold query reads, runs it and submits.

    `SHOW TABLES` comes first, then the columns of each table in the order of the query, as many as the limit of turns
    allows. Drops, beside those of a replay: `no_table` (the query reads none that the database has).

    Fields:
      seed: chooses the wording.
      look: whether tables and columns are looked at; without, the query is the first action.
    """

    seed: int = 0
    look: bool = True

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        problem: SQLProblem = instance.payload
        wording = Wording(instance.id, self.seed)
        names = {table.lower(): table for table in open_database(problem.database).tables}
        read = list(dict.fromkeys(name.lower() for name in _FROM.findall(_TEXT.sub("''", problem.gold))))
        tables = [names[name] for name in read if name in names]
        if not tables:
            return Drop(id=instance.id, reason="no_table", detail=problem.gold)
        steps: list[ExpertStep] = []
        thoughts: list[str] = []

        def add(action: str, intent: str, thought: str) -> None:
            steps.append(ExpertStep(action=action, intent=intent))
            thoughts.append(thought)

        if self.look:
            add(_fenced("SHOW TABLES"), "show_tables", wording.say("show_tables"))
            for table in tables[: max(0, spec.max_steps - 3)]:
                add(_fenced(f"DESC {table}"), "describe", wording.say("describe", table=table))
        add(_fenced(problem.gold), "solve", describe_query(problem.gold, tables))
        add("submit", "submit", wording.say("submit"))
        return reformatted(steps, thoughts)

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "gold_query", "seed": self.seed, "look": self.look}


def describe_query(sql: str, tables: list[str]) -> str:
    """Says in a sentence what a query does, clause by clause.

    Args:
      sql: the query.
      tables: those that it reads, in its order.
    """
    bare = _TEXT.sub("''", sql)
    first = f"join {_listed(tables)}" if re.search(r"\bJOIN\b", bare, re.IGNORECASE) else f"read {_listed(tables)}"
    parts = [first, *(words for pattern, words in _CLAUSES if re.search(pattern, bare, re.IGNORECASE))]
    kinds = dict.fromkeys(_AGGREGATES[name.upper()] for name in _AGGREGATE.findall(bare))
    if kinds:
        parts.append(f"take the {_listed(list(kinds))}")
    return f"I {_listed(parts)}."


def _fenced(sql: str) -> str:
    return f"```sql\n{sql}\n```"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
