"""Who and what the trajectories speak of: pronouns, names and places, so that a skew can be seen.

What it sees: the pronouns he, she and they in all their forms, and runs of one to four capitalised
words that are no sentence's opening. A run counts as a place where it mostly follows "in", "at",
"from", "near", "to" or "around", else as a name. A word that opens sentences is counted there too
where it is also seen within them, at least a tenth as often.

What it cannot see: there is no model and no list of names. A name is any capitalised run, a
product or a title too; a name in another script or in lower case is missed; "Jordan" is a person
or a country as its neighbours have it; a pronoun's group says nothing of the person meant, and
"they" is mostly a plural. Compare sources with each other; do not read one figure as the truth.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PRONOUNS: Mapping[str, frozenset[str]] = {
    "he": frozenset({"he", "him", "his", "himself"}),
    "she": frozenset({"she", "her", "hers", "herself"}),
    "they": frozenset({"they", "them", "their", "theirs", "themselves", "themself"}),
}
_GROUP_OF = {word: group for group, words in PRONOUNS.items() for word in words}

_CAPITALISED = re.compile(r"(?<![\w'\u2019])[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]+(?:[ -][A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]+){0,3}(?!\w)")
_BEFORE_PLACES = frozenset({"in", "at", "from", "near", "to", "around"})
_TITLES = frozenset({"mr.", "mrs.", "ms.", "dr.", "prof."})
# What stands before the first word of a sentence, a line, a quotation, or a field.
_OPENERS = frozenset(".!?:;\n\"'“‘([{|*#>`-")
# Words that are capitalised for another reason than being a name.
_NO_NAMES_TEXT = """
a about after all also although an and another any are as at back be because before both but by can could did do does
each either every few finally first for from had has have he hence her here hers him his how however i if in into is it
its let many may maybe me more most much must my neither next no nor not now of on once one only or other our over page
please prev right she should similarly since so some such than that the their them then there therefore these they this
those thus to two under until use using very was we were what when where which while who whom whose why will with would
yes yet you your
monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
october november december mr mrs ms miss dr prof professor sir madam
thought action observation final answer search click buy task question
"""
_NO_NAMES = frozenset(_NO_NAMES_TEXT.split())

# A source's candidates are cut to the more frequent ones when they exceed this, so that memory is bounded.
_MOST_KEPT = 200_000
_RARE_OPENING = 0.1


@dataclass
class Mentions:
    """Counts of one source.

    Fields:
      pronouns: by group.
      within: capitalised runs that open no sentence.
      opening: those that do.
      placed: those of `within` that follow a preposition of place.
    """

    pronouns: Counter[str] = field(default_factory=Counter)
    within: Counter[str] = field(default_factory=Counter)
    opening: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, words: Sequence[str]) -> None:
        """Counts what a text speaks of; `words` are its words in lower case."""
        for word in words:
            group = _GROUP_OF.get(word)
            if group:
                self.pronouns[group] += 1
        for match in _CAPITALISED.finditer(text):
            self._add_run(text, match)

    def merge(self, other: "Mentions") -> None:
        """Adds the counts of another part of the source."""
        self.pronouns.update(other.pronouns)
        for name in ("within", "opening", "placed"):
            counts = getattr(self, name)
            counts.update(getattr(other, name))
            if len(counts) > _MOST_KEPT:
                setattr(self, name, Counter({run: count for run, count in counts.items() if count > 1}))

    def names_and_places(self) -> tuple[Counter[str], Counter[str]]:
        """Returns how often each name and each place is mentioned."""
        names: Counter[str] = Counter()
        places: Counter[str] = Counter()
        for run, count in self.within.items():
            opening = self.opening[run]
            total = count + (opening if count >= _RARE_OPENING * opening else 0)
            kind = places if 2 * self.placed[run] > count else names
            kind[run] = total
        return names, places

    def _add_run(self, text: str, match: "re.Match[str]") -> None:
        start, run = match.start(), match[0]
        # Leading words that are no names also hide whether a sentence opens here.
        before = text[max(0, start - 12) : start].lower().rstrip(" ").removesuffix(" the").rsplit(" ", 1)[-1]
        opens = (not before or before[-1] in _OPENERS) and before not in _TITLES
        parts = re.split("([ -])", run)
        while parts and parts[0].lower() in _NO_NAMES:
            parts = parts[2:]
            opens = False
        if not parts:
            return
        run = "".join(parts)
        if opens:
            self.opening[run] += 1
            return
        self.within[run] += 1
        if before in _BEFORE_PLACES or match[0].split(" ", 1)[0].lower() in _BEFORE_PLACES:
            self.placed[run] += 1


def top(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    """Returns the most frequent entries, those of the same count by name."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
