"""Filters that read one trajectory: its length, its language, personal data, and evaluation questions in it.

The language is told by `py3langid` (BSD-3-Clause): it is kept up, needs NumPy alone, and its model of 97 languages is a
few megabytes inside the package, so that nothing is downloaded and every process says the same. `pycld2` wraps C++ that
is kept up no more, `eld` and `lingua` are ten times as large, and `lingua` takes more sums for other languages. All of
them need words: a sum alone has no language.
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentbank_jax.agents.react import ReAct
from agentbank_jax.bank.filters.pipeline import text_of
from agentbank_jax.bank.outcome import Drop
from agentbank_jax.errors import AgentBankError, did_you_mean
from agentbank_jax.trajectories.lint.duplicates import shingles
from agentbank_jax.trajectories.lint.overlap import NGRAM_WORDS, EvaluationIndex, read_items
from agentbank_jax.trajectories.lint.personal_data import DEFAULT_REGION, KINDS, check_region, find_personal_data, mask
from agentbank_jax.trajectories.lint.words import split_words
from agentbank_jax.trajectories.schema import Trajectory

# Words that tell a language; numbers and single letters do not.
_TELLING = re.compile(r"[^\W\d_]{2,}")
_LEAST_WORDS = 8
_QUESTION_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class LengthFilter:
    """Drops what is shorter or longer than allowed: `too_few_turns`, `too_many_turns`, `too_long`.

    Fields:
      least_turns, most_turns: of the assistant.
      most_characters: of all turns together.

    Raises:
      AgentBankError: where the bounds leave nothing.
    """

    least_turns: int = 1
    most_turns: int = 100
    most_characters: int = 60_000

    def __post_init__(self) -> None:
        if not 1 <= self.least_turns <= self.most_turns:
            raise AgentBankError(
                f"LengthFilter: least_turns is {self.least_turns}, most_turns {self.most_turns}; expected "
                "1 <= least_turns <= most_turns."
            )
        if self.most_characters < 1:
            raise AgentBankError(f"LengthFilter: most_characters is {self.most_characters}; expected at least 1.")

    def check(self, trajectory: Trajectory) -> Drop | None:
        turns, characters = trajectory.assistant_turns, len(text_of(trajectory))
        if turns < self.least_turns:
            return Drop(id=trajectory.id, reason="too_few_turns", detail=f"{turns}; at least {self.least_turns}")
        if turns > self.most_turns:
            return Drop(id=trajectory.id, reason="too_many_turns", detail=f"{turns}; at most {self.most_turns}")
        if characters > self.most_characters:
            detail = f"{characters:,} characters; at most {self.most_characters:,}"
            return Drop(id=trajectory.id, reason="too_long", detail=detail)
        return None

    def facts(self) -> Mapping[str, Any]:
        return {
            "filter": "length",
            "least_turns": self.least_turns,
            "most_turns": self.most_turns,
            "most_characters": self.most_characters,
        }


@dataclass(frozen=True, kw_only=True)
class LanguageFilter:
    """Drops trajectories whose Thoughts are in another language: `other_language`.

    Thoughts of fewer than eight words of letters are not judged.

    Fields:
      language: its ISO 639-1 code.

    Raises:
      AgentBankError: where no language has the code.
    """

    language: str = "en"

    def __post_init__(self) -> None:
        known = _identifier().labels
        if self.language not in known:
            hint = did_you_mean(self.language, known)
            raise AgentBankError(f"LanguageFilter: language '{self.language}'; expected an ISO 639-1 code.{hint}")

    def check(self, trajectory: Trajectory) -> Drop | None:
        agent = ReAct()
        replies = [turn.content for turn in trajectory.turns if turn.role == "assistant"]
        # What is no ReAct turn is read whole.
        thoughts = [parsed.thought if (parsed := agent.parse(reply)) else reply for reply in replies]
        words = _TELLING.findall(" ".join(thoughts))
        if len(words) < _LEAST_WORDS:
            return None
        found = _identifier().classify(" ".join(words))[0]
        if found == self.language:
            return None
        return Drop(id=trajectory.id, reason="other_language", detail=f"{found}, not {self.language}")

    def facts(self) -> Mapping[str, Any]:
        from importlib.metadata import version

        return {"filter": "language", "language": self.language, "py3langid": version("py3langid")}


@functools.cache
def _identifier() -> Any:
    # Imported here: its model takes a second to load, and only this filter needs it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@dataclass(frozen=True, kw_only=True)
class PersonalDataFilter:
    """Drops trajectories with personal data in a turn: `personal_email`, `personal_phone`, … of the first that is met.

    Fields:
      region: ISO 3166 code of the country whose telephone numbers have no country code.
      kinds: of `personal_data.KINDS`, those that count; empty for all.

    Raises:
      AgentBankError: where no telephone numbers are known of the region, or a kind is unknown.
    """

    region: str = DEFAULT_REGION
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_region("PersonalDataFilter: region", self.region)
        for kind in self.kinds:
            if kind not in KINDS:
                hint = did_you_mean(kind, KINDS)
                raise AgentBankError(f"PersonalDataFilter: kind '{kind}'; expected of {', '.join(KINDS)}.{hint}")

    def check(self, trajectory: Trajectory) -> Drop | None:
        for number, turn in enumerate(trajectory.turns):
            for found in find_personal_data(turn.content, self.region):
                if not self.kinds or found.kind in self.kinds:
                    shown = mask(turn.content[found.start : found.end])
                    detail = f"turn {number}: {shown}"
                    return Drop(id=trajectory.id, reason=f"personal_{found.kind}", detail=detail)
        return None

    def facts(self) -> Mapping[str, Any]:
        return {"filter": "personal_data", "region": self.region, "kinds": list(self.kinds)}


@dataclass(frozen=True, kw_only=True)
class OverlapFilter:
    """Drops trajectories that share a run of words with an evaluation item: `evaluation_overlap`.

    Fields:
      paths: files of the items, or patterns; see `trajectories.lint.overlap.read_items`.
      ngram: words that a run must have.

    Raises:
      AgentBankError: where the files cannot be read, or hold no item.
    """

    paths: tuple[str, ...]
    ngram: int = NGRAM_WORDS

    def __post_init__(self) -> None:
        _index(self.paths, self.ngram)

    def check(self, trajectory: Trajectory) -> Drop | None:
        index, _ = _index(self.paths, self.ngram)
        words = split_words(text_of(trajectory))
        overlaps = index.match(words, shingles(words))
        if not overlaps:
            return None
        longest = max(overlaps, key=lambda overlap: overlap.words)
        question = " ".join(index.items[longest.item].text.split())[:_QUESTION_CHARACTERS]
        detail = f"{longest.words} words in a row ({longest.share:.0%}) of '{question}…'"
        return Drop(id=trajectory.id, reason="evaluation_overlap", detail=detail)

    def facts(self) -> Mapping[str, Any]:
        _, items = _index(self.paths, self.ngram)
        return {"filter": "evaluation_overlap", "items": items, "ngram": self.ngram}


@functools.lru_cache(maxsize=4)
def _index(paths: tuple[str, ...], ngram: int) -> tuple[EvaluationIndex, str]:
    """The index of evaluation files, of this process, and a hash of what they hold."""
    files, items = read_items(paths)
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return EvaluationIndex(items, ngram), digest.hexdigest()
