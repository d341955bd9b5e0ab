"""WebArena's task configurations, and the sites that a user hosts for them.

WebArena: Zhou et al. 2023, arXiv 2307.13854. The configurations are its publisher's `config_files/test.raw.json`
(github.com/web-arena-x/webarena); the sites are named by the publisher's environment variables.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.json_list import read_rows
from agentbank_jax.environments.webarena_judge import judge_is_set
from agentbank_jax.errors import AgentBankError

SITES = ("SHOPPING", "SHOPPING_ADMIN", "REDDIT", "GITLAB", "WIKIPEDIA", "MAP", "HOMEPAGE")
EVALUATIONS = ("string_match", "url_match", "program_html")
NOT_ACHIEVABLE = "N/A"

_FIELDS = ("task_id", "sites", "start_url", "intent", "eval")


@dataclass(frozen=True, kw_only=True)
class WebArenaTask:
    """The payload of an instance.

    Fields:
      intent: what is to be done.
      start_url: of the first page; several are joined by ` |AND| `.
      evaluation: the publisher's `eval`, with the addresses of the sites filled in.
      storage_state: file of the cookies of a login; empty where none is needed.
      reference_actions: a solution, where the configuration has one: the published ones have none. Elements are named
        by role and name in place of a number, as in `click [link "Blue mug"]`.
    """

    intent: str
    start_url: str
    evaluation: Mapping[str, Any]
    storage_state: str = ""
    reference_actions: tuple[str, ...] = field(default=())


def site_urls() -> dict[str, str]:
    """The sites that the environment names, without a slash at the end."""
    return {name: os.environ[name].rstrip("/") for name in SITES if os.environ.get(name)}


def hosts() -> tuple[str, ...]:
    """`host:port` of the sites."""
    return tuple(dict.fromkeys(urlsplit(url).netloc.rpartition("@")[2] for url in site_urls().values()))


def missing_sites() -> str | None:
    """None where a site is named well, else the reason and the remedy."""
    urls = site_urls()
    if not urls:
        return (
            f"no site is named; host WebArena's sites and set {', '.join(SITES)} (or those that you host) to their "
            "addresses"
        )
    for name, url in urls.items():
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            return f"{name} is '{url}'; expected an address such as http://localhost:7770"
    return None


def read_instances(path: Path, split: str) -> Iterator[Instance]:
    """Yields the tasks that can be run and judged here.

    Left out are those on a site that is not named, and those that only a language model can judge (`fuzzy_match`)
    where none is configured.

    Raises:
      AgentBankError: a row breaks the layout; names file, row (from 0) and field.
    """
    urls = site_urls()
    for number, row in enumerate(read_rows(path)):
        where = f"{path}: row {number}"
        for name in _FIELDS:
            if row.get(name) is None:
                raise AgentBankError(f"{where}: {name} is missing; expected WebArena's layout.")
        evaluation = row["eval"]
        for kind in evaluation.get("eval_types") or ("none",):
            if kind not in EVALUATIONS:
                raise AgentBankError(f"{where}: eval_types has {kind!r}; expected some of {', '.join(EVALUATIONS)}.")
        needed = {str(site).upper() for site in row["sites"]} | _placeholders(row)
        if not needed <= urls.keys() or (needs_judge(evaluation) and not judge_is_set()):
            continue
        filled = json.loads(_fill(json.dumps({"start_url": row["start_url"], "eval": evaluation}), urls))
        state = row.get("storage_state") if row.get("require_login") else None
        yield Instance(
            id=f"webarena/{split}/{row['task_id']}",
            fingerprint=hashlib.sha256(f"{row['task_id']}\n{row['intent']}".encode()).hexdigest(),
            payload=WebArenaTask(
                intent=row["intent"],
                start_url=filled["start_url"],
                evaluation=filled["eval"],
                storage_state=str(_state_file(path, state)) if state else "",
                reference_actions=tuple(row.get("reference_actions") or ()),
            ),
        )


def _state_file(path: Path, state: str) -> Path:
    """The file of a login: it lies beside the configurations, or beside their folder as at the publisher's."""
    beside = path.parent / state
    return beside if beside.is_file() else path.parent.parent / state


def needs_judge(evaluation: Mapping[str, Any]) -> bool:
    """Whether only a language model can judge the answer."""
    answers = evaluation.get("reference_answers") or {}
    return "string_match" in evaluation["eval_types"] and answers.get("fuzzy_match", NOT_ACHIEVABLE) != NOT_ACHIEVABLE


def _placeholders(row: Mapping[str, Any]) -> set[str]:
    text = json.dumps([row["start_url"], row["eval"]])
    return {name for name in SITES if f"__{name}__" in text}


def _fill(text: str, urls: Mapping[str, str]) -> str:
    for name, url in urls.items():
        text = text.replace(f"__{name}__", url)
    return text
