"""What filters are called in a recipe, and how each is set up."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agentbank_jax.bank.filters.pipeline import BankFilter, Filter
from agentbank_jax.errors import AgentBankError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """How the filters are set up that recipes name.

    Fields:
      least_turns, most_turns, most_characters: of `length`.
      language: of `language`, an ISO 639-1 code.
      region: of `personal_data`: the country, as ISO 3166 has it, whose telephone numbers have no country code.
      personal_data: the kinds that count; all if empty.
      evaluation: of `evaluation_overlap`: files with evaluation questions, or patterns.
      ngram: of `evaluation_overlap`: words in a row.
      similarity: of `near_duplicates`: the least estimated Jaccard similarity.
    """

    least_turns: int = 1
    most_turns: int = 100
    most_characters: int = 60_000
    language: str = "en"
    region: str = "US"
    personal_data: Sequence[str] = ()
    evaluation: Sequence[str] = ()
    ngram: int = 13
    similarity: float = 0.8

    def make(self, names: Sequence[str]) -> tuple[tuple[Filter, ...], tuple[BankFilter, ...]]:
        """The named filters: those that judge a trajectory by itself, and those that compare.

        Raises:
          AgentBankError: an unknown name, one that comes twice, or a value that its filter refuses.
        """
        made = []
        for name in names:
            if name not in _MAKERS:
                raise AgentBankError(f"no filter is called '{name}'.{did_you_mean(name, _MAKERS)}")
            made.append(_MAKERS[name](self))
        if len(set(names)) < len(names):
            raise AgentBankError(f"filters={list(names)} names one twice.")
        return (
            tuple(each for each in made if isinstance(each, Filter)),
            tuple(each for each in made if isinstance(each, BankFilter)),
        )


# Imported where they are asked for: the language filter alone brings a model of 97 languages.


def _length(config: FilterConfig) -> Filter:
    from agentbank_jax.bank.filters.texts import LengthFilter

    return LengthFilter(
        least_turns=config.least_turns, most_turns=config.most_turns, most_characters=config.most_characters
    )


def _language(config: FilterConfig) -> Filter:
    from agentbank_jax.bank.filters.texts import LanguageFilter

    return LanguageFilter(language=config.language)


def _personal_data(config: FilterConfig) -> Filter:
    from agentbank_jax.bank.filters.texts import PersonalDataFilter

    return PersonalDataFilter(region=config.region, kinds=tuple(config.personal_data))


def _evaluation_overlap(config: FilterConfig) -> Filter:
    from agentbank_jax.bank.filters.texts import OverlapFilter

    if not config.evaluation:
        raise AgentBankError(
            "the filter evaluation_overlap has no evaluation files; expected FilterConfig.evaluation=['FILE', …]."
        )
    paths = tuple(os.path.expanduser(path) for path in config.evaluation)
    return OverlapFilter(paths=paths, ngram=config.ngram)


def _exact_duplicates(config: FilterConfig) -> BankFilter:
    from agentbank_jax.bank.filters.duplicates import ExactDuplicateFilter

    return ExactDuplicateFilter()


def _near_duplicates(config: FilterConfig) -> BankFilter:
    from agentbank_jax.bank.filters.duplicates import NearDuplicateFilter

    return NearDuplicateFilter(threshold=config.similarity)


_MAKERS: Mapping[str, Callable[[FilterConfig], Filter | BankFilter]] = {
    "length": _length,
    "language": _language,
    "personal_data": _personal_data,
    "evaluation_overlap": _evaluation_overlap,
    "exact_duplicates": _exact_duplicates,
    "near_duplicates": _near_duplicates,
}
