"""The rules by name, their levels, and a finding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

Level = Literal["error", "warning", "note"]

# From the worst to the mildest.
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What can be wrong with a row.

    Fields:
      name: unique, such as `empty-turn`.
      level: how bad a finding is, where the task's protocol does not make it milder.
      meaning: one line for a reader of the report.
    """

    name: str
    level: Level
    meaning: str


class Finding(NamedTuple):
    """A rule that a row breaks.

    Fields:
      rule: the rule's name.
      level: `error`, `warning` or `note`.
      file, row: where the row is, counted from 0; `row` is -1 where the whole file is meant.
      id: the trajectory's; empty where it has none.
      task: the trajectory's.
      turn: index of the turn, from 0; None where the whole trajectory is meant.
      field: name of the field at fault, such as `conversations[2].value`; None where no single one is.
      detail: one line; never the personal data itself.
    """

    rule: str
    level: Level
    file: str
    row: int
    id: str
    task: str
    turn: int | None
    field: str | None
    detail: str


_RULES: tuple[tuple[str, Level, str], ...] = (
    ("unreadable", "error", "a line that is no row, or a file that holds none or cannot be read to its end"),
    ("malformed-row", "error", "a row without id or messages as its layout has them"),
    ("duplicate-id", "error", "an id that an earlier row of the task has"),
    ("role-order", "error", "user and assistant do not alternate, or the user does not begin"),
    ("empty-turn", "error", "a turn without text"),
    ("turn-without-action", "error", "an assistant turn without what the task's protocol lets an agent do"),
    ("unfinished", "error", "a trajectory that ends with the user, or without the task's last action"),
    ("untrained", "warning", "a trajectory of which no turn is trained"),
    ("over-long", "warning", "a trajectory that is longer than --max_tokens or --max_characters"),
    ("missing-licence", "warning", "a row that does not say under which licence it may be used"),
    ("exact-duplicate", "error", "the same text as an earlier row, but for case and white space"),
    ("near-duplicate", "warning", "nearly the same words as an earlier row"),
    ("evaluation-overlap", "error", "shares a run of words with an item of the files given by --against"),
    ("personal-email", "error", "an e-mail address"),
    ("personal-phone", "error", "a telephone number"),
    ("personal-card", "error", "a payment card's number with a right check digit"),
    ("personal-iban", "error", "a bank account's IBAN with right check digits"),
    ("personal-ssn", "error", "what looks like a United States social-security number"),
    ("personal-credentials", "error", "a URL with a user's name and password"),
    ("personal-ip", "warning", "a public IP address"),
)

RULES: Mapping[str, Rule] = {name: Rule(name=name, level=level, meaning=meaning) for name, level, meaning in _RULES}
