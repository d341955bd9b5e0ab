"""WebArena's evaluators: of the answer, of the address, and of what pages hold in the end.

Each gives True or False, and a task succeeds where all of its evaluators do (Zhou et al. 2023, arXiv 2307.13854).
"""

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agentbank_jax.environments.browser import Browser, PageRefusal
from agentbank_jax.environments.webarena_functions import call
from agentbank_jax.environments.webarena_judge import judge_is_set, same_answer, same_reason
from agentbank_jax.environments.webarena_tasks import NOT_ACHIEVABLE
from agentbank_jax.errors import AgentBankError

OR = " |OR| "
_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|\w+|[^\w\s]")
_LAST_URL = "__last_url__"


def clean(answer: str) -> str:
    """An answer without blanks around it and one pair of quotation marks, in lower case."""
    answer = answer.strip()
    for mark in ("'", '"'):
        if len(answer) > 1 and answer.startswith(mark) and answer.endswith(mark):
            return answer[1:-1].lower()
    return answer.lower()


def must_include(reference: str, text: str, *, as_word: bool = False) -> bool:
    """Whether the text holds the reference; a single character only as a word of its own where `as_word`."""
    reference, text = clean(reference), clean(text)
    if as_word and len(reference) == 1:
        return reference in _TOKEN.findall(text)
    return reference in text


def string_match(evaluation: Mapping[str, Any], answer: str, intent: str) -> bool:
    """Judges the stated answer by `exact_match`, `must_include` and `fuzzy_match`."""
    references = evaluation["reference_answers"] or {}
    if "exact_match" in references and clean(answer) != clean(str(references["exact_match"])):
        return False
    included = references.get("must_include") or ()
    if not all(must_include(str(one), answer, as_word=len(included) == 1) for one in included):
        return False
    fuzzy = references.get("fuzzy_match")
    if fuzzy == NOT_ACHIEVABLE:
        if clean(answer) == clean(NOT_ACHIEVABLE):
            return True
        note = str(evaluation.get("string_note") or "")
        return judge_is_set() and bool(answer) and same_reason(question=intent, reference=note, answer=answer)
    wanted = [fuzzy] if isinstance(fuzzy, str) else fuzzy or []
    return all(bool(answer) and same_answer(question=intent, reference=one, answer=answer) for one in wanted)


def url_match(evaluation: Mapping[str, Any], url: str) -> bool:
    """Whether host and path of one of the reference addresses are part of the address, and its query is met."""
    if evaluation.get("url_note", "GOLD in PRED") != "GOLD in PRED":
        raise AgentBankError(f"WebArena's url_note {evaluation['url_note']!r} is not known; expected 'GOLD in PRED'.")
    references = [_parts(one) for one in evaluation["reference_url"].split(OR)]
    base, query = _parts(url)
    allowed: dict[str, set[str]] = {}
    for _, wanted in references:
        for name, values in wanted.items():
            allowed.setdefault(name, set()).update(values)
    return any(reference in base for reference, _ in references) and all(
        values & set(query.get(name, [])) for name, values in allowed.items()
    )


def _parts(url: str) -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(url.rstrip("/"))
    return (parts.netloc + parts.path).rstrip("/"), parse_qs(parts.query)


def program_html(evaluation: Mapping[str, Any], browser: Browser) -> bool:
    """Whether the pages named hold what they shall; leaves the browser at the last of them.

    Raises:
      AgentBankError: a target is of a form that WebArena does not have.
    """
    last = browser.script("return location.href;")
    return all(_target_met(target, browser, last) for target in evaluation["program_html"])


def _target_met(target: Mapping[str, Any], browser: Browser, last: str) -> bool:
    url = str(target["url"])
    if url.startswith("func:"):
        url = call(url.removeprefix("func:").replace(_LAST_URL, last), browser)
    try:
        if url != "last":
            browser.open(url)
            browser.page()  # waits until the page is at rest
        found = html.unescape(_found(target, browser))
    except PageRefusal:
        return False
    required = target["required_contents"]
    if "exact_match" in required:
        return clean(found) == clean(str(required["exact_match"]))
    if "must_include" in required:
        return all(any(must_include(part, found) for part in one.split(OR)) for one in required["must_include"])
    raise AgentBankError(f"WebArena's required_contents {list(required)} are not known.")


def _found(target: Mapping[str, Any], browser: Browser) -> str:
    locator = str(target["locator"]).strip()
    if not locator:
        return str(browser.script("return document.documentElement.outerHTML;"))
    if locator.startswith(("document.", "[...document.")):
        for action in target.get("prep_actions") or ():
            browser.script(_TRY.format(action))
        return str(browser.script(_TRY.format(locator)) or "")
    if locator.startswith("func:"):
        return call(locator.removeprefix("func:"), browser)
    raise AgentBankError(f"WebArena's locator {locator[:80]!r} is not known; expected document.… or func:….")


# A page that lacks what the locator asks for has nothing there.
_TRY = "try {{ return ({}); }} catch (error) {{ return ''; }}"
