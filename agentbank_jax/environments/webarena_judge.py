"""A language model that compares answers, for the tasks of WebArena that nothing else can judge."""

import json
import os
import urllib.error
import urllib.request

from agentbank_jax.errors import AgentBankError

URL_VARIABLE, MODEL_VARIABLE, KEY_VARIABLE = "WEBARENA_JUDGE_URL", "WEBARENA_JUDGE_MODEL", "WEBARENA_JUDGE_KEY"

_SECONDS = 30
_SAME = (
    "Question: {question}\nReference answer: {reference}\nAnswer to be graded: {answer}\n"
    "Does the answer mean the same as the reference, whatever its wording? Reply with the one word yes or no."
)
_SAME_REASON = (
    "Task that cannot be done: {question}\nWhy it cannot: {reference}\nReport of one who tried: {answer}\n"
    "Does the report give this reason, be it implicitly? Reply with the one word yes or no."
)


def judge_is_set() -> bool:
    """Whether the environment names an endpoint and a model."""
    return bool(os.environ.get(URL_VARIABLE) and os.environ.get(MODEL_VARIABLE))


def judge_name() -> str:
    """The model that judges, for the protocol; empty where there is none."""
    return os.environ.get(MODEL_VARIABLE, "") if judge_is_set() else ""


def same_answer(*, question: str, reference: str, answer: str) -> bool:
    """Whether the judge finds the answer equal in meaning. The wording of the question is this project's own.

    Raises:
      AgentBankError: where the endpoint does not answer yes or no.
    """
    return _ask(_SAME.format(question=question, reference=reference, answer=answer))


def same_reason(*, question: str, reference: str, answer: str) -> bool:
    """Whether the judge finds the reason named why a task cannot be done; raises as `same_answer`."""
    return _ask(_SAME_REASON.format(question=question, reference=reference, answer=answer))


def _ask(text: str) -> bool:
    url = os.environ[URL_VARIABLE].rstrip("/") + "/chat/completions"
    body = {
        "model": os.environ[MODEL_VARIABLE],
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 16,
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get(KEY_VARIABLE, 'none')}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            said = str(json.load(reply)["choices"][0]["message"]["content"])
    except (urllib.error.URLError, OSError, ValueError, LookupError, TypeError) as error:
        raise AgentBankError(f"The judge at {url} gave no answer ({error}); see {URL_VARIABLE}.") from None
    word = said.strip().lower().strip(".!\"'")
    if not word.startswith(("yes", "no")):
        raise AgentBankError(f"The judge at {url} said {said[:60]!r}; expected yes or no.")
    return word.startswith("yes")
