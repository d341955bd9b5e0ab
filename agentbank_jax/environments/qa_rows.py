"""The questions of HotpotQA, StrategyQA, TriviaQA and Bamboogle, in the files of their publishers.

HotpotQA: Yang et al. 2018, arXiv 1809.09600. StrategyQA: Geva et al. 2021, arXiv 2101.02235. TriviaQA: Joshi et al.
2017, arXiv 1705.03551. Bamboogle: Press et al. 2022, arXiv 2210.03350. The user has the files; the project ships none
of them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentbank_jax.environments.base import Instance
from agentbank_jax.environments.benchmark_rows import question_fingerprint, read_csv, read_rows, text_field
from agentbank_jax.environments.open_qa import Evidence, OpenQuestion
from agentbank_jax.environments.qa_scores import Scoring
from agentbank_jax.errors import AgentBankError

# Searches of an expert, so that its answer still comes within the limit of turns.
MAX_SEARCHES = 9

_PARAGRAPH = re.compile(r"-\d+$")

# HotpotQA's annotators' levels. Within one, who compares has both articles named, and who crosses a bridge only one.
_LEVELS = {"easy": 1, "medium": 2, "hard": 3}
_TYPES = {"comparison": 1, "bridge": 2}


def read_hotpotqa(path: Path, split: str) -> Iterator[Instance]:
    """Reads HotpotQA's questions: one JSON list (or JSON lines) of rows with `_id` (or `id`), `question`, `answer`,
    `supporting_facts`, `[[title, sentence], …]`, and perhaps `context`, `[[title, [sentence, …]], …]`.

    Difficulty is 1 (easy, comparison), 2 (easy, bridge) … 6 (hard, bridge) where rows have `level` and `type`, else
    the number of supporting facts.

    Raises:
      AgentBankError: where the file cannot be read or a row breaks the layout; names file, row and field.
    """
    for number, row in read_rows(path, {"supporting_facts": list, "question": str, "answer": str}):
        where, facts = f"{path}:{number}", row["supporting_facts"]
        if not all(isinstance(fact, list) and fact for fact in facts):
            raise AgentBankError(f"{where}:supporting_facts: {facts!r:.40}; expected [[title, sentence], …].")
        yield _instance(
            f"hotpotqa/{split}/{text_field(row, '_id' if '_id' in row else 'id', where)}",
            text_field(row, "question", where),
            (text_field(row, "answer", where),),
            "words",
            [str(title) for title, *_ in facts],
            evidence=_supporting_sentences(facts, row.get("context")),
            difficulty=_hotpotqa_difficulty(row, facts),
        )


def read_strategyqa(path: Path, split: str) -> Iterator[Instance]:
    """Reads StrategyQA's questions: one JSON list (or JSON lines) of rows with `qid`, `question`, `term`, a boolean
    `answer`, and `evidence`, whose paragraphs are named `<title>-<number>`; perhaps `decomposition` and `facts`; raises
    as `read_hotpotqa`."""
    for number, row in read_rows(path, {"qid": str, "question": str, "term": str, "answer": bool}):
        where = f"{path}:{number}"
        evidence = row.get("evidence", [])
        if not isinstance(evidence, list):
            raise AgentBankError(f"{where}:evidence: {evidence!r:.40}; expected a list, one entry per annotator.")
        yield _instance(
            f"strategyqa/{split}/{text_field(row, 'qid', where)}",
            text_field(row, "question", where),
            ("Yes" if row["answer"] else "No",),
            "yes_no",
            # One annotator's paragraphs are enough.
            [text_field(row, "term", where), *(_PARAGRAPH.sub("", name) for name in _paragraphs(evidence[:1]))],
            evidence=_sub_questions(_texts(row, "decomposition", where), evidence[:1]),
            facts=_texts(row, "facts", where),
        )


def read_triviaqa(path: Path, split: str) -> Iterator[Instance]:
    """Reads TriviaQA's questions: `{"Data": [{"Question", "QuestionId", "Answer": {"Value", "Aliases", …}}, …]}`;
    raises as `read_hotpotqa`."""
    for number, row in read_rows(path, {"Question": str, "QuestionId": str}, within="Data"):
        where = f"{path}:{number}"
        question = text_field(row, "Question", where)
        answer = row.get("Answer")
        if not isinstance(answer, dict):
            raise AgentBankError(
                f"{where}:Answer: {answer!r:.40}; expected an object (the test files have none; use those of dev)."
            )
        place = f"{where}:Answer"
        aliases = [text_field(answer, "Value", place)]
        for name in ("Aliases", "NormalizedAliases"):
            value = answer.get(name, [])
            if not isinstance(value, list) or not all(isinstance(alias, str) for alias in value):
                raise AgentBankError(f"{place}:{name}: {value!r:.40}; expected a list of texts.")
            aliases += value
        pages = row.get("EntityPages") or []
        yield _instance(
            f"triviaqa/{split}/{text_field(row, 'QuestionId', where)}",
            question,
            tuple(dict.fromkeys(aliases)),
            "aliases",
            [page["Title"] for page in pages if isinstance(page, dict) and isinstance(page.get("Title"), str)],
        )


def read_bamboogle(path: Path, split: str) -> Iterator[Instance]:
    """Reads Bamboogle's questions: CSV, or JSON lines, with `Question` and `Answer`; raises as `read_hotpotqa`."""
    fields = {"Question": str, "Answer": str}
    rows = read_csv(path, fields) if path.suffix == ".csv" else read_rows(path, fields)
    for position, (number, row) in enumerate(rows, start=1):
        where = f"{path}:{number}"
        yield _instance(
            f"bamboogle/{split}/{position}",
            text_field(row, "Question", where),
            (text_field(row, "Answer", where),),
            "words",
            [],
        )


