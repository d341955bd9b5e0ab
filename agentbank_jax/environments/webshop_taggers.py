"""Who finds the nouns of a product's title, for the title score of WebShop's reward."""

import functools
import importlib.util
import os
import re

from agentbank_jax.environments.webshop_reward import NounTagger

TAGGER_VARIABLE = "AGENTBANK_WEBSHOP_TAGGER"

_NOUNS = ("NOUN", "PROPN")
# fmt: off
_NOT_NOUNS = frozenset((
    "a", "about", "above", "all", "also", "an", "and", "any", "are", "as", "at", "be", "best", "big", "both", "by",
    "can", "each", "easy", "extra", "for", "free", "fresh", "from", "full", "good", "great", "has", "have", "high",
    "in", "into", "is", "it", "its", "large", "light", "little", "long", "low", "made", "medium", "mini", "more",
    "most", "natural", "new", "no", "non", "not", "of", "off", "on", "or", "other", "our", "out", "over", "per",
    "perfect", "portable", "premium", "real", "short", "slim", "small", "soft", "super", "that", "the", "them", "these",
    "thick", "thin", "this", "to", "ultra", "up", "use", "very", "wide", "with", "without", "you", "your",
))
# fmt: on


class TitleWords:
    """Takes for nouns all words of a title but digits, function words and frequent adjectives.

    A tagger of this project's own for want of the published one: titles of a shop are nouns for the most part.
    """

    name = "title_words/1"

    def nouns(self, text: str) -> tuple[str, ...]:
        return tuple(word for word in re.findall(r"[^\W\d_]{2,}", text.lower()) if word not in _NOT_NOUNS)


class SpacyTagger:
    """The published tagger: the nouns and names that a spaCy model finds.

    Args:
      model: its name; WebShop's code loads `en_core_web_lg`, its setup script fetches `en_core_web_sm`.
    """

    def __init__(self, model: str) -> None:
        self.name = f"spacy:{model}"
        self._model = model

    @functools.cached_property
    def _pipeline(self):  # spaCy's own type, and spaCy is the user's
        import spacy

        return spacy.load(self._model)

    @functools.lru_cache(maxsize=65536)  # noqa: B019  # one tagger lives as long as its process
    def nouns(self, text: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in self._pipeline(text) if token.pos_ in _NOUNS)


def chosen_tagger() -> NounTagger:
    """The spaCy model that AGENTBANK_WEBSHOP_TAGGER names, else `TitleWords`."""
    model = os.environ.get(TAGGER_VARIABLE)
    return SpacyTagger(model) if model else TitleWords()


def missing_tagger() -> str | None:
    """None where the chosen tagger can be loaded, else the reason and the remedy."""
    model = os.environ.get(TAGGER_VARIABLE)
    if not model:
        return None
    for package in ("spacy", model):
        if importlib.util.find_spec(package) is None:
            return (
                f"{TAGGER_VARIABLE} is '{model}', but the package {package} is not installed; install spaCy and the "
                f"model, or unset {TAGGER_VARIABLE}"
            )
    return None
