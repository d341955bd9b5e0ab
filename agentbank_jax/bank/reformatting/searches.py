"""HotpotQA's supporting facts as searches: one article after the other, each named by what was read before.

HotpotQA: Yang et al. 2018, arXiv 1809.09600. Its supporting facts name articles and sentences, not the order in which
one comes upon them. So an article is searched for when the question or an observation has named it, the first of
those left; where none is named, the question itself is searched for, once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentbank_jax.bank.annotation import ActionSequence
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.bank.reformatting.wording import Wording, reformatted, sentence
from agentbank_jax.bank.replay import begin
from agentbank_jax.environments.base import ExpertStep, Instance, TextEnvironment
from agentbank_jax.environments.open_qa import Evidence, OpenQuestion
from agentbank_jax.environments.qa_scores import normalise_answer
from agentbank_jax.environments.registry import EnvironmentSpec
from agentbank_jax.environments.turn_text import answer_step

_QUALIFIER = re.compile(r"\s*\([^()]*\)$")
_JUDGEMENTS = ("yes", "no")


@dataclass(frozen=True, kw_only=True)
class SearchReformatter:
    """Searches for the articles of the supporting facts, and tells their sentences as Thoughts.

    A sentence becomes part of a Thought only where an observation has shown it. Drops, beside those of a replay:
    `no_evidence` (the source names no article), `article_not_found` (a search does not bring the article that it
    names), `not_led_to` (neither question nor observations name an article), `answer_not_read` (no observation holds
    the answer, and it is neither yes nor no).

    Fields:
      seed: chooses the wording around the sentences.
    """

    seed: int = 0

    def annotate(self, spec: EnvironmentSpec, instance: Instance) -> ActionSequence | Drop:
        question: OpenQuestion = instance.payload
        if not question.evidence:
            return Drop(id=instance.id, reason="no_evidence", detail=question.question)
        environment = begin(spec, instance)
        try:
            return self._search(environment, instance, question)
        finally:
            environment.close()

    def _search(
        self, environment: TextEnvironment, instance: Instance, question: OpenQuestion
    ) -> ActionSequence | Drop:
        wording = Wording(instance.id, self.seed)
        left = list(question.evidence)
        read: list[str] = []
        said = ""
        steps: list[ExpertStep] = []
        thoughts: list[str] = []
        while left:
            named = _first_named(left, [question.question, *read])
            query = named.title if named else question.question
            action = f"search[{query}]"
            # One search for the question may show, or name beside what it shows, where to go on.
            if action in [step.action for step in steps]:
                return Drop(id=instance.id, reason="not_led_to", detail=left[0].title)
            phrase = "search_question" if named is None else "look_for_next" if steps else "look_for"
            thoughts.append(f"{said} {wording.say(phrase, title=query)}".strip())
            steps.append(ExpertStep(action=action, intent=phrase, slots={"title": query}))
            observation = environment.step(action)[0]
            shown = [one for one in left if observation.startswith(f"{one.title}: ")]
            if named is not None and named not in shown:
                return Drop(id=instance.id, reason="article_not_found", detail=named.title)
            read.append(observation)
            said = _shown_sentences(shown[0], observation) if shown else ""
            left = [one for one in left if one not in shown]
        answer = question.answers[0]
        if normalise_answer(answer) not in _JUDGEMENTS and not _holds(" ".join(read), answer):
            return Drop(id=instance.id, reason="answer_not_read", detail=answer)
        steps.append(answer_step(answer))
        thoughts.append(
            f"{said} {wording.say('therefore', answer=answer)}" if said else wording.say("known", answer=answer)
        )
        return reformatted(steps, thoughts)

    def facts(self) -> Mapping[str, Any]:
        return {"annotator": "supporting_facts", "seed": self.seed}


def _first_named(evidence: Sequence[Evidence], texts: Sequence[str]) -> Evidence | None:
    heard = " ".join(texts)
    return next((one for one in evidence if _holds(heard, _QUALIFIER.sub("", one.title))), None)


def _holds(text: str, words: str) -> bool:
    """Whether a text holds words one after the other, case, articles and punctuation aside."""
    return f" {normalise_answer(words)} " in f" {normalise_answer(text)} "


def _shown_sentences(evidence: Evidence, observation: str) -> str:
    return " ".join(sentence(each) for each in evidence.sentences if each and each in observation)