def _instance(
    identifier: str,
    question: str,
    answers: tuple[str, ...],
    scoring: Scoring,
    titles: list[str],
    *,
    evidence: tuple[Evidence, ...] = (),
    facts: tuple[str, ...] = (),
    difficulty: int | None = None,
) -> Instance:
    # Where no article is known the question itself is what one searches for.
    searches = tuple(dict.fromkeys(titles))[:MAX_SEARCHES] or (question,)
    return Instance(
        id=identifier,
        fingerprint=question_fingerprint(question),
        payload=OpenQuestion(
            question=question, answers=answers, scoring=scoring, searches=searches, evidence=evidence, facts=facts
        ),
        difficulty=len(searches) if difficulty is None else difficulty,
    )


def _hotpotqa_difficulty(row: Mapping[str, Any], facts: list[list[Any]]) -> int:
    level, kind = _LEVELS.get(str(row.get("level"))), _TYPES.get(str(row.get("type")))
    if level is None or kind is None:
        return max(1, len(facts))
    return (level - 1) * len(_TYPES) + kind


def _paragraphs(evidence: Any) -> Iterator[str]:
    """The names of paragraphs in nested lists; `operation` and `no_evidence` name none."""
    if isinstance(evidence, list):
        for each in evidence:
            yield from _paragraphs(each)
    elif isinstance(evidence, str) and _PARAGRAPH.search(evidence):
        yield evidence


def _supporting_sentences(facts: list[list[Any]], context: Any) -> tuple[Evidence, ...]:
    """The titles of supporting facts, each once and in their order, with the sentences that the facts number."""
    paragraphs = {
        entry[0]: entry[1]
        for entry in (context if isinstance(context, list) else [])
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], list)
    }
    numbers: dict[str, list[int]] = {}
    for title, *rest in facts:
        numbers.setdefault(str(title), []).extend(number for number in rest[:1] if isinstance(number, int))
    return tuple(
        Evidence(
            title=title,
            sentences=tuple(
                str(paragraphs[title][number]).strip()
                for number in wanted
                # Some facts of the published files number a sentence that is not there.
                if title in paragraphs and 0 <= number < len(paragraphs[title])
            ),
        )
        for title, wanted in numbers.items()
    )


def _sub_questions(questions: tuple[str, ...], evidence: list[Any]) -> tuple[Evidence, ...]:
    """Sub-questions, each with the first article that an annotator named for it."""
    named = evidence[0] if evidence and isinstance(evidence[0], list) else []
    found = []
    for place, question in enumerate(questions):
        titles = [_PARAGRAPH.sub("", name) for name in _paragraphs(named[place : place + 1])]
        found.append(Evidence(title=titles[0] if titles else "", question=question))
    return tuple(found)


def _texts(row: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = row.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise AgentBankError(f"{where}:{name}: {value!r:.40}; expected a list of texts.")
    return tuple(each.strip() for each in value)
