"""How a conversation goes on from the ids that were read and generated."""

from collections.abc import Sequence
from typing import Protocol


class Continues(Protocol):
    """What it takes of a chat template."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a reply."""

    def continuation_ids(self, content: str) -> list[int]:
        """Ids of a further user turn, after a reply's stop id."""


def continued_ids(template: Continues, ids: Sequence[int], content: str) -> list[int]:
    """Returns the ids of a conversation and of a further user turn.

    A reply that was cut off has no stop id, and the turn after it expects one: it gets the template's first, so that
    the conversation keeps the form of training.

    Args:
      template: of the conversation.
      ids: what was read and generated; it ends with a reply.
      content: of the user turn.
    """
    stop = [] if ids[-1] in template.stop_ids else [template.stop_ids[0]]
    return [*ids, *stop, *template.continuation_ids(content)]
