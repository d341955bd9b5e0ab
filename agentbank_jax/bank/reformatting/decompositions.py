"""StrategyQA's decompositions as searches: a sub-question each, and the facts before the answer.

StrategyQA: Geva et al. 2021, arXiv 2101.02235. Its annotators took a question apart into sub-questions, of which a
later one names the answer of an earlier one as `#1`, and named the paragraphs that answer each; what needs no
paragraph, such as a comparison, is no search.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import Wording, reformatted, sentence
from agentbank_jax.environments.base import ExpertStep, Instance
from agentbank_jax.environments.open_qa import Evidence, OpenQuestion
from agentbank_jax.environments.qa_rows import MAX_SEARCHES
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.turn_text import answer_step

_REFERENCE = re.compile(r"#(\d+)")


@dataclass(frozen=True, kw_only=True)
class DecompositionReformatter:
    """Asks the sub-questions one after the other, and concludes from the facts.

    A sub-question without references is the query; one that refers to an earlier answer, which the data do not state,
    is searched for by the title that answers it. Sub-questions without a paragraph join the last Thought. Drops, beside
    those of a replay: `no_decomposition`, `no_facts`, `no_search` (no sub-question names a paragraph).

    Fields:
      seed: chooses the wording.
    """

    seed: int = 0

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        question: OpenQuestion = instance.payload
        for reason, content in (("no_decomposition", question.evidence), ("no_facts", question.facts)):
            if not content:
                return Drop(id=instance.id, reason=reason, detail=question.question)
        wording = Wording(instance.id, self.seed)
        steps: list[ExpertStep] = []
        thoughts: list[str] = []
        waiting: list[str] = []
        for number, part in enumerate(question.evidence, start=1):
            waiting.append(f"Question {number}: {_spelled(part.question)}")
            query = _query(part)
            if query and f"search[{query}]" not in [step.action for step in steps] and len(steps) < MAX_SEARCHES:
                steps.append(ExpertStep(action=f"search[{query}]", intent="search", slots={"query": query}))
                thoughts.append(" ".join(waiting))
                waiting.clear()
        if not steps:
            return Drop(id=instance.id, reason="no_search", detail="; ".join(_asked(question)))
        answer = question.answers[0]
        conclusion = wording.say("therefore", answer=answer.lower())
        steps.append(answer_step(answer))
        thoughts.append(" ".join([*waiting, *map(sentence, question.facts), conclusion]))
        return reformatted(steps, thoughts)

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "decomposition", "seed": self.seed}


def _query(part: Evidence) -> str:
    if not part.title:
        return ""
    return part.title if _REFERENCE.search(part.question) else part.question


def _spelled(question: str) -> str:
    return sentence(_REFERENCE.sub(r"the answer to question \1", question))


def _asked(question: OpenQuestion) -> Iterator[str]:
    return (part.question for part in question.evidence)
