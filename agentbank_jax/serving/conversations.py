"""The ids of conversations that clients send again and again, each time with all that was said before."""

import hashlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence

from agentbank_jax.trajectories.schema import Turn
from agentbank_jax.trajectories.templates.chat_template import ChatTemplate
from agentbank_jax.trajectories.templates.continuation import continued_ids


class Conversations:
    """Turns to ids, such that what was read or generated before keeps its ids.

    OpenAI's interface sends the whole conversation with each request. Its text tokenised again may give other ids than
    those that were generated; so the ids are remembered by the turns that they say, replies included, the last used
    last to be forgotten. A conversation that goes on from a remembered one begins with exactly the ids of that, and
    the engine finds them in its cache.

    All methods may be called from any thread.
    """

    def __init__(self, template: ChatTemplate, *, conversations: int, tokens: int) -> None:
        """Remembers nothing yet.

        Args:
          template: turns to ids.
          conversations: how many are remembered at most,
          tokens: and how many tokens they have together at most.
        """
        self._template = template
        self._most = conversations
        self._most_tokens = tokens
        self._remembered: OrderedDict[bytes, array[int]] = OrderedDict()
        self._tokens = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._remembered)

    @property
    def tokens(self) -> int:
        """Tokens of all that is remembered."""
        return self._tokens

    def prompt_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Returns the ids of a conversation that ends with a user turn, ready for the reply."""
        key = _key(turns[:-1])
        with self._lock:
            remembered = self._remembered.get(key)
            if remembered is not None:
                self._remembered.move_to_end(key)
        if remembered is None:
            return self._template.prompt_ids(turns)
        return continued_ids(self._template, remembered, turns[-1].content)

    def remember(self, turns: Sequence[Turn], reply: str, ids: Sequence[int]) -> None:
        """Keeps the ids of a conversation.

        Args:
          turns: before the reply.
          reply: the assistant turn, as the client's next request will say it.
          ids: of the turns and the reply.
        """
        if len(ids) > self._most_tokens:
            return
        key = _key([*turns, Turn.assistant(reply)])
        with self._lock:
            self._forget(key)
            self._remembered[key] = array("i", ids)
            self._tokens += len(ids)
            while len(self._remembered) > self._most or self._tokens > self._most_tokens:
                self._forget(next(iter(self._remembered)))

    def _forget(self, key: bytes) -> None:
        self._tokens -= len(self._remembered.pop(key, ()))


def _key(turns: Sequence[Turn]) -> bytes:
    digest = hashlib.sha256()
    for turn in turns:
        # Clients strip replies, and so do the templates.
        content = turn.content.strip() if turn.role == "assistant" else turn.content
        said = content.encode()
        digest.update(f"{turn.role} {len(said)}:".encode())
        digest.update(said)
    return digest.digest()
