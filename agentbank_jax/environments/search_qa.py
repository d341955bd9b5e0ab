"""Questions answered by searching a corpus: `search[query]`, then `Final Answer: …`."""

import functools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbank_jax.environments.base import (
    FINAL_ANSWER_PREFIX,
    ExpertStep,
    TextEnvironment,
    begun,
    judged,
    payload_of,
)
from agentbank_jax.environments.passage_index import Passage, query_words
from agentbank_jax.environments.qa_scores import exact_match, f1_score
from agentbank_jax.environments.turn_text import stated_answer
from agentbank_jax.errors import AgentBankError

PROTOCOL = "search_qa/1"

_SEARCH = re.compile(r"^search\s*\[(.*)\]$", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r"\w+")

# A title says what a passage is about; a mention elsewhere says less.
_TITLE_WEIGHT = 3.0
_HELP = f"Unknown action. Use search[query] or {FINAL_ANSWER_PREFIX} answer."


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """A collection of passages.

    Fields:
      key: names the content; corpora with equal keys share one index.
      passages: what can be found.
    """

    key: str
    passages: tuple[Passage, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Corpus) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, kw_only=True)
class SearchProblem:
    """A question over a corpus.

    Fields:
      question: the first observation.
      answers: every accepted answer; the first one is the expert's.
      corpus: where the passages are found.
      plan: the expert's searches in order, and last the intent and slots of its final answer.
    """

    question: str
    answers: tuple[str, ...]
    corpus: Corpus
    plan: tuple[ExpertStep, ...] = field(default=())


class PassageIndex:
    """A full-text index of a corpus in memory."""

    def __init__(self, corpus: Corpus) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("title", tokenizer_name="en_stem")
        builder.add_text_field("text", tokenizer_name="en_stem")
        builder.add_unsigned_field("number", stored=True)
        self._index = tantivy.Index(builder.build())
        self._passages = corpus.passages
        # One thread, so that equal scores always come in the same order.
        writer = self._index.writer(heap_size=15_000_000, num_threads=1)
        for number, passage in enumerate(corpus.passages):
            writer.add_document(tantivy.Document(title=passage.title, text=passage.text, number=number))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def search(self, query: str, k: int) -> list[Passage]:
        """Returns up to `k` passages, best first. Any text is a query; operators in it have no meaning."""
        words = query_words(query)
        parsed, _ = self._index.parse_query_lenient(words, ["title", "text"], field_boosts={"title": _TITLE_WEIGHT})
        hits = self._searcher.search(parsed, k).hits if words else []
        return [self._passages[self._searcher.doc(address)["number"][0]] for _, address in hits]


@functools.lru_cache(maxsize=4)
def passage_index(corpus: Corpus) -> PassageIndex:
    """Returns the index of a corpus, built at the first call for its key."""
    return PassageIndex(corpus)


class SearchQAEnvironment(TextEnvironment):
    """Answers `search[query]` with the best passages, and scores `Final Answer: …` by exact match.

    `info` of the final step holds `success`, `exact_match` and `f1`.

    Args:
      k: how many passages an observation shows.
      max_characters: where an observation is cut.
    """

    def __init__(self, *, k: int = 1, max_characters: int = 1000) -> None:
        if k < 1:
            raise AgentBankError(f"search_qa: k is {k}; expected at least one passage per observation.")
        self._k = k
        self._max_characters = max_characters
        self._problem: SearchProblem | None = None

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._problem = payload_of(options, SearchProblem, "search_qa")
        return self._current.question, {"invalid_action": False}

    @property
    def _current(self) -> SearchProblem:
        return begun(self._problem, "search_qa")

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        problem = self._current
        action = action.strip()
        answer = stated_answer(action)
        if answer is not None:
            matched = exact_match(answer, problem.answers)
            return judged(matched, exact_match=matched, f1=f1_score(answer, problem.answers))
        search = _SEARCH.match(action)
        if search is None:
            return _HELP, 0.0, False, False, {"invalid_action": True}
        found = passage_index(problem.corpus).search(search[1], self._k)
        text = "\n".join(passage.text for passage in found)[: self._max_characters]
        return text or "No results.", 0.0, False, False, {"invalid_action": False}

    def expert_steps(self) -> list[ExpertStep]:
        return list(self._current.plan)

    def sample_action(self, rng: random.Random) -> str:
        words = _WORD.findall(self._current.question)
        start = rng.randrange(len(words))
        phrase = " ".join(words[start : start + rng.randint(1, 3)])
        return rng.choice((f"search[{phrase}]", f"{FINAL_ANSWER_PREFIX} {phrase}"))
