"""Roles, turns, endings and lengths: what a row must have to be trained on."""

from collections.abc import Iterator

from agentbank_jax.trajectories.lint.protocols import protocol_of
from agentbank_jax.trajectories.lint.rows import Row
from agentbank_jax.trajectories.lint.rules import RULES, Finding, Level


def make_finding(
    row: Row, rule: str, detail: str, *, turn: int | None = None, field: str | None = None, level: Level | None = None
) -> Finding:
    """Returns a finding about `row`, at the rule's own level where none is given."""
    return Finding(
        rule=rule,
        level=level or RULES[rule].level,
        file=row.file,
        row=row.number,
        id=row.id,
        task=row.task,
        turn=turn,
        field=field,
        detail=detail,
    )


def check_structure(row: Row) -> Iterator[Finding]:
    """Yields what is wrong with a row's roles, turns and ending, in the order of its turns."""
    if row.fault:
        yield make_finding(row, "malformed-row", row.fault, field=row.fault_field)
        return
    protocol = protocol_of(row.task)
    first = 1 if row.turns[0].role == "system" else 0
    in_order = True
    for position, turn in enumerate(row.turns):
        role, content = turn.role, turn.content
        expected = "user" if (position - first) % 2 == 0 else "assistant"
        # Only the first breach: after it, all that follows is shifted.
        if in_order and position >= first and role != expected:
            in_order = False
            yield make_finding(row, "role-order", f"{role} speaks; expected {expected}", turn=position)
        if not content.strip():
            yield make_finding(row, "empty-turn", f"the {role}'s turn holds no text", turn=position)
        elif role == "assistant" and not protocol.acts(content):
            detail = f"expected {protocol.expected_form()}"
            yield make_finding(row, "turn-without-action", detail, turn=position, level=protocol.form_level)
    last = len(row.turns) - 1
    role = row.turns[last].role
    if role != "assistant":
        yield make_finding(row, "unfinished", f"ends with the {role}; expected the assistant", turn=last)
    elif not protocol.ends(row.turns[last].content):
        detail = f"expected to end with {protocol.expected_ending()}"
        yield make_finding(row, "unfinished", detail, turn=last, level=protocol.ending_level)
    if not any(turn.trained for turn in row.turns):
        yield make_finding(row, "untrained", "its mask leaves no turn to train")


def check_length(
    row: Row, *, tokens: int | None, max_tokens: int | None, max_characters: int | None
) -> Iterator[Finding]:
    """Yields a finding where a row is longer than a limit that is given."""
    if max_tokens is not None and tokens is not None and tokens > max_tokens:
        yield make_finding(row, "over-long", f"{tokens:,} tokens; the limit is {max_tokens:,}")
    if max_characters is not None and row.characters > max_characters:
        yield make_finding(row, "over-long", f"{row.characters:,} characters; the limit is {max_characters:,}")


def check_licence(row: Row) -> Iterator[Finding]:
    """Yields a finding where a row names no licence."""
    if not row.licence:
        yield make_finding(row, "missing-licence", "no licence; expected it in the column 'license'")
