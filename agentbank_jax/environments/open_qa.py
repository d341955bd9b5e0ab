"""Published questions answered over an index on disk: `search[query]`, `lookup[keyword]`, then `Final Answer: …`."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.environments.base import (
    FINAL_ANSWER_PREFIX,
    AnswerProtocol,
    ExpertStep,
    TextEnvironment,
    answers_of,
    begun,
    judged,
    payload_of,
)
from agentbank_jax.environments.packages import installed_version
from agentbank_jax.environments.passage_index import PassageStore, open_index
from agentbank_jax.environments.qa_scores import Scoring, score_answer
from agentbank_jax.environments.sentences import split_sentences
from agentbank_jax.environments.turn_text import answer_step, stated_answer
from agentbank_jax.errors import AgentBankError

PROTOCOL = f"open_qa/1 (tantivy {installed_version('tantivy')}, best of 5)"

_FOUND = 5
_ACTION = re.compile(r"^(search|lookup)\s*\[(.*)\]$", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r"\w+")
_HELP = f"Unknown action. Use search[query], lookup[keyword] or {FINAL_ANSWER_PREFIX} answer."


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the source names on the way to an answer.

    Fields:
      title: of the article; empty for a step that needs none.
      question: the sub-question that it answers; empty where the source has none.
      sentences: of the article, those that support the answer.
    """

    title: str
    question: str = ""
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OpenQuestion:
    """A question over an index of passages.

    Fields:
      question: the first observation.
      answers: every accepted answer; the first one is the expert's.
      scoring: how the benchmark compares answers.
      searches: what the expert searches for, in order: titles where they are known.
      index: the folder of the index.
      evidence: what the source names on the way to the answer, in its order; never shown.
      facts: what the source says that the answer rests on; never shown.
    """

    question: str
    answers: tuple[str, ...]
    scoring: Scoring
    searches: tuple[str, ...]
    index: str = ""
    evidence: tuple[Evidence, ...] = ()
    facts: tuple[str, ...] = ()


class OpenQAEnvironment(TextEnvironment):
    """Searches passages, looks up words in an article, and scores `Final Answer: …`.

    `search[query]` shows the best passage and the titles of the next ones. `lookup[keyword]` shows the sentences of
    that passage's article that hold the keyword, one at each call, as the Wikipedia of ReAct does (Yao et al. 2022,
    arXiv 2210.03629). The reward is that of the final answer, 0 or 1; every other step has 0.

    `info` of the final step holds `success`, `exact_match`, `f1`, and `index`, the hash of what was searched.

    Args:
      max_characters: where a passage is cut in an observation.
    """

    def __init__(self, *, max_characters: int = 1000) -> None:
        self._max_characters = max_characters
        self._question: OpenQuestion | None = None
        self._answers: AnswerProtocol = "exact"
        self._store: PassageStore | None = None
        self._shown: str | None = None
        self._keyword = ""
        self._results: list[str] = []
        self._next = 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._question = payload_of(options, OpenQuestion, "open_qa")
        self._answers = answers_of(options)
        self._store = open_index(self._question.index)
        self._forget()
        return self._current.question, {"invalid_action": False}

    def close(self) -> None:
        self._store = None

    @property
    def _current(self) -> OpenQuestion:
        return begun(self._question, "open_qa")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        action = action.strip()
        stated = stated_answer(action)
        if stated is not None:
            return self._judge(problem, stated)
        match = _ACTION.match(action)
        if match is None:
            return _invalid(_HELP)
        if match[1].lower() == "search":
            return self._search(match[2])
        return self._look_up(match[2].strip().lower())

    def expert_steps(self) -> list[ExpertStep]:
        problem = self._current
        searches = [
            ExpertStep(action=f"search[{query}]", intent="search", slots={"query": query}) for query in problem.searches
        ]
        return [*searches, answer_step(problem.answers[0])]

    def sample_action(self, rng: random.Random) -> str:
        words = _WORD.findall(self._current.question) or ["answer"]
        start = rng.randrange(len(words))
        phrase = " ".join(words[start : start + rng.randint(1, 3)])
        return rng.choice((f"search[{phrase}]", f"lookup[{words[start]}]", f"{FINAL_ANSWER_PREFIX} {phrase}"))

    def _opened(self) -> PassageStore:
        if self._store is None:
            raise AgentBankError("open_qa: step after close; call reset(options={'instance': …}) first.")
        return self._store

    def _search(self, query: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        found = self._opened().search(query, _FOUND)
        self._forget()
        if not found:
            return _valid("No results.")
        self._shown = found[0].title
        text = f"{found[0].title}: {found[0].text}"[: self._max_characters]
        others = [title for title in dict.fromkeys(passage.title for passage in found) if title != self._shown]
        return _valid(f"{text}\nAlso found: {'; '.join(others)}" if others else text)

    def _look_up(self, keyword: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self._shown is None:
            return _invalid("There is no passage to look in. Use search[query] first.")
        if not keyword:
            return _invalid("The keyword is empty. Use lookup[keyword].")
        if keyword != self._keyword:
            sentences = split_sentences(" ".join(self._opened().article(self._shown)))
            self._keyword = keyword
            self._results = [sentence for sentence in sentences if keyword in sentence.lower()]
            self._next = 0
        if self._next >= len(self._results):
            return _valid("No more results.")
        sentence = self._results[self._next][: self._max_characters]
        self._next += 1
        return _valid(f"(Result {self._next} / {len(self._results)}) {sentence}")

    def _judge(self, problem: OpenQuestion, answer: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        score = score_answer(answer, problem.answers, problem.scoring, self._answers)
        index = self._opened().manifest.content
        return judged(score.success, exact_match=score.exact_match, f1=score.f1, index=index)

    def _forget(self) -> None:
        """What is shown and looked up is of one search."""
        self._shown, self._keyword, self._results, self._next = None, "", [], 0


def _valid(observation: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
    return observation, 0.0, False, False, {"invalid_action": False}


def _invalid(observation: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
    return observation, 0.0, False, False, {"invalid_action": True}
